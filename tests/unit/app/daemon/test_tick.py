"""One tick, over a real ledger."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from doubles.clock import FakeClock
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.tick import Starts, Tick
from drkeeper.app.wiring.children import Running
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.errors import LedgerError, NoSpaceError
from drkeeper.ledger.process import this_process
from drkeeper.model.alarm import AlarmKind, Subject
from drkeeper.model.policy import FilesSource, Objectives, Pause, Policy
from drkeeper.model.run import Operation, RunState
from drkeeper.model.schedule import parse_schedule

HERE = Subject("daemon", "here")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Executor:
    """Notes what it is given."""

    def __init__(self):
        self.given = {}
        self.busy = {}
        self.waiting = set()

    def start(self, policy, run, *, again=False):
        self.given[run] = (policy.name, again)

    def running(self):
        return self.busy

    def policies(self):
        return {run.policy for run in self.busy.values()} | self.waiting


def policy(name, **fields):
    return Policy(
        name=name,
        source=FilesSource(("/home",)),
        repository="primary",
        zone_name="UTC",
        zone=UTC,
        **{"schedule": parse_schedule("hourly"), **fields},
    )


class World:
    """A ledger, a clock and a tick over them."""

    def __init__(self, folder: Path):
        self.clock = FakeClock(NOON)
        self.place = folder / "state" / "ledger.sqlite"
        settings = folder / "etc" / "drkeeper.yaml"
        places = Locations(
            settings, folder / "policies.d", folder / "keys", folder / "state", folder, "test"
        )
        self.configuration = Configuration(places, "here", "UTC")
        self.with_policies(policy("shop"), policy("home"))
        self.executor = Executor()
        self.concerns = Concerns(self.clock)
        self.said = []
        self.error = None
        self.books = Books("tick", self.open, concerns=self.concerns, daemon=HERE, clock=self.clock)
        self.tick = self.new_tick()

    def new_tick(self, *, shared=False):
        return Tick(
            configuration=lambda: self.configuration,
            books=self.books,
            executor=self.executor,
            starts=Starts(self.clock),
            clock=self.clock,
            shared=shared,
            log=lambda event, **fields: self.said.append((event, fields)),
        )

    def with_policies(self, *policies):
        self.configuration = dataclasses.replace(
            self.configuration, policies={each.name: each for each in policies}
        )

    def open(self):
        if self.error is not None:
            raise self.error
        return open_run_ledger(self.place, host="here", clock=self.clock)

    def ledger(self):
        return open_run_ledger(self.place, host="here", clock=self.clock)

    def runs(self, policy=None):
        with self.ledger() as ledger:
            return ledger.runs(policy)


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path)
    yield found
    found.books.close()


def test_what_is_due_is_queued_and_begun_once(world):
    """Before its time nothing; at its time one run a policy; after that nothing more."""
    world.tick()
    assert world.runs() == []
    world.clock.advance(timedelta(hours=1))
    world.tick()
    assert sorted(world.executor.given.values()) == [("home", False), ("shop", False)]
    assert [run.state for run in world.runs()] == [RunState.QUEUED] * 2
    for _ in range(5):
        world.clock.advance(timedelta(seconds=15))
        world.tick()
    assert len(world.runs()) == 2
    assert len(world.executor.given) == 2


def test_runs_that_a_dead_daemon_left_in_the_queue_are_begun(world):
    """What was queued is due still, though nobody remembers it but the ledger."""
    world.tick()
    world.clock.advance(timedelta(hours=1))
    world.tick()
    world.executor = Executor()
    world.new_tick()()
    assert sorted(name for name, _ in world.executor.given.values()) == ["home", "shop"]
    assert len(world.runs()) == 2


def test_a_run_of_a_dead_process_is_interrupted_and_made_up(world):
    """The daemon was killed in the middle of a run: the next one says so and runs it again."""
    world.tick()
    world.clock.advance(timedelta(hours=1))
    with world.ledger() as ledger:
        run = ledger.queue_run("shop", Operation.BACKUP)
        ledger._me = _dead
        assert ledger.claim_run(run, lease=timedelta(seconds=60))
    world.new_tick()()
    states = {each.id: each.state for each in world.runs("shop")}
    assert states.pop(run) is RunState.INTERRUPTED
    assert list(states.values()) == [RunState.QUEUED]


def _dead():
    """Return a process that is no more."""
    return replace(this_process("here"), pid=2**22 - 1, started="1")


def test_runs_of_policies_that_are_gone_leave_the_queue(world):
    """A policy that was removed is not run, and its run says why."""
    world.tick()
    world.clock.advance(timedelta(hours=1))
    world.tick()
    world.with_policies(policy("home"))
    world.tick()
    gone = world.runs("shop")
    assert [run.state for run in gone] == [RunState.SKIPPED]
    assert "shop" in gone[0].failure.message


def test_runs_of_policies_of_other_machines_stay_in_a_shared_queue(world):
    """Another daemon may know what this one does not."""
    world.tick()
    world.clock.advance(timedelta(hours=1))
    world.tick()
    world.with_policies(policy("home"))
    world.new_tick(shared=True)()
    assert [run.state for run in world.runs("shop")] == [RunState.QUEUED]


def test_trouble_with_the_ledger_is_held_until_it_is_over(world):
    """A full disk is told without the ledger, nothing is raised, and work goes on afterwards."""
    world.error = NoSpaceError("no space for the ledger", hint="Free some space.")
    world.tick()
    (condition,) = world.concerns.held()
    assert condition.kind is AlarmKind.LEDGER_TROUBLE
    assert "is full" in condition.message
    assert condition.hint == "Free some space."
    world.error = LedgerError("it is damaged")
    world.tick()
    assert "damaged" in world.concerns.held()[0].message
    world.error = None
    world.tick()
    assert world.concerns.held() == ()
    world.clock.advance(timedelta(hours=1))
    world.tick()
    assert len(world.executor.given) == 2


def test_a_tick_is_a_sign_of_life(world):
    """Others see in the ledger that a daemon looks after its policies."""
    world.tick()
    world.clock.advance(timedelta(seconds=15))
    world.tick()
    with world.ledger() as ledger:
        (beat,) = ledger.daemons()
    assert beat.beat_at == world.clock.now()
    assert beat.started_at == NOON


@pytest.mark.parametrize("by", [timedelta(hours=-3), timedelta(hours=3), timedelta(days=3653)])
def test_a_clock_that_is_set_runs_nothing_twice(world, by):
    """Right after a run the clock is set: no second run of what has just been run."""
    world.tick()
    world.clock.advance(timedelta(hours=1))
    world.tick()
    for run, (name, _) in world.executor.given.items():
        with world.ledger() as ledger:
            assert ledger.claim_run(run, lease=timedelta(seconds=60))
        world.executor.busy[run] = Running(name, 1, world.clock.monotonic(), 0.0, {})
    world.tick()
    with world.ledger() as ledger:
        for run in world.executor.given:
            ledger.end_run(run, RunState.SUCCEEDED)
    world.executor.busy.clear()
    world.clock.advance(timedelta(minutes=5))
    world.clock.jump(by)
    world.tick.replan()
    for _ in range(4):
        world.tick()
        world.clock.advance(timedelta(seconds=15))
    assert len(world.executor.given) == 2


def test_what_an_objective_needs_is_begun_without_a_schedule(world):
    """A policy with an RPO alone runs at once, and its run is known as the objective's."""
    world.with_policies(policy("shop", schedule=None, objectives=Objectives(timedelta(hours=1))))
    world.tick()
    assert list(world.executor.given.values()) == [("shop", False)]
    assert ("run.queued", "objective") in [
        (event, fields.get("why")) for event, fields in world.said
    ]


def improvised(world):
    return [fields["policy"] for event, fields in world.said if event == "run.improvised"]


def test_a_backup_is_worth_more_than_its_record(world):
    """A ledger in trouble for a minute: what is due begins without it, once, as it was planned."""
    world.tick()
    world.clock.advance(timedelta(minutes=58))
    world.error = NoSpaceError("no space for the ledger")
    world.books.close()
    for _ in range(8):
        world.tick()
        world.clock.advance(timedelta(seconds=15))
    assert sorted(improvised(world)) == []
    world.clock.advance(timedelta(minutes=1))
    for _ in range(8):
        world.tick()
        world.clock.advance(timedelta(seconds=15))
    assert sorted(improvised(world)) == ["home", "shop"]
    world.clock.advance(timedelta(hours=1))
    world.tick()
    assert sorted(improvised(world)) == ["home", "home", "shop", "shop"]
    world.error = None
    world.tick()
    assert world.concerns.held() == ()


def test_nothing_is_begun_from_memory_that_is_paused_or_runs(world):
    """A pause holds without the ledger, too, and what runs here is not begun beside itself."""
    pause = Pause(world.clock.now() + timedelta(days=9), "moving house")
    world.with_policies(policy("shop", pause=pause), policy("home"))
    world.tick()
    world.error = LedgerError("it is damaged")
    world.books.close()
    world.executor.busy["run"] = Running("home", 1, world.clock.monotonic(), 0.0, {})
    for _ in range(8):
        world.clock.advance(timedelta(minutes=30))
        world.tick()
    assert improvised(world) == []


def test_what_waits_for_a_place_is_not_begun_from_memory_too(world):
    """The ledger has it in its queue, and it would run a second time."""
    world.tick()
    world.executor.waiting = {"shop"}
    world.clock.advance(timedelta(hours=1))
    world.error = LedgerError("it is damaged")
    world.books.close()
    for _ in range(8):
        world.clock.advance(timedelta(minutes=1))
        world.tick()
    assert improvised(world) == ["home"]


def test_what_was_begun_just_before_the_trouble_is_not_begun_again(world):
    """The last that the ledger said is that it is due; it has run since."""
    world.tick()
    world.clock.advance(timedelta(hours=1))
    world.tick()
    assert len(world.executor.given) == 2
    world.error = LedgerError("it is damaged")
    world.books.close()
    for _ in range(20):
        world.clock.advance(timedelta(minutes=1))
        world.tick()
    assert improvised(world) == []


def test_an_objective_is_kept_from_memory(world):
    """Without a schedule a run begins in time for half of the objective."""
    rpo = Objectives(timedelta(hours=2))
    world.with_policies(policy("shop", schedule=None, objectives=rpo))
    world.error = LedgerError("it is damaged")
    for _ in range(8):
        world.tick()
        world.clock.advance(timedelta(minutes=30))
    assert len(improvised(world)) == 3
