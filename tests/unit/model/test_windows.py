"""Times of day in which nothing may start."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from drkeeper.model.windows import closed_until, never_opens, parse_window

BERLIN = ZoneInfo("Europe/Berlin")


def at(text):
    """Return an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def windows(*texts):
    """Read windows."""
    return tuple(parse_window(text) for text in texts)


@pytest.mark.parametrize("text", ["08:00-18:00", "22:00-06:00"])
def test_a_window_writes_itself_as_it_was_read(text):
    """What is shown can be pasted."""
    assert str(parse_window(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [("8-18", "not a window"), ("25:00-26:00", "time of day"), ("08:00-08:00", "pause the policy")],
)
def test_what_is_no_window_is_explained(text, told):
    """The message shows one, or what to do instead."""
    with pytest.raises(ValueError, match=told):
        parse_window(text)


@pytest.mark.parametrize(
    ("texts", "now", "opens"),
    [
        (["08:00-18:00"], "2026-11-21T06:59", None),
        (["08:00-18:00"], "2026-11-21T07:00", "2026-11-21T17:00"),
        (["08:00-18:00"], "2026-11-21T17:00", None),
        (["22:00-06:00"], "2026-11-21T23:00", "2026-11-22T05:00"),
        (["22:00-06:00"], "2026-11-21T04:00", "2026-11-21T05:00"),
        (["08:00-12:00", "11:00-14:00", "14:00-15:00"], "2026-11-21T08:00", "2026-11-21T14:00"),
    ],
)
def test_a_window_closes_a_part_of_the_day_on_the_wall(texts, now, opens):
    """Its first minute is in it, its end is not; windows that touch are one."""
    expected = None if opens is None else at(opens)
    assert closed_until(windows(*texts), BERLIN, at(now)) == expected


def test_a_window_ends_where_its_end_is_skipped():
    """On the day on which 02:30 does not exist, it opens at 03:00."""
    assert closed_until(windows("00:00-02:30"), BERLIN, at("2027-03-27T23:30")) == at(
        "2027-03-28T01:00"
    )


def test_windows_may_not_close_the_whole_day():
    """Such a policy would never run."""
    assert never_opens(windows("06:00-18:00", "18:00-06:00"))
    assert never_opens(windows("06:00-05:59", "05:00-07:00"))
    assert not never_opens(windows("06:00-05:59"))


def test_windows_that_close_the_whole_day_still_have_an_answer():
    """They are refused when a policy is read; who asks all the same does not wait for ever."""
    whole = (parse_window("00:00-12:00"), parse_window("12:00-00:00"))
    now = datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert closed_until(whole, UTC, now) > now
