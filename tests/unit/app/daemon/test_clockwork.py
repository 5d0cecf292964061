"""APScheduler as the clock that ticks."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from drkeeper.app.daemon.clockwork import Clockwork, Every

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(seconds=15)


@pytest.fixture
def ticks():
    return threading.Semaphore(0)


@pytest.fixture
def wound(ticks):
    """Return a function that makes a clockwork, which ends with the test."""
    made = []

    def wind(every):
        made.append(Clockwork(ticks.release, every))
        return made[-1]

    yield wind
    for each in made:
        each.end()


def test_it_ticks_at_once_and_again(wound, ticks):
    """The first tick needs no waiting, the others come in their time."""
    wound(timedelta(milliseconds=20)).begin()
    assert all(ticks.acquire(timeout=5) for _ in range(3))


def test_a_nudge_is_a_tick_now(wound, ticks):
    """A clock that was set back has put the next appointment hours away: a nudge makes a new one."""
    clockwork = wound(timedelta(hours=3))
    clockwork.begin()
    assert ticks.acquire(timeout=5)
    assert not ticks.acquire(timeout=0.1)
    clockwork.nudge(datetime.now(UTC))
    assert ticks.acquire(timeout=5)


def test_no_tick_comes_after_the_end(wound, ticks):
    """And ending twice, or nudging then, is no error."""
    clockwork = wound(timedelta(milliseconds=20))
    clockwork.begin()
    assert ticks.acquire(timeout=5)
    clockwork.end()
    clockwork.nudge(datetime.now(UTC))
    clockwork.end()
    while ticks.acquire(blocking=False):
        pass
    assert not ticks.acquire(timeout=0.1)


def test_a_clock_set_forward_by_ten_years_skips_what_is_between():
    """One appointment follows, not 21 million."""
    later = NOW + timedelta(days=3653)
    assert Every(TICK).get_next_fire_time(NOW, later) == later + TICK
