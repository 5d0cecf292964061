"""The ledger's file under SQLAlchemy; how it is opened is in :mod:`drkeeper.ledger.connecting`.

Every write begins with ``BEGIN IMMEDIATE``: a transaction that reads first and takes the lock later
fails, or loses an update, when another one writes in between.
"""

import sqlite3
from datetime import timedelta

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from drkeeper.ledger.connecting import connect

BEGIN = "drkeeper_begin"
"""The execution option that says how a transaction begins."""


def open_engine(path: str, *, patience: timedelta, read_only: bool = False) -> Engine:
    """Make an engine over an existing ledger file; the first connection opens it."""

    def creator() -> sqlite3.Connection:
        return connect(path, patience=patience, read_only=read_only)

    # Threads wait for each other in SQLite, where it can be told from damage, not for the pool.
    engine = create_engine(
        "sqlite+pysqlite://", creator=creator, poolclass=QueuePool, max_overflow=-1
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Open the transaction that SQLAlchemy believes to be open."""
    connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))


def application_id(connection: Connection) -> int:
    """Return the number that says whose file this is."""
    return int(connection.exec_driver_sql("PRAGMA application_id").scalar_one())
