"""How much data is at stake: the age of the newest recovery point, now and at its worst.

All of it is in the wall time that the records carry. A recovery point says two things: the instant
that its data describes, and from when on it could be restored. Between two of them the age grows as
time does, so that it is the greatest just before a newer one is ready.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

NOTHING = timedelta()


class Ready(msgspec.Struct, frozen=True):
    """A recovery point over time.

    Attributes:
        consistent_at: The instant that its data describes.
        ready_at: From when on it can be restored.
    """

    consistent_at: datetime
    ready_at: datetime


class Achieved(msgspec.Struct, frozen=True):
    """What is kept of an objective.

    Attributes:
        worst: The greatest age that the newest recovery point reaches.
        at: When it does first.
    """

    worst: timedelta
    at: datetime


def age_at(newest: datetime, now: datetime) -> timedelta:
    """Return how much time of data is at stake; a point that lies in the future costs nothing."""
    return max(now - newest, NOTHING)


def worst_age(
    points: Iterable[Ready], begin: datetime, end: datetime, *, newest: datetime | None = None
) -> Achieved:
    """Return the worst age of the newest recovery point from ``begin`` to ``end``.

    The newest is the one that describes the latest instant, not the one that was made last: runs
    may overlap, and clocks may be set between the beginning of a run and its end.

    Args:
        points: In any order; those ready after ``end`` do not count.
        begin: First instant looked at.
        end: Last instant looked at.
        newest: Instant of a recovery point known before all of ``points``; without one, the data
            is at stake from ``begin`` on.
    """
    ordered = sorted(points, key=lambda point: point.ready_at)
    before = [point.consistent_at for point in ordered if point.ready_at < begin]
    last = max([begin if newest is None else newest, *before])
    worst = Achieved(age_at(last, begin), begin)
    for point in ordered:
        if begin <= point.ready_at <= end:
            worst = _worse(worst, last, point.ready_at)
            last = max(last, point.consistent_at)
    return _worse(worst, last, end)


def _worse(worst: Achieved, newest: datetime, at: datetime) -> Achieved:
    age = age_at(newest, at)
    return Achieved(age, at) if age > worst.worst else worst
