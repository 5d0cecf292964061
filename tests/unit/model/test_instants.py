"""Instants that are asked for: exact, or refused."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from drkeeper.errors import InstantNotReachableError
from drkeeper.model.instants import local_text, parse_instant, rfc3339

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-20T14:30:00Z", "2026-11-20T14:30:00Z"),
        ("2026-11-20t14:30:00.25+02:00", "2026-11-20T12:30:00.250000Z"),
        ("2026-11-20 14:30", "2026-11-20T13:30:00Z"),
        ("2026-07-20 14:30:05", "2026-07-20T12:30:05Z"),
        ("-2h", "2026-11-21T10:00:00Z"),
        ("-1d 6h", "2026-11-20T06:00:00Z"),
    ],
)
def test_every_form_is_resolved_to_utc(text, instant):
    """RFC 3339, local time of the policy's zone, and "so long ago"."""
    assert rfc3339(parse_instant(text, BERLIN, NOW).instant) == instant


def test_latest_is_marked_as_such():
    """``latest`` is now, and says that the newest is meant."""
    asked = parse_instant("latest", BERLIN, NOW)
    assert asked.latest
    assert asked.instant == NOW


@pytest.mark.parametrize(
    "text", ["2026-11-20", "yesterday", "2026-13-01 00:00", "2026-02-30 10:00", "-2", "", "12:00"]
)
def test_what_is_no_instant_is_a_usage_error(text):
    """A day alone, words and impossible dates are refused with the forms that work."""
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text, BERLIN, NOW)


def test_a_local_time_that_came_twice_is_refused_with_both_readings():
    """Nobody can know which 02:30 was meant; both are offered."""
    with pytest.raises(InstantNotReachableError, match="twice") as caught:
        parse_instant("2026-10-25 02:30", BERLIN, NOW)
    assert "2026-10-25T00:30:00Z" in str(caught.value)
    assert "2026-10-25T01:30:00Z" in str(caught.value)


def test_a_local_time_that_never_was_is_refused():
    """The clock jumped over it."""
    with pytest.raises(InstantNotReachableError, match="never"):
        parse_instant("2026-03-29 02:30", BERLIN, NOW)


def test_the_future_is_refused():
    """No recovery point lies there."""
    with pytest.raises(InstantNotReachableError, match="future"):
        parse_instant("2026-11-21T12:00:01Z", BERLIN, NOW)


def test_instants_are_echoed_in_local_time_too():
    """People check themselves by the wall clock."""
    assert local_text(NOW - timedelta(hours=1), BERLIN) == "2026-11-21 12:00:00 CET"
