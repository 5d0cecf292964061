"""What there may be millions of, in columns: recovery points, and runs that succeeded.

A recovery point each hour of each of a thousand policies are two million in a quarter. As records
they would fill gigabytes; in columns a point takes less than fifty bytes.
"""

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from drkeeper.reports.gaps import Point

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Points:
    """Recovery points of one policy, in the order of their events.

    Attributes:
        events: Number of the event of each.
        commits: Number of the journal entry of each.
        plain_bytes: Size of what each holds.
        complete: Whether each holds everything.
    """

    __slots__ = (
        "_at",
        "_names",
        "_ready",
        "_stores",
        "commits",
        "complete",
        "events",
        "plain_bytes",
    )

    def __init__(self) -> None:
        self.events = array("q")
        self.commits = array("q")
        self.plain_bytes = array("q")
        self.complete = array("b")
        self._at = array("q")
        self._ready = array("q")
        self._stores = array("H")
        self._names: list[str] = []

    def add(self, seq: int, body: Mapping[str, Any]) -> None:
        """Add what an event says; events come in order."""
        self.events.append(seq)
        self.commits.append(body["commit_number"])
        self.plain_bytes.append(body["plain_bytes"])
        self.complete.append(body["complete"])
        self._at.append(_us(body["consistent_at"]))
        self._ready.append(_us(body["finished_at"]))
        if body["repository"] not in self._names:
            self._names.append(body["repository"])
        self._stores.append(self._names.index(body["repository"]))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.events)

    def after(self, seq: int) -> range:
        """Return the places of those whose events have higher numbers."""
        return range(bisect_right(self.events, seq), len(self.events))

    def repository(self, place: int) -> str:
        """Return the identifier of the repository that holds one."""
        return self._names[self._stores[place]]

    def over_time(self) -> list[Point]:
        """Return what each says of time."""
        rows = zip(self._at, self._ready, self.events, strict=True)
        return [Point(_instant(at), _instant(ready), event) for at, ready, event in rows]

    def newest_by_store(self) -> dict[str, int]:
        """Return, by repository, the event of the newest one."""
        return {self._names[s]: e for s, e in zip(self._stores, self.events, strict=True)}


class Kind(NamedTuple):
    """What a report tells of a run that succeeded.

    Attributes:
        policy: Whose.
        operation: What it did.
        host: Name of the machine.
        day: On which it ended.
    """

    policy: str | None
    operation: str
    host: str
    day: str


Succeeded = dict[Kind, "array[int]"]
"""Events of the runs that succeeded, in order."""


def take_run(known: Succeeded, seq: int, body: Mapping[str, Any]) -> None:
    """Add a run that succeeded."""
    host = body.get("process", {}).get("host", "")
    kind = Kind(body.get("policy"), body["operation"], host, body["ended_at"][:10])
    known.setdefault(kind, array("q")).append(seq)


def merged(parts: Sequence[Sequence[int]]) -> list[int]:
    """Return the numbers of some columns in order."""
    return sorted(number for part in parts for number in part)


def _us(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def _instant(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
