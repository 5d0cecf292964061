"""Opening SQLite so that nothing is lost: every setting is here, with its reason.

* *Rollback journal, never WAL*: WAL has a corruption race in SQLite versions that stock Pythons
  ship (docs/adr/0040-ledger-in-sqlite-with-a-rollback-journal.md).
* ``synchronous=EXTRA``: the directory is flushed after the journal is removed, so that a commit
  that was reported survives a power cut.
* ``trusted_schema=OFF``, ``cell_size_check=ON``: the file may have been tampered with.

Source:
    sqlite.org/pragma.html, sqlite.org/security.html, sqlite.org/howtocorrupt.html.
"""

import os
import sqlite3
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from drkeeper.errors import DrkeeperError, LedgerBusyError, LedgerError, NoSpaceError

PATIENCE: Final = timedelta(seconds=30)
"""Longest wait for another process's transaction. Source: ours; a transaction takes milliseconds,
a verification of a large ledger some seconds."""

_SETTINGS = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = EXTRA",
    "PRAGMA temp_store = MEMORY",  # nothing of the ledger lands in /tmp
    "PRAGMA mmap_size = 0",  # a truncated file is an error, not a SIGBUS
)

_KEEP = "Keep the damaged file, and put the last good copy in its place."


def connect(path: str, *, patience: timedelta, read_only: bool) -> sqlite3.Connection:
    """Open an existing ledger file.

    Args:
        path: Its real path.
        patience: Longest wait for another process's transaction.
        read_only: Never write.
    """
    uri = f"file:{quote(os.fsencode(path))}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=patience.total_seconds(),
        isolation_level=None,  # transactions begin where we say, not where the driver guesses
        check_same_thread=False,  # a pool lends a connection to one thread at a time
    )
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
        # Reads the header, so that a file that claims to be in WAL mode is opened as such first
        # and can be taken out of it.
        connection.execute("PRAGMA application_id").fetchone()
        if not read_only:
            connection.execute("PRAGMA journal_mode = DELETE")
    except BaseException:
        connection.close()
        raise
    return connection


_RIGHTS = "Check the rights of this user and whether the file system is read-only."

_SAID: dict[int, tuple[type[DrkeeperError], str, str]] = {
    sqlite3.SQLITE_BUSY: (
        LedgerBusyError,
        "ledger is in use by another process",
        "Try again when the other run has ended.",
    ),
    sqlite3.SQLITE_FULL: (
        NoSpaceError,
        "no space for the ledger",
        "Free space on the file system that holds the ledger.",
    ),
    sqlite3.SQLITE_READONLY: (LedgerError, "ledger cannot be written", _RIGHTS),
    sqlite3.SQLITE_PERM: (LedgerError, "ledger cannot be opened", _RIGHTS),
    sqlite3.SQLITE_CANTOPEN: (LedgerError, "ledger cannot be opened", _RIGHTS),
    sqlite3.SQLITE_IOERR: (
        LedgerError,
        "ledger cannot be read or written",
        "Check the disk, its quota and the kernel's log.",
    ),
    sqlite3.SQLITE_NOTADB: (LedgerError, "ledger is not a database", _KEEP),
}
"""Our words for SQLite's primary result codes; any other means damage."""


def ours(cause: BaseException) -> DrkeeperError:
    """Find our error for one of SQLite's.

    Source:
        sqlite.org/rescode.html; the low byte of an extended code is the primary one.
    """
    code = (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF
    kind, message, hint = _SAID.get(code, (LedgerError, "ledger is damaged", _KEEP))
    return kind(f"{message}: {cause}", hint=hint)
