"""SQLite databases, copied as they were at one instant: the ``sqlite`` source (docs/sources-sqlite.md).

The copying is done by a process of its own (``child.py``) through SQLite's backup API, into a
private file, which is then stored under the database's name, mode and times. Beside each database
the snapshot has two empty files, so that nothing old that lies there is applied to what is restored,
and one with the fingerprint that was taken under the same lock.
"""

from drkeeper.sources.sqlite.recovery import SqliteRecovery
from drkeeper.sources.sqlite.source import SqliteSource, SqliteView
from drkeeper.sources.sqlite.spec import SqliteSpec

__all__ = ["SqliteRecovery", "SqliteSource", "SqliteSpec", "SqliteView"]
