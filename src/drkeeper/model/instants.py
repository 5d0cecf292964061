"""Instants as people ask for them on a bad day: exactly, or not at all.

A time that the wall clock showed twice, or never, is refused with both readings spelled out. A
restore to an hour that was not meant is worse than a question.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo

import msgspec

from drkeeper.errors import InstantNotReachableError
from drkeeper.model.quantities import parse_duration

_ABSOLUTE = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\s?([Zz]|[+-]\d{2}:\d{2})?",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_FORMS = (
    "write 2026-11-20T14:30:00Z, '2026-11-20 14:30' (the policy's time zone), -2h (ago) or latest"
)


class Asked(msgspec.Struct, frozen=True):
    """An instant somebody asked for, resolved.

    Attributes:
        text: What was written.
        instant: What it means, aware, in UTC.
        latest: Whether "the newest there is" was asked for; ``instant`` is then the present.
    """

    text: str
    instant: datetime
    latest: bool = False


def parse_instant(text: str, zone: tzinfo, now: datetime) -> Asked:
    """Resolve an instant: RFC 3339, a local time of ``zone``, ``-2h``, or ``latest``.

    Raises:
        ValueError: ``text`` is none of these.
        InstantNotReachableError: The local time came twice or never, or lies in the future.
    """
    words = text.strip()
    if words.lower() == "latest":
        return Asked(text, now, latest=True)
    if words.startswith("-"):
        return Asked(text, now - parse_duration(words[1:]))
    if _DATE.fullmatch(words):
        raise ValueError(f"{text!r} names a day; add the time, since a day has many instants")
    match = _ABSOLUTE.fullmatch(words)
    if match is None:
        raise ValueError(f"{text!r} is not an instant; {_FORMS}")
    day, clock, offset = match.groups()
    try:
        if offset:
            instant = datetime.fromisoformat(f"{day}T{clock}{offset.upper()}").astimezone(UTC)
        else:
            instant = local_instant(datetime.fromisoformat(f"{day}T{clock}"), zone)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not in the calendar; {_FORMS}") from error
    if instant > now:
        raise InstantNotReachableError(
            f"{text!r} is {rfc3339(instant)}, which is in the future",
            hint="Ask for an instant in the past, or for latest.",
        )
    return Asked(text, instant)


def local_instant(wall: datetime, zone: tzinfo) -> datetime:
    """Return the one instant at which a wall clock in ``zone`` showed the naive time ``wall``.

    Raises:
        InstantNotReachableError: There are two such instants, or none.
    """
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return first
    shown = wall.isoformat(" ", timespec="minutes")
    if first < second:
        raise InstantNotReachableError(
            f"{shown} came twice in {zone}: {rfc3339(first)} and {rfc3339(second)}",
            hint="Ask for one of the two as it is written here.",
        )
    raise InstantNotReachableError(
        f"{shown} never was in {zone}: the clock was set forward over it",
        hint=f"Ask for an instant in UTC, such as {rfc3339(second)}.",
    )


def rfc3339(instant: datetime) -> str:
    """Write an instant in UTC with as many digits as it has: ``2026-11-20T13:30:00Z``."""
    utc = instant.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="auto") + "Z"


def exact_rfc3339(instant: datetime) -> str:
    """Write an instant in UTC with six decimals, the one form of records, which sorts as time does.

    Raises:
        ValueError: It has no time zone; a defect of the caller.
    """
    if instant.tzinfo is None:
        raise ValueError("instant without a time zone")
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def local_text(instant: datetime, zone: tzinfo) -> str:
    """Write an instant as a wall clock in ``zone`` shows it, with the zone's abbreviation."""
    local = instant.astimezone(zone)
    name = local.tzname() or ""
    return f"{local:%Y-%m-%d %H:%M:%S} {name}".rstrip()


def distance(earlier: datetime, later: datetime) -> timedelta:
    """Return how long before ``later`` the instant ``earlier`` lies; never negative."""
    return max(later - earlier, timedelta())
