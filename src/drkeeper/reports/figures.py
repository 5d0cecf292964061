"""Figures of many records, each with the events that it follows from.

The names say what was done: ``count``, and ``min_``, ``median_`` or ``max_`` before the name of a
recorded member. Who verifies a report can so compute them again without knowing what they are about.

Source:
    docs/evidence.md, "Figures".
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from statistics import median_low
from typing import Any, Final

from drkeeper.reports.history import Record

_MICROSECOND: Final = timedelta(microseconds=1)
_OF_ALL: Final[dict[str, Callable[[Iterable[int]], int]]] = {
    "min": min,
    "median": median_low,
    "max": max,
}


def us(span: timedelta | None) -> int | None:
    """Spell a span in whole microseconds."""
    return None if span is None else span // _MICROSECOND


def numbers(records: Iterable[Record]) -> list[int]:
    """Return the numbers of the newest events about things, in order."""
    return sorted(each.last for each in records)


def counted(events: Sequence[int], **more: object) -> dict[str, Any]:
    """Return how many things there are, by their events, in order."""
    return {"events": [*events], "count": len(events), **more}


def figure(records: Sequence[Record], *names: str, **more: object) -> dict[str, Any]:
    """Return figures of some records.

    Args:
        records: What they are of.
        names: Such as ``max_achieved_rto_us``; ``None`` comes out when no record has the member.
        more: Members that say what it is a figure of.
    """
    made: dict[str, Any] = {"events": numbers(records), "count": len(records), **more}
    for name in names:
        how, _, member = name.partition("_")
        values = [v for each in records if (v := each.body.get(member)) is not None]
        made[name] = _OF_ALL[how](values) if values else None
    return made
