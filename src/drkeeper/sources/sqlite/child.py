"""The program that opens databases: it copies one, or examines one, and says what it found.

It runs alone, as ``python -I child.py copy`` or ``python -I child.py examine PATH``, with nothing
but the standard library: so it works in a sandbox that has no drkeeper, and a database that was
made to break SQLite breaks a process that holds nothing. It is a process of its own for a second
reason: a process that closes any descriptor of a database loses all its locks on it (POSIX), so
whoever holds the read lock must not be the one who reads the file for other purposes.

What it was asked comes as one line of JSON on standard input; what it found goes, as JSON, to
standard output. It ends when its standard input does: nobody is left to hear of it then, and no
lock outlives the backup it was for.

Source:
    https://www.sqlite.org/howtocorrupt.html, section 2.2; https://www.sqlite.org/backup.html.
"""

import hashlib
import json
import os
import signal
import sqlite3
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from fcntl import ioctl
from typing import Any, Final
from urllib.parse import quote

MAGIC: Final = b"SQLite format 3\0"
"""Source: https://www.sqlite.org/fileformat2.html, section 1.3.1."""
SIBLINGS: Final = ("-journal", "-wal")
"""Files beside a database from which SQLite would change it when it is opened."""

_STEP_PAGES: Final = 4096  # between two steps the program can be told to end
_MESSAGES: Final = 100  # of a damaged database; more say no more
_GET_FLAGS: Final = 0x80006601 | struct.calcsize("l") << 16  # FS_IOC_GETFLAGS (linux/fs.h)
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_Answer = dict[str, Any]
_REFUSALS: Final = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_NOTADB: "not-a-database",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_CANTOPEN: "unopenable",
    sqlite3.SQLITE_READONLY: "unopenable",
    sqlite3.SQLITE_PERM: "unopenable",
}


class Refused(Exception):  # noqa: N818 - no error of drkeeper's; it never leaves this program
    """The database cannot be used.

    Attributes:
        code: A word that the caller knows.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def copy(request: _Answer) -> _Answer:
    """Copy a database as it was at one instant, and say what was in it at that instant.

    The read lock is taken first and held until the copy is complete: without it, the copying begins
    again with every foreign write and never ends. Counts, keys and schema are read under the same
    lock; whether the copy has them too is looked at when the lock is gone.

    Args:
        request: ``folder`` (descriptor of the directory), ``name``, ``path``, ``device``,
            ``inode``, ``busy_s``, ``spool`` (an empty file of the caller's).

    Raises:
        Refused: It is no database, is damaged, stays locked, or there is no room for the copy.
    """
    raw = _open_raw(request)
    flags = _inode_flags(raw)
    path, spool = _bytes(request["path"]), _bytes(request["spool"])
    with closing(_connect(path, "mode=ro", float(request["busy_s"]))) as source, _refusing():
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _require_opened(raw, request)
        facts, content = facts_of(source), fingerprint_of(source)
        _copy_pages(source, spool)
        source.execute("ROLLBACK")
    answer = {"empty": not facts["pages"], "fsflags": flags, **_looked_over(spool)}
    if facts["pages"]:  # the copy of nothing is a page
        answer["facts"]["journal_mode"] = facts["journal_mode"]
        if answer["facts"] != facts or answer["content"] != content:
            raise Refused("differs", "the copy does not hold what was counted under its lock")
    return answer


def examine(path: bytes) -> _Answer:
    """Say everything about a database that was restored and that nobody uses.

    Its bytes come first, then what SQLite finds in them alone, then whether it opens as an
    application would open it, with whatever lies beside it. Where SQLite gives up, the answer ends,
    with the reason as ``refused`` and ``message``.
    """
    answer: _Answer = {"sqlite": sqlite3.sqlite_version, **_bytes_of(path)}
    answer["beside"] = {
        name: os.path.getsize(path + name.encode())
        for name in SIBLINGS
        if os.path.lexists(path + name.encode())
    }
    try:
        _examine_content(path, answer)
    except Refused as error:
        answer |= {"refused": error.code, "message": str(error)}
    return answer


def _examine_content(path: bytes, answer: _Answer) -> None:
    with closing(_connect(path, "mode=ro&immutable=1", 0)) as alone, _refusing():
        answer["integrity"] = _integrity(alone, "integrity_check")
        answer["foreign_keys"] = _foreign_keys(alone)
        answer["facts"], answer["content"] = facts_of(alone), fingerprint_of(alone)
    with closing(_connect(path, "mode=rw", 0)) as used, _refusing():
        used.execute("BEGIN IMMEDIATE")
        answer["used"] = fingerprint_of(used)["schema_sha256"]
        used.execute("ROLLBACK")


def facts_of(connection: sqlite3.Connection) -> _Answer:
    """Return the settings that are written in the file."""
    names = {
        "page_size": "page_size",
        "pages": "page_count",
        "encoding": "encoding",
        "journal_mode": "journal_mode",
        "application_id": "application_id",
        "user_version": "user_version",
        "auto_vacuum": "auto_vacuum",
    }
    return {
        name: connection.execute(f"PRAGMA {pragma}").fetchone()[0] for name, pragma in names.items()
    }


def fingerprint_of(connection: sqlite3.Connection) -> _Answer:
    """Return what tells one state of a database from another: schema, counts, greatest keys."""
    schema = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name, tbl_name, sql"
    ).fetchall()
    # Tables without a root page are virtual: what they hold is in ordinary tables besides.
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 ORDER BY name"
    ).fetchall()
    return {
        "schema_sha256": hashlib.sha256(json.dumps(schema).encode()).hexdigest(),
        "tables": {name: _table(connection, name) for (name,) in tables},
    }


def _table(connection: sqlite3.Connection, name: str) -> _Answer:
    """Return the rows of a table and its greatest key; ``None`` for what SQLite cannot say here."""
    quoted = _quoted(name)
    try:
        rows = connection.execute(f"SELECT count(*) FROM {quoted}").fetchone()[0]  # noqa: S608 - quoted
        columns = connection.execute(
            "SELECT name, pk FROM pragma_table_xinfo(?)", (name,)
        ).fetchall()
        return {"rows": rows, "greatest": _greatest(connection, quoted, columns)}
    except (sqlite3.OperationalError, UnicodeEncodeError) as error:
        _require_tolerable(error)
        return {"rows": None, "greatest": None}


def _greatest(
    connection: sqlite3.Connection, quoted: str, columns: list[tuple[str, int]]
) -> int | str | None:
    """Return the greatest rowid, or a digest of the greatest key of a table without rowids."""
    taken = {name.casefold() for name, _ in columns}
    for alias in ("rowid", "oid", "_rowid_"):
        if alias not in taken:
            with suppress(sqlite3.OperationalError):  # a table without rowids
                found: int | None = connection.execute(
                    f"SELECT max({alias}) FROM {quoted}"  # noqa: S608 - quoted
                ).fetchone()[0]
                return found
            break
    key = [_quoted(name) for name, place in sorted(columns, key=lambda each: each[1]) if place]
    if not key:
        return None
    order = ", ".join(f"{name} DESC" for name in key)
    row = connection.execute(
        f"SELECT {', '.join(key)} FROM {quoted} ORDER BY {order} LIMIT 1"  # noqa: S608 - quoted
    ).fetchone()
    return None if row is None else hashlib.sha256(repr(row).encode(errors="replace")).hexdigest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _integrity(connection: sqlite3.Connection, pragma: str) -> list[str] | None:
    """Return what SQLite finds wrong; ``None`` when it lacks something of the application's."""
    try:
        rows = connection.execute(f"PRAGMA {pragma}({_MESSAGES})").fetchall()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
            return [str(error)]
        _require_tolerable(error)
        return None
    return [text for (text,) in rows if text != "ok"]


def _foreign_keys(connection: sqlite3.Connection) -> list[list[object]] | None:
    """Return how many rows of which table point nowhere; ``None`` when the schema forbids asking."""
    try:
        rows = connection.execute(
            'SELECT "table", parent, fkid, count(*) FROM pragma_foreign_key_check '
            "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ).fetchall()
    except sqlite3.OperationalError as error:
        _require_tolerable(error)
        return None
    return [list(row) for row in rows]


def _require_tolerable(error: Exception) -> None:
    """Let pass that a function, collation or module is not known here.

    Raises:
        Refused: It is anything else.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code & 0xFF != sqlite3.SQLITE_ERROR:
        refused = _refusal(error)
        raise refused from error


def _looked_over(spool: bytes) -> _Answer:
    """Examine a copy, now that nobody waits."""
    with closing(_connect(spool, "mode=ro&immutable=1", 0)) as copied, _refusing():
        return {
            "sqlite": sqlite3.sqlite_version,
            "facts": facts_of(copied),
            "content": fingerprint_of(copied),
            "quick_check": _integrity(copied, "quick_check"),
            "foreign_keys": _foreign_keys(copied),
            **_bytes_of(spool),
        }


def _bytes_of(path: bytes) -> _Answer:
    with open(os.open(path, _READ), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"sha256": digest, "bytes": os.fstat(file.fileno()).st_size}


def _copy_pages(source: sqlite3.Connection, spool: bytes) -> None:
    with closing(sqlite3.connect(spool, isolation_level=None)) as target:
        # What becomes of half a copy does not matter: no journal, no waiting for the disk.
        target.execute("PRAGMA journal_mode = OFF")
        target.execute("PRAGMA synchronous = OFF")
        source.backup(target, pages=_STEP_PAGES)


def _connect(path: bytes, options: str, busy_s: float) -> sqlite3.Connection:
    address = f"file:{quote(path)}?{options}"
    with _refusing():
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=busy_s)
    connection.text_factory = _text
    # The schema may be hostile: it calls nothing that is not harmless, and cells are looked at.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA mmap_size = 0")
    return connection


def _open_raw(request: _Answer) -> int:
    """Open the very file that the caller has seen, and never close it again.

    Raises:
        Refused: Something else is there, or it is no database.
    """
    name, folder = _bytes(request["name"]), int(request["folder"])
    try:
        try:
            raw = os.open(name, _READ | os.O_NOATIME, dir_fd=folder)
        except PermissionError:
            raw = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        raise Refused("unreadable", error.strerror or "it cannot be opened") from error
    status = os.fstat(raw)
    if (status.st_dev, status.st_ino) != (request["device"], request["inode"]):
        raise Refused("replaced", "another file took its place")
    if status.st_size and os.pread(raw, len(MAGIC), 0) != MAGIC:
        raise Refused("not-a-database", "it does not begin as a database does")
    return raw


def _require_opened(raw: int, request: _Answer) -> None:
    """Check that SQLite, which opens by name, opened the same file.

    Raises:
        Refused: It did not.
    """
    wanted = request["device"], request["inode"]
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the descriptor of the listing itself
            status = os.fstat(int(name))
            if int(name) != raw and (status.st_dev, status.st_ino) == wanted:
                return
    raise Refused("replaced", "another file took its place")


def _inode_flags(raw: int) -> int:
    answer = bytearray(8)
    with suppress(OSError):  # not every file system has them
        ioctl(raw, _GET_FLAGS, answer)
    return int(struct.unpack_from("=I", answer)[0])


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _refusal(error) from error


def _refusal(error: Exception) -> Refused:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code == sqlite3.SQLITE_READONLY_ROLLBACK:
        return Refused("hot-journal", str(error))
    name = getattr(error, "sqlite_errorname", "")
    return Refused(_REFUSALS.get(code & 0xFF, "failed"), f"{error} {name}".strip())


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _end_with_the_caller(spool: bytes) -> None:
    """Wait for the end of standard input, then end; the kernel drops every lock."""
    while os.read(0, 1):
        pass
    with suppress(OSError):
        os.unlink(spool)
    os._exit(1)


def _answer(words: list[str]) -> _Answer:
    if words[:1] == ["examine"]:
        return examine(os.fsencode(words[1]))
    request = json.loads(sys.stdin.buffer.readline())
    watch = threading.Thread(
        target=_end_with_the_caller, args=(_bytes(request["spool"]),), daemon=True
    )
    watch.start()
    return copy(request)


def main() -> None:
    """Do what the command line says and print the answer."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the caller decides, by closing standard input
    try:
        answer = _answer(sys.argv[1:])
    except Refused as error:
        answer = {"refused": error.code, "message": str(error)}
    except OSError as error:
        answer = {"refused": "failed", "message": error.strerror or type(error).__name__}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # without waiting for the thread that waits


if __name__ == "__main__":
    main()
