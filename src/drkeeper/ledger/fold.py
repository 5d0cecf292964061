"""All projections as the events make them, for whoever holds tables against a chain.

A past of years is millions of rows, of which each event looks at one or two, mostly of the last ones. Those
are in memory, the others in a file.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, Self

import msgspec
from sqlalchemy import Connection, insert

from drkeeper.ledger.aside import Aside
from drkeeper.ledger.change import Change, IllegalEventError, Row
from drkeeper.ledger.events import Event
from drkeeper.ledger.projections import changes
from drkeeper.ledger.tables import PROJECTIONS

_COLUMNS: Final = {name: tuple(table.columns.keys()) for name, table in PROJECTIONS.items()}
_AT_ONCE: Final = 1000
"""Rows written with one statement. Source: ours."""
_MOST_HELD: Final = 50_000
"""Most rows in memory. Source: ours; some 30 MiB."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[object])


class Fold:
    """All rows, as the events seen so far make them; a context manager.

    Every method raises ``LedgerError`` when there is no room for what does not fit into memory.
    """

    def __init__(self, most_held: int = _MOST_HELD) -> None:
        self._most_held = most_held
        self._held: dict[tuple[str, object], bytes] = {}
        self._aside: Aside | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._aside is not None:
            self._aside.close()

    def add(self, event: Event) -> None:
        """Take one more event into account.

        Raises:
            IllegalEventError: It contradicts those before it, or no table could hold what it says;
                nothing was changed.
        """
        try:
            rows = {(each.table, each.key): _packed(each) for each in changes(event, self._find)}
        except (OverflowError, UnicodeError) as error:
            raise IllegalEventError(f"event {event.seq} ({event.kind}) has no meaning") from error
        self._held |= rows
        if len(self._held) > self._most_held:
            self._aside = self._aside or Aside()
            self._put_aside(self._aside)

    def take(self, table: str, key: object) -> Row | None:
        """Remove a row, and return it; ``None`` when there is none of this key."""
        if self._aside is None:
            packed = self._held.pop((table, key), None)
        else:
            self._put_aside(self._aside)
            packed = self._aside.take(table, key)
        return None if packed is None else _unpacked(table, packed)

    def keys(self, table: str) -> Iterator[object]:
        """Yield the keys of the rows that nobody has taken."""
        return (key for key, _ in self._all(table))

    def write(self, connection: Connection) -> int:
        """Insert all rows into empty tables, parents before children; return how many there are."""
        count = 0
        for name, table in PROJECTIONS.items():
            rows = (_unpacked(name, packed) for _, packed in self._all(name))
            while some := list(islice(rows, _AT_ONCE)):
                connection.execute(insert(table), some)
                count += len(some)
        return count

    def _find(self, table: str, key: object) -> Row | None:
        packed = self._held.get((table, key))
        if packed is None and self._aside is not None:
            packed = self._aside.find(table, key)
        return None if packed is None else _unpacked(table, packed)

    def _all(self, table: str) -> Iterator[tuple[object, bytes]]:
        """Return keys and rows, in the order in which they came."""
        if self._aside is None:
            return ((key, row) for (name, key), row in self._held.items() if name == table)
        self._put_aside(self._aside)
        return self._aside.all(table)

    def _put_aside(self, aside: Aside) -> None:
        if self._held:
            aside.put(self._held.items())
            self._held.clear()


def _packed(change: Change) -> bytes:
    return _encoder.encode([change.row[column] for column in _COLUMNS[change.table]])


def _unpacked(table: str, packed: bytes) -> Row:
    return dict(zip(_COLUMNS[table], _decoder.decode(packed), strict=True))
