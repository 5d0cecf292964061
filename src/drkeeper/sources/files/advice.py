"""Signs that a directory belongs to a running database, which deserves a source of its own.

Source:
    docs/sources-files.md, "Databases"; the names are those of PostgreSQL's lock file, of InnoDB's
    table spaces and of SQLite's write-ahead log.
"""

_SIGNS = (
    (b"\0postmaster.pid\0", "PostgreSQL"),
    (b".ibd\0", "MySQL or MariaDB"),
    (b"-wal\0", "SQLite"),
)


def about(names: bytes) -> str | None:
    """Return one sentence of advice about a directory, or ``None``.

    Args:
        names: What is in it, joined by NUL bytes: three searches of one buffer cost less than
            three questions about every name.
    """
    framed = b"\0" + names + b"\0"
    for sign, engine in _SIGNS:
        if sign in framed:
            return f"It looks like data of {engine}; files copied while it runs may not restore."
    return None
