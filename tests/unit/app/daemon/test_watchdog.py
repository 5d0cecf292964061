"""What watches the ticks, with clocks that the test moves."""

from datetime import UTC, datetime, timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.supervision import Supervisor
from drkeeper.app.daemon.watchdog import Actions, Patience, Watchdog
from drkeeper.model.alarm import AlarmKind, Condition, Subject

HERE = Subject("daemon", "here")
TICK = timedelta(seconds=15)
PULSE = timedelta(seconds=2)


class Ticks:
    """Ticks that happen or not."""

    def __init__(self, clock):
        self.clock = clock
        self.ticked()

    def ticked(self):
        self.at = self.clock.monotonic()

    @property
    def late(self):
        return timedelta(seconds=self.clock.monotonic() - self.at)


class Workers:
    """Runs that move or not."""

    def __init__(self):
        self.at = None
        self.works = True

    def alive(self):
        return self.works

    def running(self):
        return {} if self.at is None else {"run": "running"}

    def moved(self):
        return self.at


class Ear(Supervisor):
    """Counts the signs of life."""

    def __init__(self, clock):
        super().__init__(None, clock=clock)
        self.heard = 0

    def alive(self):
        self.heard += 1


class World:
    """A watchdog and all it watches."""

    def __init__(self):
        self.clock = FakeClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
        self.ticks = Ticks(self.clock)
        self.workers = Workers()
        self.concerns = Concerns(self.clock)
        self.ear = Ear(self.clock)
        self.done = []
        self.asked = []
        self.stakes = []
        self.watchdog = Watchdog(
            clock=self.clock,
            daemon=HERE,
            patience=Patience(TICK, timedelta(minutes=10)),
            ticks=self.ticks,
            workers=self.workers,
            concerns=self.concerns,
            supervisor=self.ear,
            actions=Actions(
                nudge=lambda: self.done.append("nudge"),
                replan=lambda: self.done.append("replan"),
                alarm=lambda: self.done.append("alarm"),
                stakes=self._stakes,
            ),
        )

    def _stakes(self, now):
        self.asked.append(now)
        return self.stakes

    def pass_time(self, time, *, ticking=True):
        """Let time pass, with looks and perhaps ticks."""
        for _ in range(time // PULSE):
            self.clock.advance(PULSE)
            if ticking:
                self.ticks.ticked()
            self.watchdog.look()

    def kinds(self):
        return [condition.kind for condition in self.concerns.held()]


@pytest.fixture
def world():
    return World()


def test_all_well_is_only_a_sign_of_life(world):
    """Nothing is nudged, nothing is told."""
    world.pass_time(timedelta(minutes=5))
    assert world.done == []
    assert world.kinds() == []
    assert world.ear.heard == 150


def test_ticks_that_do_not_come_are_told_within_a_minute(world):
    """First the clock that ticks is set right; then it is told once, and systemd hears no more."""
    world.pass_time(timedelta(seconds=60), ticking=False)
    assert "nudge" in world.done
    assert world.kinds() == []
    heard = world.ear.heard
    world.pass_time(timedelta(seconds=60), ticking=False)
    assert world.kinds() == [AlarmKind.SCHEDULER_STALLED]
    assert world.done.count("alarm") == 1
    assert world.ear.heard == heard


def test_what_is_at_stake_is_told_though_no_tick_comes(world):
    """A ledger that hangs hides no promise that is broken meanwhile."""
    policy = Subject("policy", "shop")
    world.pass_time(timedelta(minutes=2), ticking=False)
    world.stakes = [
        Condition(AlarmKind.RPO_AT_RISK, policy, "it is old", "Look.", world.clock.now())
    ]
    world.pass_time(timedelta(minutes=1), ticking=False)
    assert world.kinds() == [AlarmKind.SCHEDULER_STALLED, AlarmKind.RPO_AT_RISK]
    world.pass_time(timedelta(seconds=10))
    assert world.kinds() == []


def test_what_is_at_stake_is_reckoned_by_a_clock_that_nobody_sets(world):
    """A wall clock that is set while ticks hang makes nothing younger."""
    begin = world.clock.now()
    world.clock.jump(timedelta(hours=-3))
    world.pass_time(timedelta(minutes=10), ticking=False)
    world.clock.suspend(timedelta(hours=1))
    world.watchdog.look()
    passed = timedelta(hours=1, minutes=10)
    assert world.asked[-1] == begin + passed


@pytest.mark.parametrize(
    "by", [timedelta(hours=-3), timedelta(hours=3), timedelta(days=3653)], ids=str
)
def test_a_clock_that_is_set_means_a_tick_now(world, by):
    """Whichever way, everything is planned anew at once, and somebody is told for an hour."""
    world.clock.jump(by)
    world.pass_time(PULSE)
    assert sorted(world.done) == ["alarm", "nudge", "replan"]
    assert world.kinds() == [AlarmKind.CLOCK_JUMPED]
    world.pass_time(timedelta(hours=1))
    assert world.kinds() == []
    assert sorted(world.done) == ["alarm", "nudge", "replan"]


def test_a_suspend_is_made_up_for_and_not_told(world):
    """Waking up means a tick now; nobody is told that a machine slept."""
    world.clock.suspend(timedelta(hours=9))
    world.pass_time(PULSE)
    assert world.done == ["nudge"]
    assert world.kinds() == []
    assert world.ear.heard == 1


def test_workers_that_are_gone_end_the_signs_of_life(world):
    """Nothing would ever run again, and nobody would say so: systemd starts the daemon anew."""
    world.workers.works = False
    world.pass_time(timedelta(minutes=1))
    assert world.ear.heard == 0


def test_runs_that_move_nothing_end_the_signs_of_life(world):
    """Systemd restarts a daemon whose runs all hang; one that is idle, or whose runs move, lives."""
    world.workers.at = world.clock.monotonic()
    world.pass_time(timedelta(minutes=10))
    assert world.ear.heard == 300
    world.pass_time(timedelta(minutes=2))
    assert world.ear.heard == 300
    world.workers.at = world.clock.monotonic()
    world.pass_time(timedelta(minutes=2))
    assert world.ear.heard == 360
    world.workers.at = None
    world.pass_time(timedelta(minutes=20))
    assert world.ear.heard == 960
