"""Rows for which there is no room in memory, in a database of SQLite's without a name.

It is in a file that nobody else can open, and that is gone with the process.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from drkeeper.errors import LedgerError

_SCHEMA: Final = """
PRAGMA cache_size = -16384;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE aside (
    place INTEGER PRIMARY KEY, projection TEXT, key TEXT, row BLOB, UNIQUE (projection, key)
);
BEGIN;
"""
_PUT: Final = (
    "INSERT INTO aside (projection, key, row) VALUES (?, ?, ?)"
    " ON CONFLICT (projection, key) DO UPDATE SET row = excluded.row"
)
_FIND: Final = "SELECT row FROM aside WHERE projection = ? AND key = ?"
_TAKE: Final = "DELETE FROM aside WHERE projection = ? AND key = ? RETURNING row"
_ALL: Final = "SELECT key, row FROM aside WHERE projection = ? ORDER BY place"


class Aside:
    """Packed rows by projection and key, in the order in which they came.

    Every method raises ``LedgerError`` when the file cannot be written or read.
    """

    def __init__(self) -> None:
        with _told():
            self._rows = sqlite3.connect("", isolation_level=None)
            self._rows.executescript(_SCHEMA)

    def close(self) -> None:
        """Give the room back."""
        self._rows.close()

    def put(self, rows: Iterable[tuple[tuple[str, object], bytes]]) -> None:
        """Keep rows, in the place of those that have their keys."""
        with _told():
            self._rows.executemany(
                _PUT, ((table, json.dumps(key), row) for (table, key), row in rows)
            )

    def find(self, table: str, key: object) -> bytes | None:
        """Return a row; ``None`` when there is none of this key."""
        return self._one(_FIND, table, key)

    def take(self, table: str, key: object) -> bytes | None:
        """Remove a row, and return it; ``None`` when there is none of this key."""
        return self._one(_TAKE, table, key)

    def all(self, table: str) -> Iterator[tuple[object, bytes]]:
        """Yield the keys and rows of a projection."""
        with _told():
            for key, row in self._rows.execute(_ALL, (table,)):
                yield json.loads(key), row

    def _one(self, statement: str, table: str, key: object) -> bytes | None:
        with _told():
            found = self._rows.execute(statement, (table, json.dumps(key))).fetchall()
        return found[0][0] if found else None


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(
            f"cannot compute what the ledger's events add up to: {error}",
            hint="Make room where temporary files are, or name another folder in TMPDIR.",
        ) from error
