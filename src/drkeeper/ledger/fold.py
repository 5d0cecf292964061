"""All projections as the events make them, for whoever holds tables against a chain.

A past of years is millions of rows, of which each event looks at one or two, mostly of the last ones. Those
are in memory; the others are in a database of SQLite's without a name, which is in a file that nobody else
can open, and that is gone with the process.
"""

import json
import marshal
import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Final, Self

from sqlalchemy import Connection, insert

from drkeeper.errors import LedgerError
from drkeeper.ledger.change import Row
from drkeeper.ledger.events import Event
from drkeeper.ledger.projections import changes
from drkeeper.ledger.tables import PROJECTIONS

_COLUMNS: Final = {name: tuple(table.columns.keys()) for name, table in PROJECTIONS.items()}
_AT_ONCE: Final = 1000
"""Rows written with one statement. Source: ours."""
_MOST_HELD: Final = 50_000
"""Most rows in memory. Source: ours; some 30 MiB."""

_SCHEMA: Final = """
PRAGMA cache_size = -16384;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE old (
    place INTEGER PRIMARY KEY, projection TEXT, key TEXT, row BLOB, UNIQUE (projection, key)
);
BEGIN;
"""
_FIND: Final = "SELECT row FROM old WHERE projection = ? AND key = ?"
_PUT: Final = (
    "INSERT INTO old (projection, key, row) VALUES (?, ?, ?)"
    " ON CONFLICT (projection, key) DO UPDATE SET row = excluded.row"
)
_TAKE: Final = "DELETE FROM old WHERE projection = ? AND key = ? RETURNING row"
_ALL: Final = "SELECT key, row FROM old WHERE projection = ? ORDER BY place"


class Fold:
    """All rows, as the events seen so far make them; a context manager.

    Every method raises ``LedgerError`` when there is no room for what does not fit into memory.
    """

    def __init__(self, most_held: int = _MOST_HELD) -> None:
        self._most_held = most_held
        self._held: dict[tuple[str, object], bytes] = {}
        self._old: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._old is not None:
            self._old.close()

    def add(self, event: Event) -> None:
        """Take one more event into account.

        Raises:
            IllegalEventError: It contradicts those before it; nothing was changed.
        """
        for change in changes(event, self._find):
            values = [change.row[column] for column in _COLUMNS[change.table]]
            self._held[change.table, change.key] = marshal.dumps(values)
        if len(self._held) > self._most_held:
            self._put_aside()

    def take(self, table: str, key: object) -> Row | None:
        """Remove a row, and return it; ``None`` when there is none of this key."""
        if self._old is None:
            packed = self._held.pop((table, key), None)
        else:
            self._put_aside()
            (packed,) = next(iter(self._ask(_TAKE, table, json.dumps(key)).fetchall()), (None,))
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
        if packed is None and self._old is not None:
            packed = next((row for (row,) in self._ask(_FIND, table, json.dumps(key))), None)
        return None if packed is None else _unpacked(table, packed)

    def _all(self, table: str) -> Iterator[tuple[object, bytes]]:
        """Yield keys and rows, in the order in which they came."""
        if self._old is None:
            return ((key, row) for (name, key), row in self._held.items() if name == table)
        self._put_aside()
        return ((json.loads(key), row) for key, row in self._ask(_ALL, table))

    def _put_aside(self) -> None:
        """Let the file have all that is in memory."""
        if self._old is None:
            self._old = sqlite3.connect("", isolation_level=None)
            self._old.executescript(_SCHEMA)
        for (table, key), packed in self._held.items():
            self._ask(_PUT, table, json.dumps(key), packed)
        self._held.clear()

    def _ask(self, statement: str, *values: object) -> sqlite3.Cursor:
        assert self._old is not None  # noqa: S101 - made by _put_aside
        try:
            return self._old.execute(statement, values)
        except sqlite3.Error as error:
            raise LedgerError(
                f"cannot compute what the ledger's events add up to: {error}",
                hint="Make room where temporary files are, or name another folder in TMPDIR.",
            ) from error


def _unpacked(table: str, packed: bytes) -> Row:
    values = marshal.loads(packed)  # noqa: S302 - what this process has packed
    return dict(zip(_COLUMNS[table], values, strict=True))
