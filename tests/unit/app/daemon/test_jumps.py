"""Clocks that are set, and machines that sleep."""

from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.daemon.jumps import ClockWatch

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def watch(clock):
    return ClockWatch(clock)


def test_time_that_passes_is_no_jump(clock, watch):
    """However long nobody looked, nothing was set and nobody slept."""
    clock.advance(timedelta(days=3))
    passage = watch.look()
    assert not passage.was_set
    assert not passage.was_asleep
    assert passage.running == timedelta(days=3)


@pytest.mark.parametrize(
    "by", [timedelta(hours=-3), timedelta(hours=3), timedelta(days=3653), -MINUTE]
)
def test_a_clock_that_is_set_is_seen(clock, watch, by):
    """Back, forward, by years: the size and direction of the step are known."""
    clock.advance(timedelta(seconds=2))
    clock.jump(by)
    passage = watch.look()
    assert passage.was_set
    assert passage.jumped == by
    assert not passage.was_asleep


def test_a_step_is_seen_once(clock, watch):
    """The next look starts from the clock as it is now."""
    clock.jump(timedelta(hours=3))
    assert watch.look().was_set
    clock.advance(timedelta(seconds=2))
    assert not watch.look().was_set


def test_a_correction_by_ntp_is_no_jump(clock, watch):
    """Seconds, one way and the other, tell nobody anything."""
    for by in (0.4, -20, 30):
        clock.jump(timedelta(seconds=by))
        assert not watch.look().was_set


def test_sleep_is_no_jump(clock, watch):
    """A suspended machine's wall clock goes on as it should."""
    clock.suspend(timedelta(hours=9))
    passage = watch.look()
    assert passage.was_asleep
    assert passage.slept == timedelta(hours=9)
    assert not passage.was_set


def test_sleep_and_a_jump_are_told_apart(clock, watch):
    """A clock that is set while the machine wakes up was set all the same."""
    clock.suspend(timedelta(hours=9))
    clock.jump(timedelta(hours=-1))
    passage = watch.look()
    assert passage.slept == timedelta(hours=9)
    assert passage.jumped == timedelta(hours=-1)
