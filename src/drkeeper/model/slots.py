"""The slots of one policy: its schedule, moved by the policy's own jitter."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

import msgspec

from drkeeper.model.schedule import Schedule, Unit, runs

_SECOND = timedelta(seconds=1)
_LOOK_BACK = tuple(timedelta(hours=hours) for hours in (6, 26, 24 * 8, 24 * 100, 24 * 400))
"""No schedule has a longer pause than the last of them, and few have many slots in the first; in the
second there is one slot of most that are by the day."""
_SPARSE = frozenset({Unit.DAILY, Unit.WEEKLY, Unit.MONTHLY, Unit.QUARTERLY})
"""Schedules with a slot a day at most: in the first few hours there is seldom one."""
MOST_COUNTED = 1000
"""Most missed slots that are counted one by one."""


class Slots(msgspec.Struct, frozen=True):
    """When a policy is due, before anything is known of what happened.

    Attributes:
        schedule: Its schedule.
        zone: Where its wall is.
        offset: Added to every slot; the same for ever, less than the shortest pause.
    """

    schedule: Schedule
    zone: tzinfo
    offset: timedelta = timedelta()

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the slots later than ``instant``, in UTC, ascending."""
        for slot in runs(self.schedule, self.zone, instant - self.offset):
            yield slot + self.offset

    def next(self, instant: datetime) -> datetime:
        """Return the first slot later than ``instant``."""
        return next(self.after(instant))

    def around(self, base: datetime, now: datetime) -> "Around":
        """Find the slots later than ``base`` that lie on both sides of ``now``."""
        last = None
        for count, slot in enumerate(self.after(base)):
            if slot > now:
                return Around(last, slot, count)
            last = slot
            if count == MOST_COUNTED:
                break
        nearby = self._nearby(now)
        return Around(nearby.last or last, nearby.following, MOST_COUNTED)

    def _nearby(self, now: datetime) -> "Around":
        """Find the slots around ``now`` without walking there from far away."""
        backs = _LOOK_BACK[self.schedule.unit in _SPARSE :]
        tries = (self.around(now - back, now) for back in backs)
        return next((found for found in tries if found.last is not None), self.around(now, now))

    def before(self, instant: datetime) -> datetime | None:
        """Return the newest slot that is not later than ``instant``."""
        return self._nearby(instant).last

    def pause_after(self, slot: datetime) -> timedelta:
        """Return the time from this slot to the one that follows it."""
        return self.next(slot) - slot


class Around(msgspec.Struct, frozen=True):
    """Slots around an instant, and later than another one.

    Attributes:
        last: The last slot that is not later than the instant; ``None`` when there is none.
        following: The first later one.
        count: How many there are up to ``last``; MOST_COUNTED stands for that or more.
    """

    last: datetime | None
    following: datetime
    count: int


def offset_of(key: str, jitter: timedelta) -> timedelta:
    """Return the part of ``jitter`` that falls to ``key``, in whole seconds; below ``jitter``.

    The same key gets the same part on every start, and different keys spread evenly.
    """
    seconds = jitter // _SECOND
    if seconds == 0:
        return timedelta()
    digest = hashlib.blake2b(key.encode(), digest_size=8, person=b"drkeeper jitter").digest()
    return timedelta(seconds=int.from_bytes(digest) % seconds)


def shortest_pause(schedule: Schedule, zone: tzinfo, after: datetime) -> timedelta:
    """Return the shortest pause between two of the next hundred runs, clock changes left out."""
    slots = [slot for slot, _ in zip(runs(schedule, zone, after), range(100), strict=False)]
    return min(b - a for a, b in pairwise(slots))
