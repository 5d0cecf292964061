"""The shape of a ledger file: made whole or not at all, recognised, brought up to date.

A new ledger is built under another name and renamed when it is complete, so the ledger's own name
never shows a half-made file. Alembic (0.3 s to import) is loaded only when there is a step to run.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from urllib.parse import quote

from sqlalchemy import Connection, Engine

from drkeeper.errors import LedgerError
from drkeeper.faults import point
from drkeeper.ledger import place
from drkeeper.ledger.engine import reading, translated, writing
from drkeeper.ledger.form import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    refuse_newer,
    refuse_older,
    refuse_stranger,
)
from drkeeper.ledger.sqlite import application_id, open_engine
from drkeeper.ledger.steps import form_of, run_steps

_LEFTOVERS = ("", "-journal", "-wal", "-shm")
"""What SQLite may leave beside a file. Source: sqlite.org/tempfiles.html."""


def create(path: str, begin: Callable[[Connection], object], *, patience: timedelta) -> None:
    """Make a ledger at ``path``, unless another process does so first.

    Args:
        path: Real path; its directory exists.
        begin: Writes the first rows into the finished tables.
        patience: Longest wait for another process.

    Raises:
        NoSpaceError: The file system is full; no ledger was made.
        LedgerError: The ledger cannot be made.
    """
    made = f"{path}.new"
    try:
        with _alone(os.path.dirname(path)):
            if os.path.lexists(path):
                return
            _refuse_orphan(path)
            _remove(made)
            place.make_file(made)
            point("ledger.schema.building")
            _build(made, begin, patience=patience)
            point("ledger.schema.built")
            os.rename(made, path)
            point("ledger.schema.renamed")
            place.sync_directory(os.path.dirname(path))
            point("ledger.schema.synced")
    except OSError as error:
        place.refuse("ledger cannot be made", path, error)


def settle(
    engine: Engine,
    path: str,
    *,
    read_only: bool = False,
    target: str = SCHEMA_VERSION,
    steps: Sequence[str] = (),
) -> None:
    """See that a file is a ledger of the shape this program knows, bringing it there if older.

    Before the first step a copy of the file is put beside it (``<name>.form-<version>``).

    Args:
        engine: Over the file.
        path: The file.
        read_only: Refuse an older shape instead of changing it.
        target: The shape wanted.
        steps: Further directories of steps.

    Raises:
        NoSpaceError: The file system is full; the ledger is as it was.
        LedgerError: The file is not a ledger, is newer than this program, or cannot be changed.
    """
    with reading(engine) as connection:
        found = _version(connection)
    refuse_newer(found, target)
    if found == target:
        return
    if read_only:
        refuse_older(found, target, path)
    with writing(engine) as connection:
        found = _version(connection)
        refuse_newer(found, target)
        if found != target:
            _keep_copy(path, found)
            point("ledger.schema.upgrading")
            run_steps(connection, target, steps)
            point("ledger.schema.upgraded")


def _version(connection: Connection) -> str:
    """Read the shape that a file says it has.

    Raises:
        LedgerError: The file is not a ledger.
    """
    refuse_stranger(application_id(connection))
    return form_of(connection)


def _build(path: str, begin: Callable[[Connection], object], *, patience: timedelta) -> None:
    engine = open_engine(path, patience=patience)
    try:
        with writing(engine) as connection:
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            run_steps(connection, SCHEMA_VERSION, ())
            begin(connection)
    finally:
        engine.dispose()


def _keep_copy(path: str, version: str) -> None:
    """Put a copy of the ledger beside it; the caller holds the write lock, so it stands still.

    Raises:
        NoSpaceError: The file system is full.
        LedgerError: The copy cannot be written.
    """
    kept = f"{path}.form-{version}"
    made = f"{kept}.new"
    try:
        _remove(made)
        place.make_file(made)
        point("ledger.schema.copying")
        with (
            translated(),
            closing(_plain(path, "ro")) as live,
            closing(_plain(made, "rw")) as copy,
        ):
            live.backup(copy)
        os.rename(made, kept)
        place.sync_directory(os.path.dirname(path))
        point("ledger.schema.copied")
    except OSError as error:
        place.refuse("copy of the ledger cannot be made", kept, error)


def _plain(path: str, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode={mode}", uri=True)
    connection.execute("PRAGMA synchronous = EXTRA")
    return connection


def _refuse_orphan(path: str) -> None:
    """Refuse to put a new ledger beside the journal of a lost one.

    SQLite would take the journal for the new file's and play it back into it.

    Raises:
        LedgerError: There is such a journal.
    """
    for suffix in _LEFTOVERS[1:]:
        if os.path.lexists(path + suffix):
            raise LedgerError(
                f"ledger is missing, but its {suffix[1:]} file is there: {path}{suffix}",
                hint="Put the ledger back beside it, or move it away to begin anew.",
                path=path,
            )


def _remove(path: str) -> None:
    for suffix in _LEFTOVERS:
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Let one process at a time make a ledger in ``directory``; ends with the process."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
