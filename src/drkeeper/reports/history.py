"""The ledger's events up to a point, as records: what all events about one thing say together.

A report is computed from these alone. Which events a quarter has is decided by their order: its last
one is the last that was written before its end, so that each event belongs to one quarter whatever was
done to clocks, and a quarter that is over has the same events for ever.

Source:
    docs/evidence.md, "Records".
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from drkeeper.crypto.merkle import Tree, leaf_hash
from drkeeper.errors import IntegrityError
from drkeeper.ledger.events import GENESIS, Event, digest, hashed_bytes
from drkeeper.model.instants import exact_rfc3339
from drkeeper.reports.columns import Points, Succeeded, take_run

_A_READ: Final = 5000
"""Events read at a time. Source: ours; a few megabytes."""

Body = Mapping[str, Any]


class Reads(Protocol):
    """What a report asks a ledger."""

    def events(self, *, after: int = 0, limit: int = ...) -> list[Event]:
        """Return links of the chain in order, those after a number."""
        ...

    def origin(self) -> str:
        """Return the name that the ledger bears in its checkpoints."""
        ...


@dataclass(slots=True)
class Record:
    """What the events about one thing say of it.

    Attributes:
        table: What kind of thing.
        key: Which one.
        events: Numbers of these events.
        body: Their bodies put together; of two that name the same, the later counts.
        since: When the first of them was written.
        at: When the last was.
    """

    table: str
    key: object
    since: str
    events: list[int] = field(default_factory=list)
    body: dict[str, Any] = field(default_factory=dict)
    at: str = ""

    @property
    def last(self) -> int:
        """Number of the newest event about it."""
        return self.events[-1]

    def instant(self, name: str) -> datetime | None:
        """Return an instant of the body, if it is there."""
        text = self.body.get(name)
        return None if text is None else instant(text)

    def span(self, name: str) -> timedelta | None:
        """Return a span of the body, if it is there."""
        value = self.body.get(name)
        return None if value is None else timedelta(microseconds=value)

    def row(self, *names: str, **more: object) -> dict[str, Any]:
        """Return members of the body as they were recorded, with the events that say so.

        Args:
            names: Of members.
            more: Members that are computed; their names are not those of recorded ones.
        """
        return {"events": [*self.events], **{name: self.body.get(name) for name in names}, **more}


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a stretch of the chain.

    Attributes:
        size: Number of events up to there.
        root: Of the tree over them, hexadecimal.
        hash: Of the last of them, hexadecimal.
    """

    size: int
    root: str
    hash: str


class History:
    """Records of the events that were written before an instant.

    Args:
        origin: Name of the ledger.
        marks: By the instant asked for, how far the chain was then.
        taken: What its events say.

    Attributes:
        kinds: How many events of each kind the quarter has.
        points: Recovery points by policy.
        succeeded: Runs of the quarter that did; all others are records.
    """

    def __init__(self, origin: str, marks: Mapping[datetime, Mark], taken: "_Taken") -> None:
        self.origin = origin
        self.marks = marks
        self.kinds = taken.kinds
        self.points = taken.points
        self.succeeded = taken.succeeded
        self._tables: dict[str, list[Record]] = {}
        self._owned: dict[tuple[str, object], list[Record]] = {}
        for each in taken.records.values():
            self._tables.setdefault(each.table, []).append(each)
            self._owned.setdefault((each.table, each.body.get("policy")), []).append(each)

    def all(self, table: str) -> list[Record]:
        """Return the records of one kind, oldest first."""
        return self._tables.get(table, [])

    def of(self, table: str, policy: str) -> list[Record]:
        """Return those of one policy."""
        return self._owned.get((table, policy), [])

    def ended(self, table: str, after: int, until: int) -> list[Record]:
        """Return those whose newest event has a number above ``after``, up to ``until``."""
        return [each for each in self.all(table) if after < each.last <= until]


def read_history(ledger: Reads, stops: Sequence[datetime], since: datetime) -> History:
    """Read the chain up to the last of some instants; what was written later is left alone.

    Args:
        ledger: To be read.
        stops: Instants; the last is the end of what is read.
        since: One of them. Of runs that had their end before, nothing is kept.

    Raises:
        IntegrityError: The chain is not sound.
    """
    sizes = _sizes(ledger, {stop: exact_rfc3339(stop) for stop in stops})
    wanted, roots = set(sizes.values()), {0: Mark(0, Tree().root.hex(), GENESIS.hex())}
    tree, prev, taken = Tree(), GENESIS, _Taken()
    for number, event in enumerate(_chain(ledger, max(wanted)), 1):
        if event.hash != _due(event, number, prev):
            raise IntegrityError(
                f"event {number} of the ledger was changed, moved or removed",
                hint="Run drkeeper ledger verify, and keep the file.",
            )
        tree.add(leaf_hash(hashed_bytes(event)))
        if event.seq in wanted:
            roots[event.seq] = Mark(event.seq, tree.root.hex(), event.hash.hex())
        prev = event.hash
        taken.take(event, old=event.seq <= sizes[since])
    marks = {stop: roots[size] for stop, size in sizes.items()}
    return History(ledger.origin(), marks, taken)


def _sizes(ledger: Reads, stops: Mapping[datetime, str]) -> dict[datetime, int]:
    """Return, by instant, the number of the last event that was written before it."""
    sizes = dict.fromkeys(stops, 0)
    for event in _chain(ledger):
        for stop, text in stops.items():
            if event.at < text:
                sizes[stop] = event.seq
    return sizes


def instant(text: str) -> datetime:
    """Return the instant that a record spells."""
    return datetime.fromisoformat(text)


def _chain(ledger: Reads, last: int | None = None) -> Iterator[Event]:
    after = 0
    while last is None or after < last:
        found = ledger.events(
            after=after, limit=_A_READ if last is None else min(_A_READ, last - after)
        )
        if not found:
            return
        yield from found
        after = found[-1].seq


def _due(event: Event, seq: int, prev: bytes) -> bytes:
    if (event.seq, event.prev) != (seq, prev):
        return b""
    return digest(seq, prev, event.at, kind=event.kind, body=event.body)


class _Taken:
    """What events say, as far as they were read."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, object], Record] = {}
        self.points: dict[str, Points] = {}
        self.succeeded: Succeeded = {}
        self.kinds: Counter[str] = Counter()

    def take(self, event: Event, *, old: bool) -> None:
        """Put an event with the others about the same thing.

        Args:
            event: The next one.
            old: Whether it was written before the quarter.
        """
        self.kinds[event.kind] += not old
        if event.kind not in _NAMES:
            return
        body = json.loads(event.body)
        if event.kind == "recovery_point.recorded":
            self.points.setdefault(body["policy"], Points()).add(event.seq, body)
            return
        table, key_of = _NAMES[event.kind]
        key = table, key_of(event.seq, body)
        record = self.records.setdefault(key, Record(*key, event.at))
        record.events.append(event.seq)
        record.body |= body
        record.at = event.at
        # Nothing follows a run's own word; not so what others believed, run.interrupted.
        if event.kind == "run.ended" and (old or record.body["state"] == "succeeded"):
            del self.records[key]
            if not old:
                take_run(self.succeeded, event.seq, record.body)


_Key = Callable[[int, Body], object]


def _own(seq: int, _body: Body) -> object:
    return seq


def _named(name: str) -> _Key:
    return lambda _seq, body: body[name]


_NAMES: Final[dict[str, tuple[str, _Key]]] = {
    "run.begun": ("run", _named("run")),
    "run.claimed": ("run", _named("run")),
    "run.ended": ("run", _named("run")),
    "run.interrupted": ("run", _named("run")),
    "recovery_point.recorded": ("point", _own),
    "verification.recorded": ("check", _own),
    "policy.seen": ("policy", _named("policy")),
    "alarm.raised": ("alarm", _own),
    "alarm.cleared": ("alarm", _named("alarm")),
    "drill.planned": ("drill", _own),
    "drill.declared": ("drill", _named("drill")),
    "drill.ended": ("drill", _named("drill")),
    "incident.opened": ("incident", _own),
    "incident.closed": ("incident", _named("incident")),
    "corrective_action.opened": ("action", _own),
    "corrective_action.closed": ("action", _named("action")),
    "key_drill.recorded": ("key_drill", _own),
}
"""Which thing an event of a kind is about. Source: docs/evidence.md, "Records"."""
