import os
import threading
from datetime import timedelta

import pytest

from doubles.ledgers import (
    BEGINNING,
    behind_its_back,
    ledger_at,
    live_through,
    nobody_lives,
    recovery_point,
    somebody,
    verification,
    what_a_reader_sees,
)
from drkeeper.errors import LedgerError
from drkeeper.model.run import (
    CheckKind,
    Operation,
    Process,
    Proof,
    RunFailure,
    RunId,
    RunState,
)


def test_a_run_is_remembered_from_begin_to_end(ledger):
    """A run shows who does it and since when, then how it ended, and which events say so."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    (running,) = ledger.runs()
    assert running.id == run_id
    assert running.policy == "home"
    assert running.operation is Operation.BACKUP
    assert running.state is RunState.RUNNING
    assert running.process == somebody()
    assert running.started_at == BEGINNING + timedelta(seconds=2)
    assert (running.ended_at, running.begun_event, running.event) == (None, 2, 2)

    ledger.end_run(run_id, RunState.WARNINGS, result={"unreadable": 1})
    (ended,) = ledger.runs()
    assert ended.state is RunState.WARNINGS
    assert ended.ended_at == BEGINNING + timedelta(seconds=4)
    assert ended.result == {"unreadable": 1}
    assert (ended.begun_event, ended.event) == (2, 3)


def test_a_failure_of_very_many_words_is_still_recorded(ledger):
    """However long a path in a message is, the run is known to have ended, and how."""
    run_id = ledger.begin_run("shop", Operation.BACKUP)
    message = "cannot read /" + "d/" * 1_000_000 + " as s3://me:hunter2@store"
    ledger.end_run(run_id, RunState.FAILED, failure=RunFailure("SourceError", message, 18))
    (run,) = ledger.runs()
    assert run.state is RunState.FAILED
    assert run.failure.message.startswith("cannot read /d/d/")
    assert run.failure.message.endswith("… (cut)")
    assert len(run.failure.message) < 10_000


def test_a_failure_is_remembered_as_the_operator_saw_it(ledger):
    """Class, message, exit code and hint of an error come back as they were."""
    failure = RunFailure("SourceError", "source is missing: /srv", 18, "Mount it.")
    run_id = ledger.begin_run(None, Operation.CHECK)
    ledger.end_run(run_id, RunState.FAILED, failure=failure)
    assert ledger.runs()[0].failure == failure
    assert ledger.runs()[0].policy is None


def test_recovery_points_come_back_as_they_were(ledger):
    """Every field of a recovery point survives, and it names its event."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    made = recovery_point(7, run=run_id, complete=False, proof=Proof.PROVEN, unreadable=2)
    ledger.record_recovery_point(made)
    (found,) = ledger.recovery_points("home")
    assert found == recovery_point(
        7, run=run_id, complete=False, proof=Proof.PROVEN, unreadable=2, event=3
    )
    assert found.id == "c0ffee/7"
    assert ledger.recovery_points("shop") == []


def test_recovery_points_are_ordered_by_their_data(ledger):
    """The newest data comes first, in whatever order points were recorded."""
    for number in (2, 9, 5):
        ledger.record_recovery_point(recovery_point(number))
    assert [p.commit_number for p in ledger.recovery_points()] == [9, 5, 2]
    assert [p.commit_number for p in ledger.recovery_points(limit=1)] == [9]


def test_verifications_come_back_as_they_were(ledger):
    """A check's outcome survives, newest first."""
    run_id = ledger.begin_run(None, Operation.CHECK)
    ledger.record_verification(verification())
    bad = {"run": run_id, "kind": CheckKind.READ_DATA, "passed": False, "findings": 3}
    ledger.record_verification(verification(**bad, detail="pack 1: wrong bytes"))
    newest, oldest = ledger.verifications("c0ffee")
    assert newest == verification(**bad, detail="pack 1: wrong bytes", event=4)
    assert oldest == verification(event=3)
    assert ledger.verifications("other") == []


def test_what_a_run_made_is_recorded_with_its_end(ledger):
    """A run that ends with a point for a run nobody began records neither: all or nothing."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    stray = recovery_point(1, run=RunId("unheard-of"))
    with pytest.raises(LedgerError, match="never began"):
        ledger.end_run(run_id, RunState.SUCCEEDED, made=[recovery_point(2), stray])
    assert ledger.recovery_points() == []
    assert ledger.runs()[0].state is RunState.RUNNING
    assert ledger.verify().ok


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.RUNNING])
def test_a_run_ends_only_in_an_end(ledger, state):
    """Ending a run in a state that is no end is a defect, and nothing is recorded."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    with pytest.raises(ValueError, match="not an end"):
        ledger.end_run(run_id, state)
    assert len(ledger.events()) == 2


def test_a_run_ends_once(ledger):
    """Neither an ended run nor an unknown one can be ended, nor a point recorded twice."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    ledger.end_run(run_id, RunState.SUCCEEDED)
    ledger.record_recovery_point(recovery_point(1))
    with pytest.raises(LedgerError, match="again"):
        ledger.end_run(run_id, RunState.FAILED)
    with pytest.raises(LedgerError, match="never began"):
        ledger.end_run(RunId("nobody"), RunState.FAILED)
    with pytest.raises(LedgerError, match="again"):
        ledger.record_recovery_point(recovery_point(1))
    assert ledger.verify().ok


def test_dead_runs_are_called_interrupted(place):
    """A run whose process is gone is interrupted; living ones and other hosts' are left alone."""
    begun = {}
    for pid, host in [(1, "keeper"), (2, "keeper"), (3, "other")]:
        with ledger_at(place, me=lambda h=host, p=pid: Process(h, "boot-1", p, "1")) as one:
            begun[pid] = one.begin_run("home", Operation.BACKUP)
    with ledger_at(place) as ledger:
        assert ledger.interrupt_dead_runs(lambda process: process.pid == 2) == [begun[1]]
        assert ledger.interrupt_dead_runs(lambda process: process.pid == 2) == []
        states = {run.id: run.state for run in ledger.runs()}
        assert states == {
            begun[1]: RunState.INTERRUPTED,
            begun[2]: RunState.RUNNING,
            begun[3]: RunState.RUNNING,
        }
        assert ledger.verify().ok


def test_a_run_believed_dead_may_tell_how_it_ended(ledger):
    """The run's own word replaces what others believed, and both are in the chain."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    ledger.interrupt_dead_runs(nobody_lives)
    ledger.end_run(run_id, RunState.SUCCEEDED)
    assert ledger.runs()[0].state is RunState.SUCCEEDED
    assert [event.kind for event in ledger.events(after=2)] == ["run.interrupted", "run.ended"]


def test_the_newest_runs_come_first(ledger):
    """Runs are listed newest first, of one policy if asked, no more than asked."""
    ids = [ledger.begin_run(policy, Operation.BACKUP) for policy in ("a", "b", "a")]
    assert [run.id for run in ledger.runs()] == ids[::-1]
    assert [run.id for run in ledger.runs("a")] == [ids[2], ids[0]]
    assert [run.id for run in ledger.runs("a", limit=1)] == [ids[2]]


def test_names_of_any_bytes_are_recorded(ledger):
    """File names that are not text, or hold NUL, cannot stop a run from being recorded."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    odd = os.fsdecode(b"stra\xdfe")
    ledger.end_run(run_id, RunState.WARNINGS, result={"unreadable": [odd, "a\0b", "ä"]})
    assert ledger.runs()[0].result == {"unreadable": ["stra\\udcdfe", "a\\x00b", "ä"]}
    assert ledger.verify().ok


def test_a_body_has_a_limit(ledger):
    """More than a mebibyte in one event is refused, and nothing is recorded."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    with pytest.raises(LedgerError, match="too long"):
        ledger.end_run(run_id, RunState.FAILED, result={"list": ["x" * 100] * 11_000})
    assert ledger.runs()[0].state is RunState.RUNNING


def test_more_threads_than_connections_are_served(ledger):
    """Forty readers at once all get their answer; none is told that the ledger is damaged."""
    answers = []

    def read():
        answers.append(len(ledger.runs()))

    threads = [threading.Thread(target=read) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * 40


def test_projections_can_be_rebuilt(place):
    """Rebuilding from the chain brings back exactly what was there, and heals damaged tables."""
    with ledger_at(place) as ledger:
        live_through(ledger, 7, runs=12)
        before = what_a_reader_sees(ledger)
        behind_its_back(
            place,
            "DELETE FROM verification",
            "UPDATE run SET state = 'succeeded'",
            "UPDATE recovery_point SET commit_number = 77",
        )
        assert not ledger.verify().ok
        assert ledger.rebuild_projections() > 12
        assert what_a_reader_sees(ledger) == before
        assert ledger.verify().ok


def test_threads_share_a_ledger(ledger):
    """Runs begun by many threads at once are all there, in a gapless chain."""

    def work():
        for _ in range(5):
            ledger.begin_run("home", Operation.BACKUP)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.runs()) == 30
    assert ledger.verify().ok


def test_policies_are_remembered_from_when_they_were_first_seen(ledger):
    """What a policy says is recorded when it is new or changes, and not again before."""
    first = ledger.see_policies({"home": "aa", "shop": "bb"})
    again = ledger.see_policies({"home": "aa", "shop": "bb"})
    changed = ledger.see_policies({"home": "cc"})
    assert again == first
    assert len(ledger.events()) == 4
    assert changed["home"].first_seen_at == first["home"].first_seen_at
    assert changed["home"].changed_at > first["home"].changed_at
    assert (changed["home"].definition, changed["shop"]) == ("cc", first["shop"])
    assert ledger.verify().ok


def test_a_run_that_is_left_out_is_on_record_with_its_reason(ledger):
    """It never ran, has its end with its begin, and says why."""
    why = RunFailure("Skipped", "the next slot is near", 0, None)
    ledger.skip_run("home", Operation.BACKUP, why)
    (skipped,) = ledger.runs("home")
    assert (skipped.state, skipped.failure) == (RunState.SKIPPED, why)
    assert skipped.started_at == skipped.ended_at
    assert ledger.interrupt_dead_runs(nobody_lives) == []
    assert ledger.verify().ok
