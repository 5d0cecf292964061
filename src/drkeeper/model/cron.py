"""Cron expressions of five fields, read by cronsim, and what they mean across clock changes.

An expression whose hour is ``*`` counts elapsed time, like ``hourly``: it runs whenever the clock
shows its minute, also in an hour that comes twice. Every other one follows the calendar, like
``daily``: each slot on the wall once, at the first instant after the gap where the clock jumps over
it, the first time where it comes twice.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from cronsim import CronSim, CronSimError

_FIELDS: Final = ("minute", "hour", "day of the month", "month", "day of the week")
_MACROS: Final = {
    "@hourly": "hourly",
    "@daily": "daily",
    "@midnight": "daily",
    "@weekly": "weekly",
    "@monthly": "monthly on 1",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELD: Final = re.compile(r"[0-9A-Za-z*/,\-#]+", re.ASCII)
_SOME_WALL: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall has no zone
_LONGEST_GAP: Final = timedelta(days=1, hours=1)
"""One zone has skipped a whole day (Samoa, 2011)."""


def looks_like_cron(text: str) -> bool:
    """Return whether somebody meant ``text`` as cron: a macro, or five or six fields."""
    words = text.split()
    return text.strip().startswith("@") or (
        len(words) in {len(_FIELDS), len(_FIELDS) + 1}
        and all(_FIELD.fullmatch(word) or word == "?" for word in words)
        and any(character in text for character in "0123456789*")
    )


def parse_cron(text: str) -> str:
    """Return the expression in one spelling: single spaces, names in capitals.

    Raises:
        ValueError: It is no cron expression of five fields, or matches no day at all.
    """
    words = text.split()
    if words and words[0].startswith("@"):
        instead = _MACROS.get(text.strip().lower())
        raise ValueError(f"{text.strip()!r} is not read; write {instead or 'daily at 02:30'}")
    if len(words) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(words)} fields; a cron schedule has five: {', '.join(_FIELDS)}"
        )
    expression = " ".join(words).upper()
    try:
        next(CronSim(expression, _SOME_WALL))
    except CronSimError as error:
        raise ValueError(f"cron schedule {text!r}: {str(error).lower()}") from error
    except StopIteration:
        raise ValueError(f"cron schedule {text!r} matches no day in 50 years") from None
    return expression


def counts_elapsed_time(expression: str) -> bool:
    """Return whether it runs in every hour of its days, so that clock changes do not stretch it."""
    return expression.split()[1] == "*"


def runs_every_day(expression: str) -> bool:
    """Return whether no field of days or months leaves any day out."""
    return expression.split()[2:] == ["*", "*", "*"]


def explain_cron(expression: str) -> str:
    """Say in a sentence what the fields mean, without a final full stop."""
    return CronSim(expression, _SOME_WALL).explain()


def cron_runs(
    expression: str,
    zone: tzinfo,
    after: datetime,
    instant_of: Callable[[datetime, tzinfo], datetime],
) -> Iterator[datetime]:
    """Yield the instants of all runs later than ``after``, in UTC, ascending.

    Args:
        expression: As ``parse_cron`` returns it.
        zone: Where its wall is.
        after: Aware.
        instant_of: Gives the instant of a time on the wall, gaps and repeated hours settled.
    """
    last = after.astimezone(UTC)
    if counts_elapsed_time(expression):
        for slot in CronSim(expression, after.astimezone(zone)):
            instant = slot.astimezone(UTC)
            if instant > last:
                yield instant
                last = instant
        return
    wall = _wall_of(after - _LONGEST_GAP, zone)
    if wall + _LONGEST_GAP == _wall_of(after, zone):
        wall += _LONGEST_GAP  # no gap in between whose slots are still to come
    for slot in CronSim(expression, wall):
        instant = instant_of(slot, zone)
        if instant > last:
            yield instant
            last = instant


def _wall_of(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)
