"""Planning for all policies from a real ledger, with a clock that the test moves."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from doubles.clock import FakeClock
from doubles.ledgers import ledger_at, recovery_point
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.wiring.planning import Planner, plan, queue_due
from drkeeper.ledger.process import this_process
from drkeeper.model.planner import Why, decide, history_of
from drkeeper.model.policy import FilesSource, Objectives, Pause, Policy
from drkeeper.model.run import Operation, RunFailure, RunState
from drkeeper.model.schedule import parse_schedule

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(minutes=1)
FAILURE = RunFailure("StorageUnavailableError", "the store does not answer", 17)


def policy(name, schedule="hourly", **fields):
    """Return a policy that is due at each full hour."""
    return Policy(
        name=name,
        source=FilesSource(("/srv",)),
        repository="primary",
        zone_name="UTC",
        zone=UTC,
        schedule=parse_schedule(schedule) if schedule else None,
        **fields,
    )


class World:
    """A ledger, a clock and policies."""

    def __init__(self, folder):
        self.clock = FakeClock(NOON)
        self.locations = Locations(
            settings=folder / "drkeeper.yaml",
            policies=folder / "policies.d",
            keys=folder / "keys",
            state=folder,
            cache=folder,
            chosen_by="the test",
        )
        self.ledger = ledger_at(
            folder / "ledger.sqlite", clock=self.clock, me=lambda: this_process("here")
        )
        self.planner = Planner()
        self.set(policy("home"))

    def set(self, *policies):
        """Let these be the policies."""
        by_name = {each.name: each for each in policies}
        self.configuration = Configuration(self.locations, "here", "UTC", policies=by_name)

    def plan(self, **since_start):
        """Return what the planner that remembers decides, which is what a fresh one decides."""
        now = self.clock.now()
        decided = self.planner.plan(self.configuration, self.ledger, now, since_start)
        assert plan(self.configuration, self.ledger, now, since_start) == decided
        return decided

    def queue(self):
        """Queue what is due."""
        return queue_due(self.configuration, self.ledger, self.plan())

    def run(self, state=RunState.SUCCEEDED, takes=MINUTE, **ended):
        """Run what is due; how many runs that were."""
        due = self.queue()
        for each in due:
            assert self.ledger.claim_run(each.run, lease=LEASE)
        self.clock.advance(takes)
        for each in due:
            self.ledger.end_run(each.run, state, **ended)
        return len(due)


@pytest.fixture
def world(tmp_path):
    """Return a ledger that has never seen the policy ``home``."""
    world = World(tmp_path)
    with world.ledger:
        yield world


def test_nothing_is_due_before_the_first_slot_after_a_policy_was_seen(world):
    """A new policy does not run at once for slots of the past."""
    assert world.plan()["home"].why is Why.WAITING
    world.clock.advance(59 * MINUTE)
    assert not world.queue()
    world.clock.advance(MINUTE)
    assert world.run() == 1
    assert not world.queue()


def test_an_outage_is_made_up_for_once(world):
    """Five slots are missed; one run stands for all, and it says so."""
    world.plan()
    world.clock.advance(5 * HOUR + 10 * MINUTE)
    (due,) = world.queue()
    assert due.decision.why is Why.MAKE_UP
    assert due.decision.missed == 4
    assert not world.queue()
    assert world.ledger.claim_run(due.run, lease=LEASE)
    world.ledger.end_run(due.run, RunState.SUCCEEDED)
    assert not world.queue()
    world.clock.advance(50 * MINUTE)
    assert len(world.queue()) == 1


def test_a_slot_that_is_given_up_is_recorded_with_its_reason(world):
    """Near the next slot there is no make-up; the ledger says so, once, in the policy's zone."""
    world.plan()
    world.clock.advance(HOUR + 45 * MINUTE)
    assert not world.queue()
    assert not world.queue()
    (run,) = world.ledger.runs("home")
    assert run.state is RunState.SKIPPED
    assert "2026-03-01 13:00:00 UTC" in run.failure.message
    assert "2026-03-01 14:00:00 UTC" in run.failure.message
    world.clock.advance(15 * MINUTE)
    assert world.run() == 1


def test_an_interrupted_run_is_made_up_for_once(world):
    """What was cut off stands for nothing."""
    world.plan()
    world.clock.advance(HOUR)
    (due,) = world.queue()
    assert world.ledger.claim_run(due.run, lease=LEASE)
    world.clock.advance(MINUTE)
    assert world.plan()["home"].slot is None
    world.ledger.interrupt_dead_runs(lambda _process: False)
    assert world.run() == 1
    assert not world.queue()


def test_a_store_that_is_down_and_back_is_met_with_patience(world):
    """Tries come after 1, 5, 15 and 30 minutes within the slot; the first that succeeds ends them."""
    world.plan()
    world.clock.advance(HOUR)
    begun = []
    for minute in range(60):
        due = world.queue()
        for each in due:
            begun.append((minute, each.decision.attempt))
            assert world.ledger.claim_run(each.run, lease=LEASE)
            down = minute < 20
            state = RunState.FAILED if down else RunState.SUCCEEDED
            world.ledger.end_run(each.run, state, failure=FAILURE if down else None)
        world.clock.advance(MINUTE)
    assert begun == [(0, 1), (1, 2), (6, 3), (21, 4)]
    assert world.run() == 1  # and the next slot is a slot like any other


def test_a_failing_policy_delays_no_other(world):
    """While one is tried again and again, the other runs at each of its slots."""
    world.set(policy("bad"), policy("good"))
    world.plan()
    good = []
    for minute in range(1, 60 * 6 + 2):
        world.clock.advance(MINUTE)
        for each in world.queue():
            assert world.ledger.claim_run(each.run, lease=LEASE)
            failed = each.policy.name == "bad"
            state = RunState.FAILED if failed else RunState.SUCCEEDED
            world.ledger.end_run(each.run, state, failure=FAILURE if failed else None)
            if not failed:
                good.append(minute)
    assert good == [60, 120, 180, 240, 300, 360]


def test_what_others_left_in_the_queue_is_found(world):
    """A run that was queued and not begun is offered, unless its policy is paused or runs."""
    world.plan()
    world.clock.advance(HOUR)
    (due,) = world.queue()
    restarted = Planner()
    now = world.clock.now()
    decided = restarted.plan(world.configuration, world.ledger, now)
    assert decided["home"].slot is None
    assert restarted.left_queued(decided) == {due.run: "home"}
    world.plan()
    assert world.planner.left_queued(world.plan()) == {due.run: "home"}
    world.set(policy("home", pause=Pause(now + HOUR, "moving")))
    assert world.planner.left_queued(world.plan()) == {}
    world.set(policy("home"))
    by_hand = world.ledger.begin_run("home", Operation.BACKUP)
    assert world.planner.left_queued(world.plan()) == {}
    world.ledger.end_run(by_hand, RunState.SUCCEEDED)
    assert world.ledger.claim_run(due.run, lease=LEASE)
    assert world.planner.left_queued(world.plan()) == {}


def test_only_an_objective_is_enough(world):
    """Without a schedule the newest recovery point decides, and a new one is taken note of."""
    world.set(policy("home", None, objectives=Objectives(rpo=4 * HOUR)))
    assert world.run() == 1
    world.ledger.record_recovery_point(
        recovery_point(1, policy="home", consistent_at=world.clock.now())
    )
    assert not world.queue()
    world.clock.advance(4 * HOUR)
    assert len(world.queue()) == 1


def test_a_changed_policy_is_planned_anew(world):
    """A new schedule holds from the next tick on."""
    world.plan()
    world.clock.advance(10 * MINUTE)
    world.set(policy("home", "hourly at :20"))
    world.clock.advance(10 * MINUTE)
    assert len(world.queue()) == 1


def test_the_clock_may_be_set(world):
    """Back or forward over a slot right after a run: nothing runs twice; much later, it runs."""
    world.plan()
    world.clock.advance(HOUR)
    assert world.run() == 1
    world.clock.jump(-HOUR)
    assert world.plan(home=2 * MINUTE)["home"].slot is None
    assert world.plan(home=40 * MINUTE)["home"].slot is not None
    world.clock.jump(2 * HOUR)
    decided = world.plan(home=2 * MINUTE)
    assert decided["home"].slot is None


def test_another_ledger_in_its_place_is_noticed(world, tmp_path):
    """What is remembered belongs to one chain of events only."""
    world.plan()
    world.clock.advance(HOUR)
    assert world.run() == 1
    other = ledger_at(tmp_path / "other.sqlite", clock=FakeClock(NOON - HOUR))
    with other:
        other.see_policies(world.configuration.definitions())
        decided = world.planner.plan(world.configuration, other, world.clock.now())
    assert decided["home"].why is Why.MAKE_UP


def test_reading_only_records_nothing(world):
    """``drkeeper plan`` and the status change nothing."""
    plan(world.configuration, world.ledger, NOON)
    assert len(world.ledger.events()) == 1


def test_a_tick_over_a_thousand_policies_takes_less_than_50_ms(world):
    """Nothing new: one query. Some news: as little as that. And what is said is still right."""
    policies = [policy(f"p{number}", f"hourly at :{number % 60:02}") for number in range(1000)]
    world.set(*policies)
    for each in policies[:50]:
        run = world.ledger.begin_run(each.name, Operation.BACKUP)
        world.ledger.end_run(run, RunState.SUCCEEDED)
    now = world.clock.now()
    world.planner.plan(world.configuration, world.ledger, now)
    quiet, busy = [], []
    for number in range(20):
        begun = time.process_time()
        world.planner.plan(world.configuration, world.ledger, now + number * MINUTE / 4)
        quiet.append(time.process_time() - begun)
        run = world.ledger.begin_run(policies[number].name, Operation.BACKUP)
        world.ledger.end_run(run, RunState.FAILED, failure=FAILURE)
        begun = time.process_time()
        decided = world.planner.plan(world.configuration, world.ledger, now + number * MINUTE / 4)
        busy.append(time.process_time() - begun)
    assert sorted(quiet)[10] < 0.05
    assert sorted(busy)[10] < 0.05
    for each in policies[:30]:
        history = history_of(
            each,
            world.ledger.runs(each.name),
            known_since=world.ledger.policies()[each.name].first_seen_at,
            newest_point=None,
        )
        assert decided[each.name] == decide(each, history, now + 19 * MINUTE / 4)
