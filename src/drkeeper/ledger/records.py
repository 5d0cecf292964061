"""What the nouns of the ledger have in common: the database, the time, and who is asking."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select, text

from drkeeper.clock import Clock
from drkeeper.ledger.chain import append
from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.events import Event, Kind, instant_from_text
from drkeeper.ledger.rows import checked
from drkeeper.model.instants import exact_rfc3339
from drkeeper.model.run import Process

NEWEST = 1000
"""How many rows a query returns unless told. Source: ours."""

Entry = tuple[Kind, Mapping[str, object]]
"""An event before it is linked: its kind and its body."""

_SERVER_NOW = text(
    "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
)

_T = TypeVar("_T")


class Records:
    """Access to one ledger; each noun adds what can be asked and recorded about it.

    Args:
        engine: Over the database.
        clock: Dates the events.
        me: Describes the calling process.
    """

    def __init__(self, engine: Engine, *, clock: Clock, me: Callable[[], Process]) -> None:
        self._engine = engine
        self._clock = clock
        self._me = me

    def _append(self, *entries: Entry) -> None:
        with writing(self._engine) as connection:
            self._append_in(connection, *entries)

    def _append_in(self, connection: Connection, *entries: Entry) -> list[Event]:
        """Append within a transaction that has looked at something first."""
        return append(connection, exact_rfc3339(self._clock.now()), entries)

    def _read(self, query: Select[Any], convert: Callable[[Mapping[str, object]], _T]) -> list[_T]:
        with reading(self._engine) as connection:
            return rows_of(connection, query, convert)

    def _now_in(self, connection: Connection) -> datetime:
        """Return the instant by the one clock that all users of this database share."""
        return shared_now(connection, self._clock)


def rows_of(
    connection: Connection, query: Select[Any], convert: Callable[[Mapping[str, object]], _T]
) -> list[_T]:
    """Convert what a query finds.

    Raises:
        LedgerError: A row does not hold what was once written.
    """
    result = connection.execute(query)
    names = tuple(result.keys())
    return [checked(convert, dict(zip(names, row, strict=True))) for row in result.all()]


def shared_now(connection: Connection, clock: Clock) -> datetime:
    """Return the instant by the clock of the database's machine: ours, for a file."""
    if connection.dialect.name != "postgresql":
        return clock.now()
    return instant_from_text(connection.execute(_SERVER_NOW).scalar_one())
