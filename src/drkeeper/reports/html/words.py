"""Instants, spans, sizes and events as a reader wants them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from drkeeper.model.quantities import format_duration, format_size

NBSP: Final = "\u00a0"
DASH: Final = "\u2013"
_MINUTE_US: Final = 60_000_000
_SHOWN: Final = 4
"""Events that are listed one by one; of more, the first and the last are."""


def when(text: str | None) -> str:
    """Write an instant to the minute, in UTC: ``2026-11-20 02:30``."""
    return DASH if text is None else f"{text[:10]}{NBSP}{text[11:16]}"


def day(text: str) -> str:
    """Write the day of an instant as people do: ``20 Nov 2026``."""
    return f"{datetime.fromisoformat(text):%-d %b %Y}"


def span(value_us: int | None) -> str:
    """Write a span: ``23 min 4 s``, ``12.3 s``."""
    if value_us is None:
        return DASH
    if abs(value_us) < _MINUTE_US:
        return f"{value_us / 1e6:.3g}{NBSP}s"
    return format_duration(timedelta(microseconds=value_us)).replace(" ", NBSP)


def short(value_us: int) -> str:
    """Write a span with one unit, for charts: ``24 min``, ``49 h``, ``4.0 d``."""
    seconds = value_us / 1e6
    if seconds < 10:  # noqa: PLR2004 - of less, a tenth matters
        return f"{seconds:.1f}{NBSP}s"
    for unit, name, upto in ((1, "s", 100), (60, "min", 100), (3600, "h", 100)):
        if seconds / unit < upto:
            return f"{seconds / unit:.0f}{NBSP}{name}"
    return f"{seconds / 86_400:.1f}{NBSP}d"


def size(count: int | None) -> str:
    """Write a number of bytes: ``1.42 GiB``."""
    return DASH if count is None else format_size(count).replace(" ", NBSP)


def count_of(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun: ``1 run``, ``2 runs``."""
    return f"{number:,}{NBSP}{one if number == 1 else many or one + 's'}".replace(",", "\u202f")


def events(numbers: Sequence[int]) -> str:
    """Write which events something follows from: ``#17 #19``, or how many from which to which."""
    if len(numbers) > 1 and [*numbers] == [*range(numbers[0], numbers[-1] + 1)]:
        return f"#{numbers[0]}{DASH}{numbers[-1]}"
    if len(numbers) <= _SHOWN:
        return " ".join(f"#{number}" for number in numbers)
    return f"{len(numbers)} events #{numbers[0]}\u2026#{numbers[-1]}"


def brief(text: str) -> str:
    """Write a long identifier by its ends: keys that withstand quantum computers have 2,000 signs."""
    return text if len(text) <= 40 else f"{text[:24]}\u2026{text[-8:]}"  # noqa: PLR2004 - a column


def quarter(text: str) -> str:
    """Write a quarter for a title: ``Q4 2026``."""
    return f"{text[4:]} {text[:4]}"
