"""What is wrong, kept in memory."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from doubles.clock import FakeClock
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.model.alarm import AlarmKind, Condition, Subject

CLOCK = FakeClock()
HERE = Subject("daemon", "here")
FULL = Condition(AlarmKind.LEDGER_TROUBLE, HERE, "it is full", "Free space.", CLOCK.now())
JUMP = Condition(AlarmKind.CLOCK_JUMPED, HERE, "it was set", "Find out.", CLOCK.now())


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def concerns(clock):
    return Concerns(clock)


def test_a_condition_holds_until_it_is_dropped(concerns):
    """Held once, however often it is found; dropped once."""
    assert concerns.hold(FULL)
    assert not concerns.hold(FULL)
    assert concerns.held() == (FULL,)
    assert concerns.drop(AlarmKind.LEDGER_TROUBLE)
    assert not concerns.drop(AlarmKind.LEDGER_TROUBLE)
    assert concerns.held() == ()


def test_it_keeps_since_when_and_takes_the_newest_words(concerns):
    """What is told says what is so now, and for how long it has been."""
    concerns.hold(FULL)
    later = replace(FULL, message="it is damaged", since=FULL.since + timedelta(hours=1))
    concerns.hold(later)
    assert concerns.held() == (replace(later, since=FULL.since),)


def test_events_are_over_by_themselves(concerns, clock):
    """A step of the clock is told for a while, by a clock that nobody sets."""
    concerns.hold(JUMP, last=timedelta(hours=1))
    clock.jump(timedelta(days=30))
    assert concerns.held() == (JUMP,)
    clock.advance(timedelta(hours=1))
    assert concerns.held() == ()


def test_one_subject_is_dropped_without_the_others(concerns):
    """What is over for one thing is not over for another."""
    other = replace(FULL, subject=Subject("daemon", "there"))
    concerns.hold(FULL)
    concerns.hold(other)
    concerns.drop(AlarmKind.LEDGER_TROUBLE, HERE)
    assert concerns.held() == (other,)
    concerns.hold(FULL)
    concerns.drop(AlarmKind.LEDGER_TROUBLE)
    assert concerns.held() == ()
