"""When a policy runs: a small grammar, and what it means across daylight saving.

Two families. *By the calendar* (daily, weekly, monthly, quarterly, most of cron): a time on the wall
of the policy's zone, once a slot: a time that the clock jumps over runs at the first instant after
the gap, a time that comes twice runs the first time only. *By elapsed time* (hourly, every 6h, cron
in each hour): spacing that no clock change stretches, because the longest pause is what an RPO is
made of.

Everything is a pure function of the schedule, the zone and an instant.
"""

import re
from collections.abc import Iterator
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import islice

import msgspec

from drkeeper.model.cron import (
    counts_elapsed_time,
    cron_runs,
    explain_cron,
    looks_like_cron,
    parse_cron,
    runs_every_day,
)
from drkeeper.model.quantities import format_duration, parse_duration

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Short names of the days, Monday first, as ``date.weekday`` counts."""

_WEEKDAY_WORDS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
)
_DAYS_OF_MONTH = range(1, 32)
_SHORTEST_MONTH = 28
_MONTHS = 12
_LAST_YEAR = MAXYEAR - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_QUARTER = timedelta(hours=6)
"""Of a day; no zone changes its clock and changes it back within one."""
_HORIZON = timedelta(days=400)
"""A year and a month: every clock change and every length of month and quarter is in it."""

_WEEK = timedelta(days=7)

SHORTEST = timedelta(minutes=1)
"""Shortest ``every``; below it, log shipping is the answer and not snapshots."""
LONGEST = timedelta(days=366)
"""Longest ``every``."""


class Unit(StrEnum):
    """How a schedule counts."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    EVERY = "every"
    CRON = "cron"


class Schedule(msgspec.Struct, frozen=True):
    """A recurring slot.

    Attributes:
        unit: How it counts.
        at: Time of day on the wall of the policy's zone; for ``HOURLY`` only its minute counts.
        day: Weekday (0 is Monday) for ``WEEKLY``; day of the month (1 to 31) for ``MONTHLY`` and
            ``QUARTERLY``, where a shorter month gives its last day; else 0.
        interval: Elapsed time between runs for ``EVERY``; else zero.
        cron: Five fields for ``CRON``, as ``parse_cron`` returns them; else empty.
    """

    unit: Unit
    at: time = time(0, 0)
    day: int = 0
    interval: timedelta = timedelta()
    cron: str = ""

    def __str__(self) -> str:  # noqa: PLR0911 - one a unit
        """Write the schedule in its own grammar; ``parse_schedule`` reads it back."""
        clock = f"{self.at:%H:%M}"
        match self.unit:
            case Unit.HOURLY:
                return f"hourly at :{self.at.minute:02d}"
            case Unit.DAILY:
                return f"daily at {clock}"
            case Unit.WEEKLY:
                return f"weekly on {WEEKDAYS[self.day]} at {clock}"
            case Unit.MONTHLY | Unit.QUARTERLY:
                return f"{self.unit} on {self.day} at {clock}"
            case Unit.EVERY:
                return f"every {_compact(self.interval)}"
            case Unit.CRON:
                return self.cron


_GRAMMAR = re.compile(
    r"(?P<unit>hourly|daily|weekly|monthly|quarterly)"
    r"(?: on (?P<day>[a-z]+|[0-9]{1,2}))?"
    r"(?: at (?P<at>:[0-9]{2}|[0-9]{1,2}:[0-9]{2}))?",
    re.ASCII,
)
_EXAMPLES = "hourly at :15, daily at 02:30, weekly on sun at 03:00, monthly on 1 at 04:00, every 6h"


def parse_schedule(text: str) -> Schedule:
    """Read a schedule; ``daily`` alone means at 00:00, ``hourly`` at :00, ``weekly`` on sun.

    Raises:
        ValueError: ``text`` is no schedule; the message says what is wrong and shows examples.
    """
    words = " ".join(text.split()).lower()
    if words.startswith("every "):
        return _parse_every(words.removeprefix("every "))
    match = _GRAMMAR.fullmatch(words)
    if match is None:
        if looks_like_cron(text):
            return Schedule(Unit.CRON, cron=parse_cron(text))
        raise ValueError(f"{text!r} is not a schedule; write {_EXAMPLES}")
    unit = Unit(match["unit"])
    return Schedule(unit, at=_parse_at(unit, match["at"]), day=_parse_day(unit, match["day"]))


def _parse_every(text: str) -> Schedule:
    interval = parse_duration(text)
    if not SHORTEST <= interval <= LONGEST:
        raise ValueError(f"every {text} is outside one minute to 366 days")
    if interval % _MINUTE:
        raise ValueError(f"every {text} is not a number of whole minutes")
    return Schedule(Unit.EVERY, interval=interval)


def _parse_at(unit: Unit, text: str | None) -> time:
    if text is None:
        return time(0, 0)
    if (unit is Unit.HOURLY) != text.startswith(":"):
        want = "hourly at :15" if unit is Unit.HOURLY else f"{unit} … at 02:30"
        raise ValueError(f"{unit} cannot be at {text}; write {want}")
    hour, minute = (int(part or 0) for part in text.split(":"))
    try:
        return time(hour, minute)
    except ValueError:
        raise ValueError(f"{text} is not a time of day") from None


def _parse_day(unit: Unit, text: str | None) -> int:
    match unit:
        case Unit.WEEKLY:
            if text is None:
                return WEEKDAYS.index("sun")
            if text[:3] in WEEKDAYS and _WEEKDAY_WORDS[WEEKDAYS.index(text[:3])].lower().startswith(
                text
            ):
                return WEEKDAYS.index(text[:3])
            raise ValueError(f"{text!r} is not a day of the week: {', '.join(WEEKDAYS)}")
        case Unit.MONTHLY | Unit.QUARTERLY:
            if text is None:
                return 1
            if text.isdecimal() and int(text) in _DAYS_OF_MONTH:
                return int(text)
            raise ValueError(f"{text!r} is not a day of the month, 1 to 31")
        case _:
            if text is not None:
                raise ValueError(f"{unit} takes no day; write weekly on {text} or monthly on 1")
            return 0


def runs(schedule: Schedule, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield the instants of all runs later than ``after``, in UTC, ascending, without end.

    Ends only where the calendar of Python ends, in the year 9999.
    """
    match schedule.unit:
        case Unit.EVERY:
            yield from _elapsed(schedule.interval, after)
        case Unit.HOURLY:
            yield from _hourly(schedule.at.minute, zone, after)
        case Unit.CRON:
            yield from cron_runs(schedule.cron, zone, after, instant_of)
        case _:
            yield from _calendar(schedule, zone, after)


def next_run(schedule: Schedule, zone: tzinfo, after: datetime) -> datetime:
    """Return the first run later than ``after``, in UTC."""
    return next(runs(schedule, zone, after))


def _elapsed(interval: timedelta, after: datetime) -> Iterator[datetime]:
    slot = _EPOCH + ((after - _EPOCH) // interval + 1) * interval
    while True:
        yield slot
        slot += interval


def _hourly(minute: int, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield each instant at which the wall clock shows ``minute``, both passes of a fold too."""
    last = after.astimezone(UTC)
    while True:
        start = last.replace(second=0, microsecond=0) + _MINUTE
        slot = start + ((minute - start.astimezone(zone).minute) % 60) * _MINUTE
        if slot.astimezone(zone).minute != minute:
            # The zone's offset moved by part of an hour in between (Lord Howe does by 30 minutes).
            slot = start
            while slot.astimezone(zone).minute != minute:
                slot += _MINUTE
        yield slot
        last = slot


def _calendar(schedule: Schedule, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    wall = after.astimezone(zone)
    # A day earlier, since one zone (Samoa, 2011) has skipped a whole one; but no more than a day.
    earlier = timedelta(days=0 if schedule.at < wall.time() else 1)
    last = after
    for day in _days(schedule, wall.date() - earlier):
        offset = _offset_of_day(zone, day)
        if offset is None:
            slot = instant_of(datetime.combine(day, schedule.at), zone)
        else:
            slot = datetime.combine(day, schedule.at, UTC) - offset
        if slot > last:
            yield slot
            last = slot


@lru_cache(maxsize=1024)
def _offset_of_day(zone: tzinfo, day: date) -> timedelta | None:
    """Return how far a wall is from UTC for all of a day; ``None`` when that changes in it."""
    if day.year >= _LAST_YEAR:
        return None  # the day after it may not exist
    midnight = datetime.combine(day, time(), zone)
    # What lies in a gap or comes twice is read with the earlier offset first, with the later one last.
    walls = [midnight + _QUARTER * count for count in range(4)]
    walls.append((midnight + _QUARTER * 4).replace(fold=1))
    offsets = {wall.utcoffset() for wall in walls}
    return offsets.pop() if len(offsets) == 1 else None


def _days(schedule: Schedule, first: date) -> Iterator[date]:
    match schedule.unit:
        case Unit.DAILY:
            yield from _every_days(first, 1)
        case Unit.WEEKLY:
            yield from _every_days(first + timedelta(days=(schedule.day - first.weekday()) % 7), 7)
        case _:
            step = 1 if schedule.unit is Unit.MONTHLY else 3
            year, month = first.year, first.month - (first.month - 1) % step
            while year <= _LAST_YEAR:
                yield _day_of_month(year, month, schedule.day)
                month += step
                if month > _MONTHS:
                    year, month = year + 1, month - _MONTHS


def _every_days(first: date, step: int) -> Iterator[date]:
    day = first
    while day.year <= _LAST_YEAR:
        yield day
        day += timedelta(days=step)


def _day_of_month(year: int, month: int, day: int) -> date:
    following = date(year + month // 12, month % 12 + 1, 1)
    return min(date(year, month, 1) + timedelta(days=day - 1), following - timedelta(days=1))


def instant_of(wall: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which a wall clock in ``zone`` shows the naive time ``wall``.

    A time that comes twice gives the first instant; a time that is jumped over gives the first
    instant after the gap, as docs/adr/0081 says why.
    """
    slot = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if slot.astimezone(zone).replace(tzinfo=None) == wall:
        return slot
    return _end_of_gap(wall, zone)


def _end_of_gap(wall: datetime, zone: tzinfo) -> datetime:
    # fold=1 reads the wall time with the offset after the jump, fold=0 with the one before, so the
    # jump itself lies between the two instants.
    low = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    high = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    after = high.astimezone(zone).utcoffset()
    second = timedelta(seconds=1)
    while high - low > second:
        middle = low + (high - low) // 2 // second * second
        if middle.astimezone(zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high


def longest_gap(schedule: Schedule, zone: tzinfo, after: datetime) -> timedelta:
    """Return the longest pause between two runs within 400 days after ``after``."""
    if schedule.unit is Unit.EVERY:
        return schedule.interval
    horizon = _HORIZON
    if schedule.unit is Unit.CRON and _is_the_same_each_day(schedule.cron):
        horizon = _WEEK  # it may run each minute, and a year of that would take seconds to count
    longest, previous = timedelta(), None
    for slot in runs(schedule, zone, after):
        if previous is not None:
            longest = max(longest, slot - previous)
            if slot - after > horizon:
                break
        previous = slot
    return longest


def _is_the_same_each_day(expression: str) -> bool:
    return counts_elapsed_time(expression) and runs_every_day(expression)


def upcoming(schedule: Schedule, zone: tzinfo, after: datetime, count: int) -> list[datetime]:
    """Return the next ``count`` runs later than ``after``."""
    return list(islice(runs(schedule, zone, after), count))


def in_words(schedule: Schedule) -> str:  # noqa: PLR0911 - one a unit
    """Say in a sentence what the schedule means, without its final full stop."""
    clock = f"{schedule.at:%H:%M}"
    match schedule.unit:
        case Unit.HOURLY:
            return f"every hour, {schedule.at.minute} minutes past; also in hours that come twice"
        case Unit.DAILY:
            return f"every day at {clock}"
        case Unit.WEEKLY:
            return f"every {_WEEKDAY_WORDS[schedule.day]} at {clock}"
        case Unit.MONTHLY | Unit.QUARTERLY:
            months = (
                "every month"
                if schedule.unit is Unit.MONTHLY
                else "January, April, July and October"
            )
            short = ", or the last day of a shorter month" if schedule.day > _SHORTEST_MONTH else ""
            return f"on day {schedule.day} of {months} at {clock}{short}"
        case Unit.EVERY:
            pace = format_duration(schedule.interval)
            return f"every {pace} of elapsed time, counted from 1970-01-01 00:00 UTC"
        case Unit.CRON:
            return _cron_in_words(schedule.cron)


def _cron_in_words(expression: str) -> str:
    twice = "; also in hours that come twice" if counts_elapsed_time(expression) else ""
    return f"by cron {expression}: {explain_cron(expression)}{twice}"


def _compact(interval: timedelta) -> str:
    minutes = interval // _MINUTE
    for size, unit in ((10080, "w"), (1440, "d"), (60, "h")):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"
