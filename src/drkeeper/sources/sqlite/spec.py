"""What a policy says about databases, and which paths a snapshot of them has."""

from dataclasses import dataclass
from datetime import timedelta

from drkeeper.errors import ConfigurationError
from drkeeper.sources.files.spec import FilesSpec, Roots, printable, roots_of

BUSY_TIMEOUT = timedelta(seconds=30)
"""How long another program's lock is waited for.

Source: six times the 5 s that Python's sqlite3 waits by default, for programs with long writes.
"""
FINGERPRINT = b".drkeeper.json"
"""Behind the name of a database: the file with its fingerprint."""
EMPTY = (b"-journal", b"-wal")
"""Behind the name of a database: files that are empty in a snapshot.

A database that is put back in place of another would otherwise meet what that one left, and
SQLite would apply it.

Source: https://www.sqlite.org/howtocorrupt.html, section 1.4.
"""


@dataclass(frozen=True, slots=True)
class SqliteSpec:
    """Which databases to protect.

    Attributes:
        databases: Absolute paths of database files; nothing is expanded.
        busy_timeout: How long to wait for another program's lock.
        spool: Directory for the copy of one database at a time; made when missing.
    """

    databases: tuple[bytes, ...]
    spool: bytes
    busy_timeout: timedelta = BUSY_TIMEOUT


def roots_of_databases(databases: tuple[bytes, ...]) -> Roots:
    """Return the databases, as in ``Entry.path``, and the directories that lead to them.

    Raises:
        ConfigurationError: There is none, one is no plain absolute path, or the files of two of
            them would have the same name.
    """
    if not databases:
        raise ConfigurationError(
            "a sqlite source names no database", hint="Give at least one absolute path."
        )
    roots = roots_of(FilesSpec(paths=databases))
    taken: set[bytes] = set()
    for path in sorted(roots.named):
        for suffix in (b"", *EMPTY, FINGERPRINT):
            if path + suffix in taken or (path + suffix in roots.steps and not suffix):
                raise ConfigurationError(
                    f"database {printable(b'/' + path)} has a name that belongs to another one",
                    hint="Name database files only, each once.",
                )
            taken.add(path + suffix)
    return roots
