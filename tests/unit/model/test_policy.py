"""What a policy promises next."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from drkeeper.model.policy import FilesSource, Limits, Objectives, Pause, Policy
from drkeeper.model.retention import Retention
from drkeeper.model.schedule import parse_schedule
from drkeeper.model.windows import parse_window

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def policy(**fields):
    """Build a policy with what matters to the test."""
    return Policy("p", FilesSource(("/a",)), "primary", "UTC", ZoneInfo("UTC"), **fields)


def test_the_next_slot_is_promised():
    """With a schedule, its next slot is the promise that goes into the commit."""
    scheduled = policy(schedule=parse_schedule("daily at 02:30"))
    assert scheduled.next_due(NOW) == datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
    assert scheduled.worst_rpo(NOW) == timedelta(days=1)


def test_an_rpo_alone_is_a_promise_too():
    """Without a schedule, the next snapshot is due within one RPO."""
    promised = policy(objectives=Objectives(rpo=timedelta(hours=1)))
    assert promised.next_due(NOW) == NOW + timedelta(hours=1)
    assert promised.worst_rpo(NOW) is None


def test_a_promise_counts_pauses_and_windows_in():
    """Nobody is called late for what was said beforehand."""
    daily = parse_schedule("daily at 02:30")
    paused = policy(schedule=daily, pause=Pause(NOW + timedelta(days=3), "moving"))
    assert paused.next_due(NOW) == NOW + timedelta(days=3)
    closed = policy(schedule=daily, limits=Limits(closed=(parse_window("02:00-04:00"),)))
    assert closed.next_due(NOW) == datetime(2026, 11, 22, 4, tzinfo=UTC)


def test_nothing_promised_is_nothing_due():
    """A policy that runs by hand only never looks stale."""
    assert policy().next_due(NOW) is None


def test_retention_reads_as_a_sentence():
    """Every rule has its words."""
    kept = Retention(last=3, within=timedelta(days=2), hourly=24, daily=1)
    assert kept.in_words() == [
        "the newest 3",
        "everything of the last 2 days",
        "one an hour for 24 hours",
        "one a day for 1 day",
    ]


@pytest.mark.parametrize(
    ("within", "words"),
    [
        (timedelta(days=1), "everything of the last 1 day"),
        (timedelta(weeks=1), "everything of the last 7 days"),
        (timedelta(hours=12), "everything of the last 12 h"),
        (timedelta(hours=36), "everything of the last 1 d 12 h"),
    ],
)
def test_a_span_is_told_as_long_as_it_is(within, words):
    """Nobody is promised a day who asked for twelve hours, nor loses the half of a day and a half."""
    assert Retention(within=within).in_words() == [words]
