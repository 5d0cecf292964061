"""Transactions: of readers, who see one instant, and of writers, of whom there is one at a time.

What differs between the databases is in :mod:`drkeeper.ledger.sqlite` and
:mod:`drkeeper.ledger.postgresql`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.ledger import connecting, postgresql, sqlite


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Hold the ledger at one instant; in a file, writers commit after the context ends.

    Raises:
        LedgerBusyError: Another process wrote for longer than the engine's patience.
        LedgerUnavailableError: The server does not answer.
        LedgerError: The ledger cannot be read.
    """
    with translated(engine), engine.connect() as plain:
        connection = plain
        if postgresql.serves(engine):
            connection = plain.execution_options(**postgresql.READING)
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Hold the ledger alone; everything is committed at the end, or nothing is.

    Raises:
        LedgerBusyError: Another process wrote for longer than the engine's patience.
        LedgerUnavailableError: The server does not answer.
        NoSpaceError: The file system is full; nothing was written.
        LedgerError: The ledger cannot be written.
    """
    point("ledger.engine.beginning")
    with translated(engine), engine.connect() as plain:
        connection = plain.execution_options(**{sqlite.BEGIN: "BEGIN IMMEDIATE"})
        with connection.begin():
            if postgresql.serves(engine):
                postgresql.lock(connection)
            point("ledger.engine.begun")
            yield connection
            point("ledger.engine.committing")
        point("ledger.engine.committed")


@contextmanager
def translated(engine: Engine | None = None) -> Iterator[None]:
    """Turn the databases' and SQLAlchemy's exceptions into ours, so that none leaves this package.

    After a full disk, a failed flush or a lost connection the pool's connections are closed: what
    they hold is not to be trusted.

    Raises:
        DrkeeperError: The one of ours that stands for it.
    """  # noqa: DOC501 - the rule does not see through ours()
    try:
        yield
    # SQLite quotes the damaged file in its messages, which the driver then cannot decode.
    except (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError) as error:
        if engine is not None:
            engine.dispose()
        raise ours(error, engine) from error


def ours(error: Exception, engine: Engine | None = None) -> DrkeeperError:
    """Find our error for one of the database's."""
    cause = getattr(error, "orig", None) or error
    if engine is not None and postgresql.serves(engine):
        return postgresql.ours(cause)
    return connecting.ours(cause)
