"""Runs that wait, those who claim them, and what becomes of the dead."""

import os
import time
from datetime import timedelta

import pytest

from doubles.ledgers import (
    BEGINNING,
    TickingClock,
    ledger_at,
    nobody_lives,
    recovery_point,
    somebody,
)
from drkeeper.errors import FencedError, RunningError
from drkeeper.ledger import tables
from drkeeper.ledger.engine import reading
from drkeeper.ledger.newest import newest_of_each
from drkeeper.ledger.process import this_process
from drkeeper.model.run import Operation, Process, RunFailure, RunId, RunState

MINUTE = timedelta(minutes=1)
SHORT = timedelta(milliseconds=40)


def outlive(lease):
    """Wait until a lease has been over for longer than it lasted."""
    time.sleep(3 * lease.total_seconds())


def test_a_queued_run_waits_for_somebody(ledger):
    """It has a name and a state, belongs to nobody, and no process is looked for."""
    run_id = ledger.queue_run("home", Operation.BACKUP)
    (queued,) = ledger.runs()
    assert (queued.id, queued.state, queued.policy) == (run_id, RunState.QUEUED, "home")
    assert queued.queued_at == queued.started_at
    assert ledger.interrupt_dead_runs(nobody_lives) == []
    assert ledger.verify().ok


def test_a_policy_has_one_open_run_of_a_kind(ledger):
    """While a run is queued or goes on, no other is queued; afterwards one is."""
    first = ledger.queue_run("home", Operation.BACKUP)
    assert ledger.queue_run("home", Operation.BACKUP) is None
    assert ledger.queue_run("home", Operation.CHECK) is not None
    assert ledger.queue_run("shop", Operation.BACKUP) is not None
    assert ledger.claim_run(first, lease=MINUTE)
    assert ledger.queue_run("home", Operation.BACKUP) is None
    ledger.end_run(first, RunState.SUCCEEDED)
    assert ledger.queue_run("home", Operation.BACKUP) is not None


def test_a_claimed_run_is_its_claimants(place):
    """It runs from the moment it was claimed, by the process that claimed it, and was queued before."""
    with ledger_at(place) as ledger:
        run_id = ledger.queue_run("home", Operation.BACKUP)
        queued_at = ledger.run(run_id).started_at
    with ledger_at(place, me=lambda: somebody(pid=7)) as ledger:
        assert ledger.claim_run(run_id, lease=MINUTE)
        claimed = ledger.run(run_id)
        assert (claimed.state, claimed.process) == (RunState.RUNNING, somebody(pid=7))
        assert (claimed.queued_at, claimed.begun_event) == (queued_at, 3)
        assert [lease.run for lease in ledger.leases()] == [run_id]
        assert ledger.verify().ok


def test_a_run_is_claimed_once(ledger):
    """Who comes second, or for an unknown or a cancelled run, is told so and nothing happens."""
    run_id, other = (
        ledger.queue_run("home", Operation.BACKUP),
        ledger.queue_run("b", Operation.CHECK),
    )
    assert ledger.claim_run(run_id, lease=MINUTE)
    assert ledger.cancel_run(other, RunFailure("Skipped", "paused", 0))
    before = ledger.events()
    assert not ledger.claim_run(run_id, lease=MINUTE)
    assert not ledger.claim_run(other, lease=MINUTE)
    assert not ledger.claim_run(RunId("unheard-of"), lease=MINUTE)
    assert ledger.events() == before


def test_a_cancelled_run_says_why(ledger):
    """It was skipped, with its reason; what is no longer queued cannot be cancelled."""
    run_id = ledger.queue_run("home", Operation.BACKUP)
    why = RunFailure("Skipped", "policy was removed", 0)
    assert ledger.cancel_run(run_id, why)
    assert (ledger.run(run_id).state, ledger.run(run_id).failure) == (RunState.SKIPPED, why)
    assert not ledger.cancel_run(run_id, why)
    assert ledger.verify().ok


def test_the_last_to_begin_is_the_newest(ledger):
    """Runs are in the order in which they began, however long they waited."""
    waited = ledger.queue_run("home", Operation.BACKUP)
    by_hand = ledger.begin_run("home", Operation.RESTORE)
    ledger.claim_run(waited, lease=MINUTE)
    assert [run.id for run in ledger.runs("home")] == [waited, by_hand]
    assert ledger.runs(states=[RunState.QUEUED]) == []
    assert len(ledger.runs(states=[RunState.RUNNING, RunState.QUEUED])) == 2
    assert ledger.run(RunId("unheard-of")) is None


@pytest.fixture
def living(place):
    """A ledger used by this very process, which lives."""
    with ledger_at(place, me=lambda: this_process("keeper")) as opened:
        yield opened


def test_a_second_living_run_is_refused(living):
    """Of one policy and operation one run lives; the refusal names it, and may be tried later."""
    first = living.begin_run("home", Operation.BACKUP, alone=True)
    queued = living.queue_run("home", Operation.CHECK)
    with pytest.raises(RunningError, match=f"run {first}, process {os.getpid()}") as caught:
        living.begin_run("home", Operation.BACKUP, alone=True)
    assert caught.value.exit_code == FencedError.exit_code == 11
    assert caught.value.transient
    living.begin_run("shop", Operation.BACKUP, alone=True)
    assert living.claim_run(queued, lease=MINUTE)
    living.end_run(first, RunState.SUCCEEDED)
    living.begin_run("home", Operation.BACKUP, alone=True)


def test_a_queued_run_waits_while_another_lives(place):
    """A run begun by hand after the queueing goes first; the queued one stays queued."""
    with ledger_at(place, me=lambda: this_process("keeper")) as ledger:
        queued = ledger.queue_run("home", Operation.BACKUP)
        by_hand = ledger.begin_run("home", Operation.BACKUP, alone=True)
        with pytest.raises(RunningError):
            ledger.claim_run(queued, lease=MINUTE)
        assert ledger.run(queued).state is RunState.QUEUED
        ledger.end_run(by_hand, RunState.SUCCEEDED)
        assert ledger.claim_run(queued, lease=MINUTE)


def test_a_dead_run_stands_in_nobodys_way(ledger):
    """A run whose process is gone is interrupted when another one wants to be alone."""
    dead = ledger.begin_run("home", Operation.BACKUP, lease=MINUTE)  # of process 4711, boot-1
    living = ledger.begin_run("home", Operation.BACKUP, alone=True, lease=MINUTE)
    assert ledger.run(dead).state is RunState.INTERRUPTED
    assert [lease.run for lease in ledger.leases()] == [living]
    assert ledger.verify().ok


def test_a_lease_says_how_far_a_run_is(ledger):
    """Renewing keeps the newest progress, and when it last changed."""
    run_id = ledger.begin_run("home", Operation.BACKUP, lease=MINUTE)
    (begun,) = ledger.leases()
    assert begun.expires_at - begun.renewed_at == MINUTE
    assert ledger.renew_lease(run_id, lease=MINUTE, progress={"files": 3, "phase": "reading"})
    (moved,) = ledger.leases()
    assert moved.progress == {"files": 3, "phase": "reading"}
    assert moved.moved_at == moved.renewed_at > begun.moved_at
    assert ledger.renew_lease(run_id, lease=MINUTE, progress={"phase": "reading", "files": 3})
    (stands,) = ledger.leases()
    assert stands.moved_at == moved.moved_at < stands.renewed_at
    assert stands.renewed_at < ledger.now()
    assert len(ledger.events()) == 2  # leases are no evidence


def test_a_lease_ends_with_its_run(ledger):
    """Nobody renews what has ended, and no lease is left."""
    run_id = ledger.begin_run("home", Operation.BACKUP, lease=MINUTE)
    ledger.end_run(run_id, RunState.SUCCEEDED, made=[recovery_point(1, run=run_id)])
    assert ledger.leases() == []
    assert not ledger.renew_lease(run_id, lease=MINUTE, progress={})
    assert not ledger.renew_lease(RunId("unheard-of"), lease=MINUTE, progress={})
    assert ledger.leases() == []


def test_nobody_renews_anothers_lease(place):
    """Only the process that runs a run can say that it lives."""
    with ledger_at(place) as ledger:
        run_id = ledger.begin_run("home", Operation.BACKUP, lease=MINUTE)
    with ledger_at(place, me=lambda: somebody(pid=7)) as ledger:
        assert not ledger.renew_lease(run_id, lease=MINUTE, progress={})


def test_a_run_elsewhere_dies_with_its_lease(place):
    """Of another host only the lease tells: dead is who was silent for twice its length."""
    clock = TickingClock()
    with ledger_at(place, clock=clock, me=lambda: somebody(host="other")) as other:
        silent = other.begin_run("home", Operation.BACKUP, lease=SHORT)
        lives = other.begin_run("shop", Operation.BACKUP, lease=timedelta(hours=1))
        unleased = other.begin_run("mail", Operation.BACKUP)
    outlive(SHORT)
    with ledger_at(place, clock=clock) as ledger:
        assert ledger.interrupt_dead_runs() == [silent]
        assert ledger.run(silent).state is RunState.INTERRUPTED
        assert ledger.run(lives).state is ledger.run(unleased).state is RunState.RUNNING
        assert [lease.run for lease in ledger.leases()] == [lives]
        assert ledger.queue_run("home", Operation.BACKUP) is not None


def test_a_run_of_an_earlier_boot_is_dead_in_a_file(tmp_path):
    """All who use a file are of one machine: what ran before it was started again runs no more."""
    path, before = tmp_path / "state" / "ledger.sqlite", Process("keeper", "boot-0", os.getpid())
    with ledger_at(path, me=lambda: before) as ledger:
        run_id = ledger.begin_run("home", Operation.BACKUP, lease=timedelta(hours=1))
    with ledger_at(path, me=lambda: this_process("keeper")) as ledger:
        assert ledger.interrupt_dead_runs() == [run_id]


@pytest.mark.integration
def test_a_machine_of_the_same_name_is_not_taken_for_an_earlier_boot(postgresql_url):
    """On a server two machines may bear one name: a run of another boot dies with its lease only."""
    before = Process("keeper", "boot-0", os.getpid())
    with ledger_at(postgresql_url, me=lambda: before) as ledger:
        lives = ledger.begin_run("home", Operation.BACKUP, lease=timedelta(hours=1))
        silent = ledger.begin_run("shop", Operation.BACKUP, lease=SHORT)
        unleased = ledger.begin_run("mail", Operation.BACKUP)
    outlive(SHORT)
    with ledger_at(postgresql_url, me=lambda: this_process("keeper")) as ledger:
        assert ledger.interrupt_dead_runs() == [silent, unleased]
        assert ledger.run(lives).state is RunState.RUNNING


def test_who_was_taken_for_dead_is_told(place):
    """A process that comes back after its lease learns that the run is its own no more."""
    clock = TickingClock()
    with ledger_at(place, clock=clock, me=lambda: somebody(host="other")) as other:
        run_id = other.begin_run("home", Operation.BACKUP, lease=SHORT)
        outlive(SHORT)
        with ledger_at(place, clock=clock) as ledger:
            assert ledger.interrupt_dead_runs() == [run_id]
        assert not other.renew_lease(run_id, lease=SHORT, progress={})
        other.end_run(run_id, RunState.SUCCEEDED)  # but it knows best how it ended
        assert other.run(run_id).state is RunState.SUCCEEDED


def test_the_newest_runs_of_every_policy(ledger):
    """One question returns the last few runs of each policy, newest first, with none forgotten."""
    ids = {policy: [ledger.begin_run(policy, Operation.BACKUP) for _ in range(n)]
           for policy, n in [("a", 1), ("b", 3), ("c ä", 5)]}  # fmt: skip
    ledger.begin_run(None, Operation.CHECK)
    found = ledger.recent_runs(3)
    assert {policy: [run.id for run in runs] for policy, runs in found.items()} == {
        policy: made[::-1][:3] for policy, made in ids.items()
    }
    assert ledger.recent_runs(1)["b"][0].id == ids["b"][-1]


def test_the_newest_points_of_every_policy(ledger):
    """One question returns the newest data of each policy, whenever it was recorded."""
    for number, policy in [(5, "a"), (9, "b"), (7, "b"), (2, "a"), (1, "c")]:
        at = BEGINNING - timedelta(minutes=10 - number)
        ledger.record_recovery_point(recovery_point(number, policy=policy, consistent_at=at))
    newest = ledger.newest_points()
    assert {policy: point.commit_number for policy, point in newest.items()} == {
        "a": 5, "b": 9, "c": 1,
    }  # fmt: skip
    assert [point.commit_number for point in ledger.recent_points(2)["b"]] == [9, 7]
    assert [point.commit_number for point in ledger.last_points("a", 5)] == [5, 2]


def test_of_points_of_one_instant_the_last_recorded_is_the_newest(ledger):
    """Two points of the same data: the one recorded later counts, and both may be asked for."""
    for number in (1, 2, 3):
        ledger.record_recovery_point(
            recovery_point(number, consistent_at=recovery_point(1).consistent_at)
        )
    assert ledger.newest_points()["home"].commit_number == 3
    assert [point.commit_number for point in ledger.recent_points(2)["home"]] == [3, 2]


def test_an_empty_ledger_has_nothing_new(ledger):
    """Without runs and points the answers are empty, and the last event is the first."""
    assert ledger.recent_runs(5) == {}
    assert ledger.newest_points() == {}
    assert ledger.last_event().seq == 1
    assert ledger.leases() == []


def test_a_long_history_costs_nothing(tmp_path):
    """What was newest is found in the indexes: no table is read from its beginning to its end."""
    with ledger_at(tmp_path / "state" / "ledger.sqlite") as ledger, reading(ledger._engine) as at:
        for table, group, order in [
            (tables.run, "policy", "begun_event"),
            (tables.recovery_point, "policy", "consistent_at"),
        ]:
            query = newest_of_each(table, table.c[group], table.c[order], 3)
            spelt = query.compile(at.engine, compile_kwargs={"literal_binds": True})
            plan = [row[3] for row in at.exec_driver_sql(f"EXPLAIN QUERY PLAN {spelt}")]
            assert not [step for step in plan if step.startswith(f"SCAN {table.name}")], plan
            assert any(f"SEARCH {table.name} USING" in step for step in plan)
