"""Look into snapshots: list, compare, and read a file, fetching only what that takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from drkeeper.errors import IntegrityError, TargetError
from drkeeper.model.entry import Entry, FileType, sort_key
from drkeeper.repository.commit import Commit
from drkeeper.repository.pieces import Piece
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.reads import ChunkRef
from drkeeper.repository.repository import Repository

_WORKERS = 4
_PARTS_AHEAD = 4
"""Chunks fetched together: at most 16 MiB of memory."""
_ZEROS = bytes(64 * 1024)


@dataclass(frozen=True, slots=True)
class Named:
    """An entry with the names of its owners.

    Attributes:
        entry: What is known about the path.
        user: Name of the owner, or its number.
        group: Name of the group, or its number.
    """

    entry: Entry
    user: str
    group: str


def entries(
    repository: Repository, commit: Commit, paths: tuple[bytes, ...] = ()
) -> Iterator[Named]:
    """Yield the entries at and below ``paths`` (all without paths), each path once, in order.

    Raises:
        IntegrityError: A piece is missing or damaged.
        KeyNotFoundError: No key at hand opens metadata.
    """
    reader = SnapshotReader(repository, commit)
    for piece, entry in _found(reader, paths):
        yield Named(entry, _name(piece.users, entry.uid), _name(piece.groups, entry.gid))


def _name(names: dict[int, str], number: int) -> str:
    return names.get(number) or str(number)


def _found(reader: SnapshotReader, paths: tuple[bytes, ...]) -> Iterator[tuple[Piece, Entry]]:
    below = tuple(path + b"/" for path in paths)
    previous = b""  # of a run of entries with one path, the first carries what counts
    for number in reader.pieces_holding(paths):
        piece = reader.piece(number)
        for entry in piece.entries:
            path = entry.path
            if not paths or path in paths or path.startswith(below):
                if path != previous:
                    yield piece, entry
                previous = path


class Change(StrEnum):
    """What became of a path from one snapshot to another."""

    ADDED = "+"
    REMOVED = "-"
    CONTENT = "M"
    METADATA = "u"
    TYPE = "T"


def differences(
    old: Iterator[Named], new: Iterator[Named]
) -> Iterator[tuple[Change, Named, Named]]:
    """Yield what differs, in path order; for an added or removed path both values are the one."""
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _key(left) < _key(right)):
            assert left is not None, "one of them is there"  # noqa: S101 - for the types
            yield Change.REMOVED, left, left
            left = next(old, None)
        elif left is None or _key(right) < _key(left):
            yield Change.ADDED, right, right
            right = next(new, None)
        else:
            change = _change(left.entry, right.entry)
            if change is not None:
                yield change, left, right
            left, right = next(old, None), next(new, None)


def _key(named: Named) -> bytes:
    return sort_key(named.entry.path)


def _change(old: Entry, new: Entry) -> Change | None:
    if old.type != new.type:
        return Change.TYPE
    if _content(old) != _content(new):
        return Change.CONTENT
    same = (
        (old.mode, old.uid, old.gid) == (new.mode, new.uid, new.gid)
        and old.extra.xattrs == new.extra.xattrs
        and (old.extra.fsflags, old.extra.project) == (new.extra.fsflags, new.extra.project)
        # A directory's time changes with what is in it, which is told anyway.
        and (old.mtime_ns == new.mtime_ns or old.type == FileType.DIRECTORY)
    )
    return None if same else Change.METADATA


def _content(entry: Entry) -> tuple[object, ...]:
    """Return what is equal when a path leads to the same: bytes, target, or device."""
    extra = entry.extra
    return entry.size, entry.digest, extra.target, extra.major, extra.minor


def write_content(
    repository: Repository, commit: Commit, path: bytes, write: Callable[[bytes], object]
) -> Entry:
    """Write the content of one file, in order, holes as zeros; return its entry.

    Raises:
        TargetError: The snapshot has no such path, or it is no regular file.
        IntegrityError: The content is missing or damaged.
        KeyNotFoundError: No key at hand opens data.
    """
    reader = SnapshotReader(repository, commit)
    parts = [
        (piece, entry)
        for number in reader.pieces_holding((path,))
        for piece in [reader.piece(number)]
        for entry in piece.entries
        if entry.path == path
    ]
    if not parts:
        raise TargetError(
            f"the snapshot has no /{path.decode(errors='replace')}",
            hint="List it with drkeeper ls.",
        )
    first = parts[0][1]
    if first.type != FileType.FILE:
        raise TargetError(
            f"/{path.decode(errors='replace')} is not a regular file", hint="Restore it instead."
        )
    stream = _joined(reader, parts)
    _write_segments(stream, first, write)
    return first


def _joined(reader: SnapshotReader, parts: list[tuple[Piece, Entry]]) -> Iterator[bytes]:
    with reader.fetcher(_WORKERS) as fetcher:
        for piece, entry in parts:
            extents = entry.extents
            for at in range(0, len(extents), 3 * _PARTS_AHEAD):
                group = extents[at : at + 3 * _PARTS_AHEAD]
                refs = {number: _ref(piece, number) for number in group[::3]}
                batch = fetcher.begin(refs.values())
                try:
                    for index in range(0, len(group), 3):
                        number, start, count = group[index : index + 3]
                        yield bytes(batch.get(refs[number])[start : start + count])
                finally:
                    batch.release()


def _ref(piece: Piece, number: int) -> ChunkRef:
    row = piece.chunks[number]
    session, pack = piece.packs[row.pack]
    return ChunkRef(session, pack, row.offset, row.stored, row.plain, row.codec, row.id)


def _write_segments(
    stream: Iterator[bytes], entry: Entry, write: Callable[[bytes], object]
) -> None:
    segments = entry.extra.segments
    if segments is None:
        written = 0
        for data in stream:
            write(data)
            written += len(data)
        _require(written == entry.size, entry)
        return
    position, held = 0, b""
    for offset, length in segments:
        _write_zeros(offset - position, write)
        left = length
        while left:
            held = held or next(stream, b"")
            _require(bool(held), entry)
            write(held[:left])
            left, held = left - len(held[:left]), held[left:]
        position = offset + length
    _write_zeros(entry.size - position, write)


def _require(condition: bool, entry: Entry) -> None:  # noqa: FBT001 - one condition
    if not condition:
        raise IntegrityError(
            f"the content of /{entry.path.decode(errors='replace')} is not as long as it should be",
            hint="Run drkeeper check.",
        )


def _write_zeros(count: int, write: Callable[[bytes], object]) -> None:
    while count > 0:
        write(_ZEROS[:count])
        count -= len(_ZEROS)
