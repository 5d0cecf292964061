"""What a host remembers of its own snapshots, so that it need not download it.

Chunks with their locations, and the encoded parts of the newest manifests. The file is disposable:
nothing in it is believed without proof (each row carries a keyed check, each part its digest), and
whatever is damaged or missing is read from the repository again. Chunks enter only after the commit
that needs them was acknowledged, and count only while a live commit needs their pack: a pack that a
live commit needs is never condemned (docs/format.md, 3), whatever this file has missed meanwhile.
"""

import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from drkeeper import directories
from drkeeper.crypto.digests import keyed
from drkeeper.faults import point

_SCHEMA_VERSION: Final = "1"
_CHECK_BYTES: Final = 8
"""Enough that damage shows itself; who can forge rows holds the domain secret."""

_BUSY_S: Final = 30.0
_NUMBERS: Final = struct.Struct(">QQQB")

_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE commits (n INTEGER PRIMARY KEY, digest BLOB NOT NULL);
CREATE TABLE packs (no INTEGER PRIMARY KEY, session BLOB NOT NULL, id BLOB NOT NULL UNIQUE);
CREATE TABLE needed (lineage BLOB NOT NULL, pack INTEGER NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (lineage, pack)) WITHOUT ROWID;
CREATE TABLE chunks (id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL,
    stored INTEGER NOT NULL, plain INTEGER NOT NULL, codec INTEGER NOT NULL,
    proof BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE parts (lineage BLOB NOT NULL, digest BLOB NOT NULL, codec INTEGER NOT NULL,
    plain INTEGER NOT NULL, body BLOB NOT NULL, prefixes BLOB NOT NULL,
    PRIMARY KEY (lineage, digest));
"""


@dataclass(frozen=True, slots=True)
class ChunkAt:
    """Where a chunk is.

    Attributes:
        id: BLAKE3 of the chunk under the chunk key.
        session: Session of the pack.
        pack: Id of the pack.
        offset: Of the stored chunk in the pack's plaintext.
        stored: Stored length.
        plain: Length of the chunk.
        codec: How it is stored.
    """

    id: bytes
    session: bytes
    pack: bytes
    offset: int
    stored: int
    plain: int
    codec: int


@dataclass(frozen=True, slots=True)
class CachedPart:
    """An encoded part of a manifest.

    Attributes:
        digest: Under the piece key.
        codec: How ``body`` is encoded.
        plain: Length when decoded.
        body: As it is stored in the repository.
        prefixes: First 8 bytes of the content digest of each entry, in order; zeros for none.
    """

    digest: bytes
    codec: int
    plain: int
    body: bytes
    prefixes: bytes


@dataclass(frozen=True, slots=True)
class CacheOwner:
    """Whose cache a file is; another owner's file is replaced.

    Attributes:
        repository: Id of the repository.
        host: Id of the host.
        chunk_key: Names chunks, and proves rows.
    """

    repository: bytes
    host: bytes
    chunk_key: bytes

    @property
    def text(self) -> str:
        """What stands in the file."""
        proof = keyed(self.chunk_key, b"drkeeper cache owner")
        return f"{self.repository.hex()} {self.host.hex()} {proof.hex()}"


class Cache:
    """The cache of one host for one repository; for any number of threads.

    A damaged file never raises: it is removed, and what was in it counts as unknown.
    """

    def __init__(self, path: str, owner: CacheOwner) -> None:
        """Open the file at ``path``, or begin a new one."""
        self._path = path
        self._owner = owner
        self._lock = Lock()
        self._packs: dict[int, tuple[bytes, bytes]] = {}
        self._usable = True
        self._connection = self._begun()

    @property
    def usable(self) -> bool:
        """Whether the file can be used; otherwise nothing outlives this process."""
        return self._usable

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _begun(self) -> sqlite3.Connection:
        try:
            directories.make_private(os.path.dirname(self._path))
            point("repository.cache.open")
            if (connection := _opened(self._path, self._owner)) is not None:
                return connection
            self._remove()
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            return _new(self._path, self._owner)
        except (OSError, sqlite3.Error):
            self._usable = False
            return _new(":memory:", self._owner)

    def begin(self, live: Mapping[int, bytes]) -> None:
        """Forget what no live commit needs, before anything is looked up.

        Args:
            live: Number and digest of this host's live commits, as of a time after the session
                that wants to use the answers was opened.
        """
        with self._changing() as connection:
            rows = connection.execute("SELECT n, digest FROM commits").fetchall()
            gone = [(n,) for n, digest in rows if live.get(n) != digest]
            if gone:
                connection.executemany("DELETE FROM commits WHERE n = ?", gone)
                connection.execute("DELETE FROM needed WHERE n NOT IN (SELECT n FROM commits)")
                connection.execute("DELETE FROM packs WHERE no NOT IN (SELECT pack FROM needed)")
                connection.execute("DELETE FROM chunks WHERE pack NOT IN (SELECT no FROM packs)")
            self._packs = {
                no: (session, pack)
                for no, session, pack in connection.execute("SELECT no, session, id FROM packs")
            }

    def unknown_commits(self, live: Iterable[int]) -> list[int]:
        """Return those of ``live`` whose chunks are not in the cache, ascending."""
        known = {n for (n,) in self._rows("SELECT n FROM commits")}
        return sorted(set(live) - known)

    def drop_packs(self, packs: Iterable[bytes]) -> None:
        """Forget the chunks of these packs: they are condemned."""
        rows = [(pack,) for pack in packs]
        if not rows:
            return
        with self._changing() as connection:
            connection.executemany(
                "DELETE FROM chunks WHERE pack = (SELECT no FROM packs WHERE id = ?)", rows
            )
            connection.executemany(
                "DELETE FROM needed WHERE pack = (SELECT no FROM packs WHERE id = ?)", rows
            )
            connection.executemany("DELETE FROM packs WHERE id = ?", rows)
            gone = {pack for (pack,) in rows}
            self._packs = {no: at for no, at in self._packs.items() if at[1] not in gone}

    def find(self, chunk_id: bytes) -> ChunkAt | None:
        """Return where a chunk is that some live commit needs, ``None`` when unknown."""
        rows = self._rows(
            "SELECT pack, offset, stored, plain, codec, proof FROM chunks WHERE id = ?",
            (chunk_id,),
        )
        if not rows:
            return None
        number, offset, stored, plain, codec, proof = rows[0]
        place = self._packs.get(number)
        if place is None:
            return None
        at = ChunkAt(chunk_id, *place, offset, stored, plain, codec)
        try:
            return at if self._proof(at) == proof else None
        except (struct.error, TypeError):
            return None

    def learn(
        self,
        commit: tuple[int, bytes],
        lineage: bytes,
        packs: Iterable[tuple[bytes, bytes]],
        chunks: Iterable[ChunkAt],
    ) -> None:
        """Remember an acknowledged commit.

        Args:
            commit: Its number and digest.
            lineage: Its lineage.
            packs: (session, id) of every pack it needs.
            chunks: Chunks to remember; those in other packs are not.
        """
        point("repository.cache.learn")
        with self._changing() as connection:
            known = {pack: no for no, (_, pack) in self._packs.items()}
            for session, pack in packs:
                if pack not in known:
                    connection.execute(
                        "INSERT OR IGNORE INTO packs (session, id) VALUES (?, ?)", (session, pack)
                    )
                    (known[pack],) = connection.execute(
                        "SELECT no FROM packs WHERE id = ?", (pack,)
                    ).fetchone()
                    self._packs[known[pack]] = (session, pack)
                connection.execute(
                    "INSERT OR REPLACE INTO needed VALUES (?, ?, ?)",
                    (lineage, known[pack], commit[0]),
                )
            connection.executemany(
                "INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (at.id, known[at.pack], at.offset, at.stored, at.plain, at.codec, proof)
                    for at in chunks
                    # What was read and then discarded may lie in packs that nothing needs.
                    if at.pack in known and (proof := self._proof(at))
                ),
            )
            connection.execute("INSERT OR REPLACE INTO commits VALUES (?, ?)", commit)
        point("repository.cache.learned")

    def part(self, lineage: bytes, digest: bytes) -> CachedPart | None:
        """Return a part; the caller proves it by its digest."""
        rows = self._rows(
            "SELECT codec, plain, body, prefixes FROM parts WHERE lineage = ? AND digest = ?",
            (lineage, digest),
        )
        return CachedPart(digest, *rows[0]) if rows else None

    def prefixes(self, lineage: bytes, digests: Sequence[bytes]) -> list[bytes | None]:
        """Return the prefixes of these parts, ``None`` for one that is not here."""
        found: list[bytes | None] = []
        for digest in digests:
            rows = self._rows(
                "SELECT prefixes FROM parts WHERE lineage = ? AND digest = ?", (lineage, digest)
            )
            found.append(rows[0][0] if rows else None)
        return found

    def keep_parts(self, lineage: bytes, parts: Iterable[CachedPart]) -> None:
        """Remember parts; harmless before any commit, since parts are found by digest alone."""
        point("repository.cache.keep_parts")
        with self._changing() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (lineage, part.digest, part.codec, part.plain, part.body, part.prefixes)
                    for part in parts
                ),
            )

    def forget_other_parts(self, lineage: bytes, kept: Iterable[bytes]) -> None:
        """Forget the parts of a lineage that its newest snapshot does not have."""
        wanted = set(kept)
        with self._changing() as connection:
            rows = connection.execute("SELECT digest FROM parts WHERE lineage = ?", (lineage,))
            gone = [(lineage, digest) for (digest,) in rows.fetchall() if digest not in wanted]
            if gone:
                connection.executemany("DELETE FROM parts WHERE lineage = ? AND digest = ?", gone)

    def _proof(self, at: ChunkAt) -> bytes:
        numbers = _NUMBERS.pack(at.offset, at.stored, at.plain, at.codec)
        return keyed(self._owner.chunk_key, at.id + at.session + at.pack + numbers)[:_CHECK_BYTES]

    def _rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                self._failed(error)
                return []

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Hold a transaction; a damaged or full file loses the cache, never the backup."""
        with self._lock:
            connection = self._connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                point("repository.cache.commit")
                connection.execute("COMMIT")
                point("repository.cache.committed")
            except sqlite3.Error as error:
                self._failed(error)
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _failed(self, error: sqlite3.Error) -> None:
        """Go on without the file; another process that holds it is no damage."""
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in {
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
        }:
            return
        self._connection.close()
        self._remove()
        self._packs = {}
        self._usable = False
        self._connection = _new(":memory:", self._owner)

    def _remove(self) -> None:
        for suffix in ("", "-journal"):
            with suppress(OSError):
                os.unlink(self._path + suffix)


def _opened(path: str, owner: CacheOwner) -> sqlite3.Connection | None:
    """Open a cache that is there; ``None`` when it is not, or is damaged or another's."""
    if not os.path.exists(path):
        return None
    try:
        connection = _connected(path)
    except sqlite3.Error:
        return None
    try:
        facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
        if facts == _facts(owner):
            return connection
    except sqlite3.Error:
        pass
    connection.close()
    return None


def _new(path: str, owner: CacheOwner) -> sqlite3.Connection:
    connection = _connected(path)
    with _closed_by_errors(connection):
        connection.executescript(f"BEGIN;{_SCHEMA}")
        connection.executemany("INSERT INTO facts VALUES (?, ?)", _facts(owner).items())
        connection.execute("COMMIT")
    return connection


def _connected(path: str) -> sqlite3.Connection:
    # One connection for all threads, behind a lock. Nothing is synced: what a power cut damages
    # is found out by the proofs, or is no database any more.
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    with _closed_by_errors(connection):
        connection.execute("PRAGMA synchronous = OFF")  # reads the file, which may be none
        connection.execute("PRAGMA trusted_schema = OFF")
    return connection


@contextmanager
def _closed_by_errors(connection: sqlite3.Connection) -> Iterator[None]:
    """Close a connection whose preparation fails: nobody gets to see it."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _facts(owner: CacheOwner) -> dict[str, str]:
    return {"version": _SCHEMA_VERSION, "owner": owner.text}
