"""All projections in memory, as the events make them: for whoever holds tables against a chain."""

import marshal
from collections.abc import Iterator
from itertools import islice
from typing import Final

from sqlalchemy import Connection, insert

from drkeeper.ledger.change import Row
from drkeeper.ledger.events import Event
from drkeeper.ledger.projections import changes
from drkeeper.ledger.tables import PROJECTIONS

_COLUMNS: Final = {name: tuple(table.columns.keys()) for name, table in PROJECTIONS.items()}
_AT_ONCE: Final = 1000
"""Rows written with one statement. Source: ours."""


class Fold:
    """All rows, as the events seen so far make them.

    A whole past is held at once, and each event looks at one or two rows of it: so each row is packed,
    which takes a fraction of what it takes as a mapping.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[object, bytes]] = {name: {} for name in PROJECTIONS}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def add(self, event: Event) -> None:
        """Take one more event into account.

        Raises:
            IllegalEventError: It contradicts those before it; nothing was changed.
        """
        for change in changes(event, self._find):
            packed = marshal.dumps([change.row[column] for column in _COLUMNS[change.table]])
            self._rows[change.table][change.key] = packed

    def take(self, table: str, key: object) -> Row | None:
        """Remove a row, and return it; ``None`` when there is none of this key."""
        packed = self._rows[table].pop(key, None)
        return None if packed is None else _unpacked(table, packed)

    def keys(self, table: str) -> Iterator[object]:
        """Yield the keys of the rows that nobody has taken."""
        return iter(self._rows[table])

    def write(self, connection: Connection) -> None:
        """Insert all rows into empty tables, parents before children."""
        for name, table in PROJECTIONS.items():
            rows = (_unpacked(name, packed) for packed in self._rows[name].values())
            while some := list(islice(rows, _AT_ONCE)):
                connection.execute(insert(table), some)

    def _find(self, table: str, key: object) -> Row | None:
        packed = self._rows[table].get(key)
        return None if packed is None else _unpacked(table, packed)


def _unpacked(table: str, packed: bytes) -> Row:
    values = marshal.loads(packed)  # noqa: S302 - what this process has packed
    return dict(zip(_COLUMNS[table], values, strict=True))
