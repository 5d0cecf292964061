"""Questions in SQL that nobody foresaw: read only, for a limited time, about a limited number of rows.

The views are put before the question as common table expressions, so that nothing is made in the
database and both kinds of it answer alike. What keeps a question from changing anything is the
database: in a file an authorizer that allows nothing but reading, on a server a transaction that is
read only and a cursor, which takes one statement and that a query.

Source:
    sqlite.org/c3ref/set_authorizer.html; postgresql.org/docs: "SET TRANSACTION", "DECLARE".
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, text

from drkeeper.clock import Clock
from drkeeper.errors import ConfigurationError
from drkeeper.ledger.engine import reading
from drkeeper.ledger.records import Records
from drkeeper.ledger.views import VIEWS

MOST_ROWS: Final = 10_000
"""How many rows are returned unless told. Source: ours; more is an export."""
MOST_TIME: Final = timedelta(seconds=10)
"""How long a question may take unless told. Source: ours; a writer of a file waits meanwhile."""

_MOST_BYTES: Final = 1 << 24
"""Longest value that SQLite makes for a question. Source: ours; the longest body has a mebibyte."""
_STEPS: Final = 10_000
"""After how many steps of its machine SQLite looks at the clock. Source: ours; about a millisecond."""

_HINT: Final = "Ask one question that begins with SELECT, WITH or VALUES."
_COMMENT: Final = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_WITH: Final = re.compile(r"with\s+(?:recursive\s+)?", re.IGNORECASE)
_QUESTION: Final = re.compile(r"(?:select|values)\b", re.IGNORECASE)

_ALLOWED: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_FORBIDDEN_FUNCTIONS: Final = frozenset({"load_extension"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question found.

    Attributes:
        columns: Their names.
        rows: Values as the database gives them.
        truncated: Whether there were more rows.
    """

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    truncated: bool


class Queries(Records):
    """Questions in SQL."""

    def query(
        self, question: str, *, limit: int = MOST_ROWS, most_time: timedelta = MOST_TIME
    ) -> Answer:
        """Answer a question in SQL; changes nothing.

        Args:
            question: One ``SELECT``, ``WITH`` or ``VALUES``, over the views and tables.
            limit: How many rows are returned at most.
            most_time: How long it may take.

        Raises:
            ConfigurationError: It is no question, it is wrong, or it takes too long.
            LedgerError: As for the ledger.
        """
        whole = with_views(question)
        with reading(self._engine) as connection:
            if connection.dialect.name == "sqlite":
                return _ask_file(connection, whole, limit, Deadline(self._clock, most_time))
            return _ask_server(connection, whole, limit, most_time)


class Deadline:
    """The instant until which a question may take.

    Args:
        clock: Tells when it has passed.
        most_time: From now.
    """

    def __init__(self, clock: Clock, most_time: timedelta) -> None:
        self._clock = clock
        self._until_s = clock.monotonic() + most_time.total_seconds()

    def passed(self) -> bool:
        """Whether it is over."""
        return self._clock.monotonic() >= self._until_s


def with_views(question: str) -> str:
    """Put the views before a question.

    Raises:
        ConfigurationError: It does not begin as a question does.
    """
    start = _COMMENT.match(question)
    words = question[start.end() if start else 0 :].rstrip().removesuffix(";")
    views = ", ".join(f"{name} AS ({view})" for name, view in VIEWS.items())
    more = _WITH.match(words)
    if "\0" in words or not (more or _QUESTION.match(words)):
        raise ConfigurationError("text is not a question in SQL", hint=_HINT)
    if more:
        return f"WITH RECURSIVE {views}, {words[more.end() :]}"
    return f"WITH RECURSIVE {views} {words}"


def _ask_file(connection: Connection, whole: str, limit: int, deadline: Deadline) -> Answer:
    """Ask SQLite.

    Raises:
        ConfigurationError: The question is wrong or takes too long.
    """  # noqa: DOC501 - what is raised again is the database's own, for reading() to translate
    raw: Any = connection.connection.driver_connection
    with _restricted(raw, deadline):
        try:
            found = raw.execute(whole)
            columns = tuple(each[0] for each in found.description or ())
            rows = list(islice(found, limit + 1))
            found.close()
        except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR}:
                raise
            raise _wrong(error, late=code == sqlite3.SQLITE_INTERRUPT) from error
    return Answer(columns, rows[:limit], len(rows) > limit)


@contextmanager
def _restricted(raw: Any, deadline: Deadline) -> Iterator[None]:  # noqa: ANN401 - the driver's own
    """Let a connection do nothing but read, and that not for long."""

    def allow(action: int, _one: str | None, name: str | None, *_more: str | None) -> int:
        forbidden = action == sqlite3.SQLITE_FUNCTION and name in _FORBIDDEN_FUNCTIONS
        if action in _ALLOWED and not forbidden:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    longest = raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    raw.set_authorizer(allow)
    raw.set_progress_handler(deadline.passed, _STEPS)
    try:
        yield
    finally:
        raw.set_progress_handler(None, 0)
        raw.set_authorizer(None)
        raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)


def _ask_server(connection: Connection, whole: str, limit: int, most_time: timedelta) -> Answer:
    """Ask PostgreSQL.

    Raises:
        ConfigurationError: The question is wrong or takes too long.
    """  # noqa: DOC501 - as above
    import psycopg  # noqa: PLC0415 - an extra

    wait_ms = max(1, round(most_time.total_seconds() * 1000))
    # Every statement counts anew: the cursor is fetched from once, so that its sum stays within twice.
    connection.execute(_TIMEOUT, {"wait": str(wait_ms)})
    raw: Any = connection.connection.driver_connection
    try:
        # A cursor is declared by the protocol that takes one statement only, and for queries only.
        with raw.cursor("drkeeper_question") as cursor:
            cursor.execute(whole)
            columns = tuple(each.name for each in cursor.description or ())
            rows: Sequence[tuple[object, ...]] = cursor.fetchmany(limit + 1)
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate != _CANCELED:
            raise
        raise _wrong(error, late=error.sqlstate == _CANCELED) from error
    return Answer(columns, list(rows[:limit]), len(rows) > limit)


_TIMEOUT: Final = text("SELECT set_config('statement_timeout', :wait, true)")
_CANCELED: Final = "57014"
"""Source: postgresql.org/docs, appendix A, query_canceled."""


def _wrong(error: Exception, *, late: bool) -> ConfigurationError:
    """Say what is wrong with a question."""
    if late:
        return ConfigurationError(
            "question to the ledger takes too long",
            hint="Ask for less, or allow more time with --timeout.",
        )
    return ConfigurationError(f"ledger cannot answer this: {error}", hint=_HINT)
