"""Times, durations and sizes as the page writes them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from drkeeper.app.web.markup import Child, Markup, tag
from drkeeper.model.instants import rfc3339
from drkeeper.model.quantities import format_duration, format_size

_MINUTE: Final = timedelta(minutes=1)
_SOON: Final = timedelta(seconds=1)
_NBSP: Final = "\u00a0"
"""Keeps a number with its unit."""


def zone_of(name: str) -> ZoneInfo:
    """Return a zone by its name; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def span(duration: timedelta) -> str:
    """Write a duration with its two largest units: ``1 h 30 min``."""
    if duration >= _MINUTE:
        duration = timedelta(seconds=round(duration.total_seconds()))
    elif timedelta() < duration < _SOON:
        return f"{duration / timedelta(milliseconds=1):.0f}{_NBSP}ms"
    return format_duration(duration).replace(" ", _NBSP)


def age(duration: timedelta) -> str:
    """Write how old something is, in whole minutes once it has some: ``6 h 36 min``, ``12 s``."""
    whole = duration - duration % _MINUTE
    return span(whole if whole > timedelta() else duration)


def size(count: int) -> str:
    """Write a number of bytes: ``1.42 GiB``."""
    return format_size(count).replace(" ", _NBSP)


def ago(instant: datetime, now: datetime) -> str:
    """Write how far away an instant is: ``3 h ago``, ``in 5 min``, ``now``."""
    distance = instant - now
    if abs(distance) < _SOON:
        return "now"
    if distance < timedelta():
        return f"{_largest(-distance)} ago"
    return f"in{_NBSP}{_largest(distance)}"


def _largest(duration: timedelta) -> str:
    """Write a duration roughly: its largest unit, and the next one while the first is small."""
    first, _, rest = format_duration(duration).partition(" ")
    unit, _, second = rest.partition(" ")
    few = 3
    if second and int(first) < few:
        return f"{first}{_NBSP}{unit} {second.replace(' ', _NBSP)}"
    return f"{first}{_NBSP}{unit}"


def local(instant: datetime, zone: ZoneInfo) -> str:
    """Write an instant as a wall clock of ``zone`` shows it: ``Sat 21 Nov 2026, 02:30 CET``."""
    there = instant.astimezone(zone)
    return f"{there:%a} {there.day} {there:%b %Y, %H:%M} {there.tzname() or ''}".rstrip()


def short(instant: datetime, zone: ZoneInfo, now: datetime) -> str:
    """Write an instant in as few words as tell it apart: today ``02:30``, else with its day."""
    there, here = instant.astimezone(zone), now.astimezone(zone)
    clock = f"{there:%H:%M}"
    if there.date() == here.date():
        return f"today {clock}"
    year = "" if there.year == here.year else f" {there.year}"
    return f"{there:%a} {there.day} {there:%b}{year} {clock}"


def moment(instant: datetime, zone: ZoneInfo, text: Child = None) -> Markup:
    """Return an instant in words, with UTC for machines and for the pointer."""
    utc = rfc3339(instant.replace(microsecond=0))
    shown = local(instant, zone) if text is None else text
    return tag("time", shown, datetime=utc, title=utc.replace("T", " ").replace("Z", " UTC"))


def sentence(phrase: str) -> str:
    """Return a phrase as a sentence: with a capital letter and an end."""
    # Names and addresses keep their own letters.
    word = phrase.partition(" ")[0]
    begun = phrase[:1].upper() + phrase[1:] if word.isalpha() else phrase
    return begun if begun.endswith((".", "!", "?")) else f"{begun}."


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun: ``1 run``, ``2 runs``."""
    return f"{number}{_NBSP}{one if number == 1 else many or one + 's'}"


def listed(words: Iterable[str]) -> str:
    """Write words as a list: ``a, b and c``."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last
