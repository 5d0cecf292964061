"""Durations and sizes as people write them: ``30m``, ``1h 30m``, ``50 GiB``.

Nothing here guesses: a number without its unit is refused, since a missing unit is how an RPO of
a minute becomes one of an hour.
"""

import re
from datetime import timedelta

_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""Seconds."""
_DURATION_PART = re.compile(r"([0-9]{1,9})\s*([smhdw])", re.ASCII)
_DURATION = re.compile(r"(?:[0-9]{1,9}\s*[smhdw]\s*)+", re.ASCII)

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGTP]i?B|B)", re.ASCII | re.IGNORECASE)
_SIZE_UNITS = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", start=1)},
}

LONGEST_DURATION = timedelta(weeks=5218)
"""A hundred years: longer ones are typing errors, and would overflow when added to a date."""

LARGEST_SIZE = 2**63 - 1
"""What fits in a signed 64-bit integer, as every file system counts."""


def parse_duration(text: str) -> timedelta:
    """Return the duration that ``text`` writes: ``10s``, ``30m``, ``1h``, ``2d``, ``1w``, ``1h 30m``.

    Raises:
        ValueError: ``text`` is something else, names a unit twice, or is longer than a century.
    """
    stripped = text.strip()
    if not _DURATION.fullmatch(stripped):
        raise ValueError(f"{text!r} is not a duration such as 10s, 30m, 1h, 2d or 1w")
    parts = _DURATION_PART.findall(stripped)
    units = [unit for _, unit in parts]
    if len(set(units)) != len(units):
        raise ValueError(f"{text!r} names a unit twice")
    # In plain numbers: the product may be more than a timedelta holds.
    seconds = sum(int(count) * _DURATION_UNITS[unit] for count, unit in parts)
    if seconds > LONGEST_DURATION.total_seconds():
        raise ValueError(f"{text!r} is longer than a hundred years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write ``duration`` with its two largest units: ``1 h 30 min``, ``2 d``, ``45 s``."""
    seconds = round(duration.total_seconds())
    if seconds < 0:
        return f"-{format_duration(-duration)}"
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def parse_size(text: str) -> int:
    """Return the bytes that ``text`` writes: ``4096 B``, ``50 GiB`` (1024), ``50 GB`` (1000).

    Raises:
        ValueError: ``text`` is something else, or more than a file can hold.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 512 KiB, 50 GiB or 2 TB")
    number, unit = match.groups()
    whole, _, fraction = number.partition(".")
    factor = _SIZE_UNITS[unit.lower()]
    size: int = int(whole) * factor
    if fraction:
        size += int(fraction) * factor // int("1" + "0" * len(fraction))
    if size > LARGEST_SIZE:
        raise ValueError(f"{text!r} is more than any file can hold")
    return size


def format_size(count: int) -> str:
    """Write a number of bytes in binary units, about three digits: ``1.42 GiB``, ``512 B``."""
    if count < _KIBI:
        return f"{count} B"
    value, power = float(count), 0
    while value >= _LONGEST_NUMBER and power < len(_BINARY):
        value, power = value / _KIBI, power + 1
    digits = max(0, 3 - len(str(int(value))))
    return f"{value:.{digits}f} {_BINARY[power - 1]}"


_KIBI = 1024
_LONGEST_NUMBER = 1000
_BINARY = ("KiB", "MiB", "GiB", "TiB", "PiB")
