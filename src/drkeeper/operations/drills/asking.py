"""The program that puts one question to a restored database.

It runs alone in scratch, as ``python -I asking.py DATABASE``, with the standard library only. The query
is what stands on its standard input; the answer, in JSON, is on standard output: ``answer`` (text, or
null for no row or NULL), or ``refused`` (why not). Nothing is ever written: the database is opened
as one that nobody changes, and only statements that read are let through.
"""

import json
import sqlite3
import sys
from contextlib import closing
from typing import Any, Final
from urllib.parse import quote

_LONGEST: Final = 4096  # characters of an answer
_READS: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    }
)
_PRAGMAS: Final = frozenset(
    (
        *("application_id", "encoding", "foreign_key_check", "foreign_key_list", "freelist_count"),
        *("index_list", "integrity_check", "page_count", "page_size", "quick_check"),
        *("schema_version", "table_info", "table_list", "user_version"),
    )
)
"""Those that only tell. Source: https://www.sqlite.org/pragma.html."""


def ask(path: str, query: str) -> dict[str, Any]:
    """Return the first column of the first row, as text."""
    try:
        uri = f"file:{quote(path)}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
            database.text_factory = bytes
            database.set_authorizer(_only_reading)
            row = database.execute(query).fetchone()
    except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
        return {"refused": str(error)[:_LONGEST]}
    value = row[0] if row else None
    return {"answer": None if value is None else _text(value)[:_LONGEST]}


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return repr(value) if isinstance(value, float) else str(value)


def _only_reading(action: int, name: str | None, *_: object) -> int:
    told = action == sqlite3.SQLITE_PRAGMA and name in _PRAGMAS
    return sqlite3.SQLITE_OK if told or action in _READS else sqlite3.SQLITE_DENY


if __name__ == "__main__":
    json.dump(ask(sys.argv[1], sys.stdin.buffer.read().decode()), sys.stdout)
