"""Times of day in which a run may not start."""

import re
from datetime import datetime, time, timedelta, tzinfo

import msgspec

from drkeeper.model.schedule import instant_of

_GRAMMAR = re.compile(r"([0-9]{1,2}:[0-9]{2})\s*-\s*([0-9]{1,2}:[0-9]{2})", re.ASCII)
_DAY = timedelta(days=1)


class Window(msgspec.Struct, frozen=True):
    """A part of each day on the wall, perhaps across midnight.

    Attributes:
        begin: First minute.
        end: First minute after it; earlier than ``begin`` when midnight lies between.
    """

    begin: time
    end: time

    def __str__(self) -> str:
        """Write the window as ``parse_window`` reads it."""
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"


def parse_window(text: str) -> Window:
    """Read a window such as ``08:00-18:00`` or ``22:00-06:00``.

    Raises:
        ValueError: ``text`` is none, or has no length.
    """
    match = _GRAMMAR.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a window such as 08:00-18:00")
    begin, end = (_clock(part) for part in match.groups())
    if begin == end:
        raise ValueError(f"{text!r} is the whole day or nothing of it; pause the policy instead")
    return Window(begin, end)


def _clock(text: str) -> time:
    hour, minute = (int(part) for part in text.split(":"))
    try:
        return time(hour, minute)
    except ValueError:
        raise ValueError(f"{text} is not a time of day") from None


def closed_until(windows: tuple[Window, ...], zone: tzinfo, now: datetime) -> datetime | None:
    """Return when the last of the windows ends that ``now`` lies in, in UTC; ``None`` for none.

    Windows that touch or overlap count as one. Windows that close the whole day never end, and are
    refused by ``never_opens`` when a policy is read.
    """
    closed: datetime | None = None
    instant = now
    # Each round leaves one window; more rounds than windows would mean that they close the day.
    for _ in range(len(windows) + 1):
        ends = [end for window in windows if (end := _end(window, zone, instant)) is not None]
        if not ends:
            return closed
        instant = closed = max(ends)
    return closed


def _end(window: Window, zone: tzinfo, now: datetime) -> datetime | None:
    today = now.astimezone(zone).date()
    for day in (today - _DAY, today):
        last = day if window.begin < window.end else day + _DAY
        begin = instant_of(datetime.combine(day, window.begin), zone)
        end = instant_of(datetime.combine(last, window.end), zone)
        if begin <= now < end:
            return end
    return None


def never_opens(windows: tuple[Window, ...]) -> bool:
    """Return whether the windows together close every minute of a day."""
    closed = set[int]()
    for window in windows:
        begin = window.begin.hour * 60 + window.begin.minute
        end = window.end.hour * 60 + window.end.minute
        closed.update(minute % 1440 for minute in range(begin, end if begin < end else end + 1440))
    return len(closed) == 1440  # noqa: PLR2004 - the minutes of a day
