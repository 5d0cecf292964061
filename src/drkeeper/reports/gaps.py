"""How old the newest recovery point became, and which two points a gap lies between.

The same walk as :func:`drkeeper.model.exposure.worst_age`, which only tells the worst.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from drkeeper.model.exposure import age_at


@dataclass(frozen=True, slots=True)
class Point:
    """A recovery point over time.

    Attributes:
        consistent_at: The instant that its data describes.
        ready_at: From when on it can be restored.
        event: That says so.
    """

    consistent_at: datetime
    ready_at: datetime
    event: int


@dataclass(frozen=True, slots=True)
class Wait:
    """A stretch of time in which one point was the newest.

    Attributes:
        newest: Instant of its data; without a point, where the stretch begins.
        before: Event of that point; ``None`` when there was none.
        until: When a newer one was ready, or when nothing more was looked at.
        after: Event of the newer one; ``None`` when none came.
    """

    newest: datetime
    before: int | None
    until: datetime
    after: int | None

    @property
    def age(self) -> timedelta:
        """How old the newest point was in the end."""
        return age_at(self.newest, self.until)

    @property
    def events(self) -> list[int]:
        """The events that it follows from."""
        return [each for each in (self.before, self.after) if each is not None]


def waits(points: Iterable[Point], begin: datetime, end: datetime) -> Iterator[Wait]:
    """Yield the stretches between ``begin`` and ``end``, in order.

    Args:
        points: In any order; those before ``begin`` tell how old the newest was then. Without
            any, the data is at stake from ``begin`` on.
        begin: First instant looked at.
        end: Last instant looked at.
    """
    ordered = sorted(points, key=lambda point: (point.ready_at, point.event))
    newest, before = begin, None
    early = [point for point in ordered if point.ready_at < begin]
    if early:
        best = max(early, key=lambda point: point.consistent_at)
        newest, before = best.consistent_at, best.event
    for point in ordered:
        if not begin <= point.ready_at <= end:
            continue
        yield Wait(newest, before, point.ready_at, point.event)
        if point.consistent_at >= newest or before is None:
            newest, before = max(newest, point.consistent_at), point.event
    yield Wait(newest, before, end, None)
