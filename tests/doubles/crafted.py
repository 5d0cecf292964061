"""Snapshots made by hand: everything sealed for real, with a valid key, and any content at all.

This is what a hostile writer can do who holds a host's key. There is no journal: readers are given
the commit.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from drkeeper.crypto.derive import Domain
from drkeeper.crypto.digests import digest, keyed
from drkeeper.crypto.sealing import Header, Kind, seal
from drkeeper.model.entry import Entry, Extra, FileType, sort_key
from drkeeper.repository import pieces, snapshot_root
from drkeeper.repository.commit import Counts
from drkeeper.repository.compression import Compressor
from drkeeper.repository.pieces import ChunkRow, Piece
from drkeeper.repository.places import Codec, KeyClass, ObjectKind, Place, object_name
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.reads import ChunkRef
from drkeeper.repository.snapshot_root import PieceAt, SnapshotRoot
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.folder import FolderStore

SESSION = bytes(range(16))
CHUNK = 1024 * 1024


@dataclass(frozen=True)
class OneKey:
    """Opens every session with the same keys."""

    data: bytes = bytes(32)
    meta: bytes = bytes([1]) * 32

    def key(self, session: bytes, key_class: KeyClass) -> bytes:
        """Return the key of a class."""
        assert len(session) == 16
        return self.data if key_class is KeyClass.DATA else self.meta


@dataclass(frozen=True)
class CraftedRepository:
    """A store, an id and keys: what reading needs."""

    store: ObjectStore
    id: bytes = b"R" * 16
    keys: OneKey = field(default_factory=OneKey)


@dataclass(frozen=True)
class CraftedCommit:
    """What reading needs of a commit."""

    root: Place
    digest: bytes = b"c" * 32
    complete: bool = True
    counts: Counts = field(default_factory=Counts)


def file(path: bytes, content: bytes = b"", **more) -> tuple[Entry, bytes]:
    """Return a file and its content; ``more`` overrides fields of the entry."""
    segments = more["extra"].segments if "extra" in more else None
    size = len(content) if segments is None else more.pop("size")
    return node(
        path, FileType.FILE, size=more.pop("size", size), digest=digest(content), **more
    ), content


def node(path: bytes, file_type: FileType = FileType.DIRECTORY, **more) -> Entry:
    """Return an entry with harmless metadata."""
    fields = {
        "mode": 0o755 if file_type == FileType.DIRECTORY else 0o644,
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "mtime_ns": 1_600_000_000_123_456_789,
        "ctime_ns": 1,
        "inode": 0,
        "device": 1,
        "links": 1,
        "size": 0,
    } | more
    return Entry(path=path, type=int(file_type), **fields)


def link(path: bytes, target: bytes, **more) -> Entry:
    """Return a symbolic link."""
    return node(path, FileType.SYMLINK, mode=0o777, extra=Extra(target=target), **more)


class _Joined:
    """Joins small contents to chunks, and cuts large ones."""

    def __init__(self, chunk_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self._chunks: list[bytes] = []
        self._small = b""

    def add(self, content: bytes) -> tuple[int, ...]:
        """Take the next content; return its extents."""
        if len(self._small) + len(content) > self._chunk_bytes:
            self.end()
        if len(content) <= self._chunk_bytes:
            at = len(self._small)
            self._small += content
            return (len(self._chunks), at, len(content)) if content else ()
        extents: list[int] = []
        for at in range(0, len(content), self._chunk_bytes):
            part = content[at : at + self._chunk_bytes]
            extents += (len(self._chunks), 0, len(part))
            self._chunks.append(part)
        return tuple(extents)

    def end(self) -> list[bytes]:
        """Close the chunk that is being filled; return all."""
        if self._small:
            self._chunks.append(self._small)
        self._small = b""
        return self._chunks


class Crafter:
    """Makes one repository and snapshots in it."""

    def __init__(self, folder: Path, *, chunk_bytes: int = CHUNK) -> None:
        folder.mkdir(exist_ok=True)
        self.repository = CraftedRepository(FolderStore(folder))
        self.domain = Domain(b"D" * 32)
        self.chunk_bytes = chunk_bytes
        self.compressor = Compressor()

    def pack(self, chunks: Sequence[bytes], *, compress: bool = True) -> list[ChunkRef]:
        """Store chunks as one pack."""
        name = os.urandom(16)
        plain = bytearray()
        refs = []
        for chunk in chunks:
            codec, stored = self.compressor.encode(chunk) if compress else (Codec.RAW, chunk)
            refs.append(
                ChunkRef(
                    SESSION,
                    name,
                    len(plain),
                    len(stored),
                    len(chunk),
                    int(codec),
                    keyed(self.domain.chunk_key, chunk),
                )
            )
            plain += stored
        self.put_pack(name, bytes(plain))
        return refs

    def put_pack(self, name: bytes, plain: bytes) -> None:
        """Seal and store the plaintext of a pack."""
        padded = plain + bytes(-(len(plain) + 16) % 65536 + 16)
        header = Header(Kind.PACK, self.repository.id, SESSION, name)
        self.repository.store.put(
            object_name(ObjectKind.PACKS, name), seal(self.repository.keys.data, header, padded)
        )

    def piece(self, items: Sequence[Entry | tuple[Entry, bytes]], **tables) -> Piece:
        """Pack the contents and return the piece that names them."""
        joined = _Joined(self.chunk_bytes)
        entries = [
            msgspec.structs.replace(item[0], extents=joined.add(item[1]))
            if isinstance(item, tuple)
            else item
            for item in items
        ]
        chunks = joined.end()
        return self.tables(entries, self.pack(chunks) if chunks else [], **tables)

    def tables(
        self, entries: Sequence[Entry], refs: Sequence[ChunkRef], *, users=None, groups=None
    ) -> Piece:
        """Return a piece of finished entries."""
        packs = list(dict.fromkeys((ref.session, ref.pack) for ref in refs))
        rows = [
            ChunkRow(
                packs.index((ref.session, ref.pack)),
                ref.offset,
                ref.stored,
                ref.plain,
                ref.codec,
                ref.id,
            )
            for ref in refs
        ]
        return Piece(users or {}, groups or {}, packs, rows, list(entries))

    def snapshot(
        self, *made: Piece | bytes, firsts: Sequence[bytes] = (), **root
    ) -> SnapshotReader:
        """Store pieces (or any bytes as pieces) and a root; return a reader of them."""
        parts: list[bytes] = [
            each if isinstance(each, bytes) else pieces.encode(each) for each in made
        ]
        meta = os.urandom(16)
        plain = b""
        places = []
        for part in parts:
            places.append(self.place(meta, len(plain), part))
            plain += part
        at = [
            PieceAt(
                firsts[number] if firsts else each.entries[0].path,
                1 if isinstance(each, bytes) else len(each.entries),
                place,
            )
            for number, (each, place) in enumerate(zip(made, places, strict=True))
        ]
        fields = {
            "policy": "crafted",
            "host": "h",
            "kind": "files",
            "drkeeper": "0",
            "paths": (),
            "tags": {},
            "domain": self.domain.secret,
            "consistent_at": "2026-11-20T13:30:00.000000Z",
            "finished_at": "2026-11-20T13:30:00.000000Z",
            "consistency": "none",
            "complete": True,
            "stats": {},
            "pieces": tuple(at),
            "findings": (),
        } | root
        encoded = snapshot_root.encode(SnapshotRoot(**fields))
        root_place = self.place(meta, len(plain), encoded)
        self.put_meta(meta, plain + encoded)
        commit = CraftedCommit(root_place, digest(encoded), complete=fields["complete"])
        return SnapshotReader(self.repository, commit)

    def place(self, meta: bytes, offset: int, part: bytes) -> Place:
        """Return the place of an uncompressed part."""
        mac = keyed(self.domain.piece_key, part)
        return Place(SESSION, meta, offset, len(part), len(part), Codec.RAW, mac)

    def put_meta(self, name: bytes, plain: bytes) -> None:
        """Seal and store the plaintext of a meta object."""
        header = Header(Kind.META, self.repository.id, SESSION, name)
        self.repository.store.put(
            object_name(ObjectKind.META, name),
            seal(self.repository.keys.meta, header, plain + bytes(-len(plain) % 4096)),
        )


def in_order(items: Sequence[Entry | tuple[Entry, bytes]]) -> list[Entry | tuple[Entry, bytes]]:
    """Sort as manifests are sorted."""
    return sorted(
        items, key=lambda item: sort_key((item[0] if isinstance(item, tuple) else item).path)
    )
