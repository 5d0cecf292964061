"""One run's record: claimed, shown to live, and never worth a backup."""

import threading
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from doubles.ledgers import ledger_at, recovery_point
from drkeeper.app.wiring.runs import LEASE, RunRecord, open_run_ledger, shown_place
from drkeeper.errors import RunningError, SourceError
from drkeeper.ledger.engine import writing
from drkeeper.model.run import Operation, RunFailure, RunId, RunState
from services.postgresql import postgresql, postgresql_url  # noqa: F401 - fixtures

QUICKLY = timedelta(milliseconds=10)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def place(request, tmp_path):
    if request.param == "sqlite":
        return tmp_path / "state" / "ledger.sqlite"
    return request.getfixturevalue("postgresql_url")


class World:
    """A ledger, and records of runs in it."""

    def __init__(self, place):
        self.place = place
        self.clock = FakeClock()
        self.warnings = []

    def record(self, **options):
        warn = self.warnings.append
        return RunRecord(self.place, host="keeper", clock=self.clock, warn=warn, **options)

    def ledger(self):
        return open_run_ledger(self.place, host="keeper", clock=self.clock)

    def runs(self):
        with self.ledger() as ledger:
            return ledger.runs()

    def queue(self, policy="home"):
        with self.ledger() as ledger:
            return ledger.queue_run(policy, Operation.BACKUP)


@pytest.fixture
def world(place):
    return World(place)


def test_a_queued_run_is_claimed(world):
    """Begun with the name of a queued run, that run goes on, with a lease, and ends."""
    run_id = world.queue()
    record = world.record()
    record.begin("home", Operation.BACKUP, run_id)
    assert record.id == run_id
    with world.ledger() as ledger:
        assert ledger.run(run_id).state is RunState.RUNNING
        (lease,) = ledger.leases()
        assert lease.expires_at - lease.renewed_at == LEASE
    record.end(RunState.SUCCEEDED, made=[recovery_point(1, run=run_id)])
    assert world.runs()[0].state is RunState.SUCCEEDED
    assert world.warnings == []
    assert record.intact


def test_a_run_that_was_begun_without_the_ledger_is_recorded_where_that_can_be(world):
    """Nobody could queue it, since the ledger was in trouble: it begins under the name it was given."""
    record = world.record()
    record.begin("home", Operation.BACKUP, RunId("0011223344556677"))
    assert record.id == "0011223344556677"
    record.end(RunState.SUCCEEDED, made=[recovery_point(1, run=record.id)])
    assert [run.id for run in world.runs()] == ["0011223344556677"]
    again = world.record()
    with pytest.raises(RunningError, match="not queued any more"):
        again.begin("home", Operation.BACKUP, RunId("0011223344556677"))


def test_what_is_not_queued_any_more_is_not_begun(world):
    """A run that was cancelled, or claimed by somebody else, is refused; nothing is recorded."""
    run_id = world.queue()
    with world.ledger() as ledger:
        ledger.cancel_run(run_id, RunFailure("Skipped", "paused", 0))
    record = world.record()
    with pytest.raises(RunningError, match="not queued any more"):
        record.begin("home", Operation.BACKUP, run_id)
    assert record.id is None
    assert len(world.runs()) == 1


def test_a_second_living_backup_of_a_policy_is_refused(world):
    """One backup of a policy lives at a time; restores and checks do not mind."""
    first = world.record()
    first.begin("home", Operation.BACKUP)
    with pytest.raises(RunningError, match="running already"):
        world.record().begin("home", Operation.BACKUP)
    others = [world.record(), world.record(), world.record()]
    others[0].begin("shop", Operation.BACKUP)
    others[1].begin("home", Operation.RESTORE)
    others[2].begin("home", Operation.RESTORE)
    for each in (first, *others):
        each.end(RunState.SUCCEEDED)
    assert len(world.runs()) == 4


def test_a_run_shows_that_it_lives_and_how_far_it_is(world):
    """Again and again, from a thread, the run's progress reaches its lease until it ends."""
    told = threading.Semaphore(0)
    files = iter(range(1, 10**6))

    def progress():
        told.release()
        return {"files": next(files)}

    record = world.record(renew_every=QUICKLY)
    record.begin("home", Operation.BACKUP, progress=progress)
    for _ in range(3):
        assert told.acquire(timeout=20)
    with world.ledger() as ledger:
        (lease,) = ledger.leases()
        assert lease.progress["files"] >= 2
        assert lease.moved_at == lease.renewed_at
    record.end(RunState.SUCCEEDED)
    assert not record._renewer.is_alive()
    assert not record.lost
    with world.ledger() as ledger:
        assert ledger.leases() == []


def test_a_run_that_was_taken_for_dead_learns_of_it(world):
    """It stops claiming to live; how it ended is recorded all the same."""
    record = world.record(renew_every=QUICKLY)
    record.begin("home", Operation.BACKUP)
    with world.ledger() as ledger:
        ledger.interrupt_dead_runs(lambda _: False)
    record._renewer.join(20)
    assert record.lost
    record.end(RunState.SUCCEEDED)
    assert world.runs()[0].state is RunState.SUCCEEDED
    assert world.warnings == []


def test_a_failure_is_recorded_as_the_operator_saw_it(world):
    """Errors of ours are kept whole, defects by their class, a cut as an interruption."""
    for error in (SourceError("no /srv", hint="Mount it."), KeyError("x"), KeyboardInterrupt()):
        record = world.record()
        record.begin("home", Operation.BACKUP)
        record.failed(error)
    cut, defect, ours = world.runs()
    assert ours.failure == RunFailure("SourceError", "no /srv", 18, "Mount it.")
    assert defect.failure == RunFailure("KeyError", "defect", 70)
    assert (cut.state, cut.failure) == (RunState.INTERRUPTED, None)


def test_a_ledger_in_trouble_costs_no_run(tmp_path):
    """Where nothing can be recorded, each loss is a warning, and the work goes on."""
    (tmp_path / "state").write_text("no directory")
    world = World(tmp_path / "state" / "ledger.sqlite")
    record = world.record()
    record.begin("home", Operation.BACKUP)
    assert record.id is None
    record.end(RunState.SUCCEEDED, made=[recovery_point(1)])
    assert not record.intact
    assert [text.split(":")[0] for text in world.warnings] == [
        "the ledger could not record that the run began",
        "the ledger could not record how the run ended",
    ]


def test_what_a_run_made_is_kept_even_without_the_run(world):
    """A ledger that recovers until the end takes the recovery point of a run it does not know."""
    record = world.record()
    record.end(RunState.SUCCEEDED, made=[recovery_point(1)])
    with world.ledger() as ledger:
        assert [point.commit_number for point in ledger.recovery_points()] == [1]


def test_trouble_in_mid_run_is_told_once(tmp_path):
    """A ledger that fails while a run goes on is one warning, and no end of the run."""
    world = World(tmp_path / "state" / "ledger.sqlite")
    record = world.record(renew_every=QUICKLY)
    record.begin("home", Operation.BACKUP)
    path = tmp_path / "state" / "ledger.sqlite"
    path.rename(tmp_path / "state" / "elsewhere")
    (tmp_path / "state").chmod(0o777)  # no place for a ledger
    for _ in range(200):
        if world.warnings:
            break
        threading.Event().wait(0.05)
    (tmp_path / "state").chmod(0o700)
    (tmp_path / "state" / "elsewhere").rename(path)
    record.end(RunState.SUCCEEDED)
    assert len(world.warnings) == 1
    assert "could not record that the run goes on" in world.warnings[0]
    assert world.runs()[0].state is RunState.SUCCEEDED


def test_a_busy_ledger_is_waited_for(world):
    """Somebody else's short transaction costs a run nothing but the wait."""
    world.queue()
    with ledger_at(world.place) as other, writing(other._engine):
        record = world.record()
        thread = threading.Thread(target=record.begin, args=("home", Operation.BACKUP))
        thread.start()
    thread.join(20)
    record.end(RunState.SUCCEEDED)
    assert record.intact
    assert world.warnings == []


def test_a_place_is_shown_without_secrets(tmp_path):
    """Paths are shown as they are, URLs without a password."""
    assert shown_place(tmp_path) == str(tmp_path)
    assert shown_place("postgresql://me:hunter2@host/db") == "postgresql://me@host/db"
