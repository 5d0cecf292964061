"""Pieces of manifests: a run of entries with the tables they refer to (docs/format.md, 6).

``decode`` believes nothing: whatever it returns keeps every rule of the format, so that readers
need no second look. ``decode_own`` is for pieces whose digest under this host's own piece key has
been verified a moment ago, and only checks types; the writer uses it on the hot path.
"""

import re
from itertools import pairwise
from operator import lt
from zlib import crc32

import msgspec

from drkeeper.errors import IntegrityError
from drkeeper.model.entry import Entry, EntryFlag, FileType, sort_key

MAX_CHUNK_BYTES = 4 * 1024 * 1024
"""Longest plain chunk. Source: docs/format.md, 5."""

MAX_PACK_BYTES = 64 * 1024 * 1024
"""Longest plaintext of a pack. Source: docs/format.md, 5."""

MAX_ENTRY_EXTENTS = 4096
"""Most extents in one entry. Source: docs/format.md, 6."""

CUT_MIN_ENTRIES = 256
CUT_MAX_ENTRIES = 4096
CUT_MAX_CHUNKS = 8192
"""Where drkeeper ends a piece; any other rule gives valid manifests. Source: docs/format.md, 6.1."""

_CUT_MASK = 1024 - 1
_U32 = 2**32 - 1
_U63 = 2**63 - 1
_U64 = 2**64 - 1
_FORBIDDEN = re.compile(rb"(?:\A|[\0/])\.{0,2}(?:[\0/]|\Z)")
"""An empty, ``.`` or ``..`` component, in paths joined by NUL."""


class ChunkRow(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """Where one chunk is stored.

    Attributes:
        pack: Number of the pack in the piece's table.
        offset: Of the stored chunk in the pack's plaintext.
        stored: Stored length.
        plain: Length of the chunk, decoded.
        codec: 0 as it is, 1 one zstd frame.
        id: BLAKE3 of the chunk under the chunk key.
    """

    pack: int
    offset: int
    stored: int
    plain: int
    codec: int
    id: bytes


class Piece(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """A run of entries in path order, complete in itself.

    Attributes:
        users: Number to name, for the owners that have one, ascending.
        groups: The same for groups.
        packs: ``(session, id)`` of the packs that hold the chunks, in order of first use.
        chunks: In order of first use; entries name them by position.
        entries: In the order of ``model.entry.sort_key``.
    """

    users: dict[int, str]
    groups: dict[int, str]
    packs: list[tuple[bytes, bytes]]
    chunks: list[ChunkRow]
    entries: list[Entry]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Piece)


def weight(entry: Entry) -> int:
    """Return how many chunks an entry counts for when pieces are cut.

    By its metadata alone, so that a file counts alike whether it was read or kept. Long paths and
    much metadata count, too: a piece must stay far below the longest part there may be.
    """
    bulk = len(entry.path)
    extra = entry.extra
    if extra.target or extra.xattrs or extra.segments:
        bulk += len(extra.target) + sum(len(name) + len(value) for name, value in extra.xattrs)
        bulk += 16 * len(extra.segments or ())
    return 1 + (entry.size >> 20) + (bulk >> 12)


def ends_piece(path: bytes, entries: int, chunks: int) -> bool:
    """Whether a piece ends after the entry ``path``, which is its ``entries``-th.

    Only paths decide between the limits, so an unchanged part of a tree is cut alike every time.

    Args:
        path: Of the last entry.
        entries: How many there are.
        chunks: Sum of their weights.
    """
    if entries >= CUT_MAX_ENTRIES or chunks >= CUT_MAX_CHUNKS:
        return True
    return entries >= CUT_MIN_ENTRIES and not crc32(path) & _CUT_MASK


def encode(piece: Piece) -> bytes:
    """Return the bytes of a piece; equal pieces give equal bytes."""
    return _encoder.encode(piece)


def decode_own(data: bytes | memoryview) -> Piece:
    """Decode a piece that this host wrote and whose digest has been verified.

    Raises:
        IntegrityError: It is no piece at all.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise IntegrityError(f"piece of a manifest is malformed: {error}") from None


def decode(data: bytes | memoryview) -> Piece:
    """Decode a piece from anywhere and check every rule of docs/format.md, 6.

    Raises:
        IntegrityError: A rule is broken; the caller adds which object it was.
    """
    piece = decode_own(data)
    _check_tables(piece)
    _check_order(piece.entries)
    plain = [chunk.plain for chunk in piece.chunks]
    # The first entry may carry on a file of the piece before, so it need not be complete.
    partial = True
    for entry in piece.entries:
        _check_numbers(entry)
        continued = bool(entry.extra.flags & EntryFlag.CONTINUED)
        _check_content(entry, plain, partial=partial or continued)
        partial = continued
    return piece


def _require(condition: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise IntegrityError(f"piece of a manifest is malformed: {what}")


def _check_tables(piece: Piece) -> None:
    for owners in (piece.users, piece.groups):
        numbers = list(owners)
        _require(numbers == sorted(numbers), "owners out of order")
        _require(all(0 <= number <= _U32 for number in numbers), "owner number out of range")
    _require(
        all(len(session) == 16 and len(pack) == 16 for session, pack in piece.packs),  # noqa: PLR2004 - ids, docs/format.md
        "pack id of wrong length",
    )
    _require(len(set(piece.packs)) == len(piece.packs), "pack named twice")
    packs = len(piece.packs)
    for chunk in piece.chunks:
        _require(0 <= chunk.pack < packs, "chunk in a pack that is not in the table")
        _require(1 <= chunk.plain <= MAX_CHUNK_BYTES, "chunk length out of range")
        _require(
            chunk.offset >= 0
            and 1 <= chunk.stored <= MAX_PACK_BYTES
            and chunk.offset + chunk.stored <= MAX_PACK_BYTES,
            "chunk outside its pack",
        )
        _require(chunk.codec in {0, 1}, "unknown codec")
        _require(chunk.codec == 1 or chunk.stored == chunk.plain, "raw chunk of another length")
        _require(len(chunk.id) == 32, "chunk id of wrong length")  # noqa: PLR2004 - BLAKE3


def _check_order(entries: list[Entry]) -> None:
    _require(bool(entries), "no entries")
    paths = [entry.path for entry in entries]
    joined = b"\0".join(paths)
    _require(joined.count(b"\0") == len(paths) - 1, "NUL in a path")
    _require(_FORBIDDEN.search(joined) is None, "empty, '.' or '..' component in a path")
    keys = [sort_key(path) for path in paths]
    if all(map(lt, keys, keys[1:])):
        return
    for first, second in pairwise(entries):
        if second.path == first.path:
            _require(bool(first.extra.flags & EntryFlag.CONTINUED), "path occurs twice")
        else:
            _require(sort_key(first.path) < sort_key(second.path), "entries out of order")


def _check_numbers(entry: Entry) -> None:
    file_type = entry.type
    _require(0 <= file_type <= FileType.BLOCK, "unknown file type")
    _require(0 <= entry.mode <= 0o7777, "mode out of range")  # noqa: PLR2004 - docs/format.md
    _require(0 <= entry.uid <= _U32 and 0 <= entry.gid <= _U32, "owner out of range")
    _require(
        -_U63 <= entry.mtime_ns <= _U63 and -_U63 <= entry.ctime_ns <= _U63, "time out of range"
    )
    _require(
        0 <= entry.inode <= _U64 and 0 <= entry.device <= _U64 and 0 <= entry.links <= _U63,
        "inode, device or links out of range",
    )
    _require(0 <= entry.size <= (0 if file_type else _U63), "size out of range")
    extra = entry.extra
    if file_type == FileType.SYMLINK:
        _require(bool(extra.target) and b"\0" not in extra.target, "link target malformed")
    else:
        _require(not extra.target, "link target without a link")
    if extra.xattrs:
        names = [name for name, _ in extra.xattrs]
        _require(len(set(names)) == len(names), "extended attribute twice")
        _require(all(name and b"\0" not in name for name in names), "extended attribute malformed")
    _require(
        0 <= extra.major <= _U32 and 0 <= extra.minor <= _U32 and 0 <= extra.flags <= _U32,
        "device number or flags out of range",
    )
    _require(0 <= extra.fsflags <= _U32 and 0 <= extra.project <= _U32, "flags out of range")


def _check_content(entry: Entry, plain: list[int], *, partial: bool) -> None:
    extents = entry.extents
    digest = entry.digest
    if entry.type != FileType.FILE:
        _require(not extents and not digest and entry.extra.segments is None, "content of no file")
        return
    _require(len(digest) in {0, 32}, "digest of wrong length")
    _require(
        len(extents) % 3 == 0 and len(extents) <= 3 * MAX_ENTRY_EXTENTS, "number of extents wrong"
    )
    total = 0
    chunks = len(plain)
    for at in range(0, len(extents), 3):
        chunk, offset, length = extents[at : at + 3]
        _require(0 <= chunk < chunks, "extent of a chunk that is not in the table")
        _require(offset >= 0 and 1 <= length <= plain[chunk] - offset, "extent outside its chunk")
        total += length
    data_bytes = _data_bytes(entry)
    if not digest:
        _require(not extents, "content without a digest")
    elif partial:
        _require(total <= data_bytes, "more content than the size")
    else:
        _require(total == data_bytes, "extents do not add up to the size")


def _data_bytes(entry: Entry) -> int:
    """Return how many bytes of content a file has, holes left out."""
    segments = entry.extra.segments
    if segments is None:
        return entry.size
    end = 0
    total = 0
    for offset, length in segments:
        _require(offset >= end and length >= 1, "data segments out of order")
        end = offset + length
        total += length
    _require(end <= entry.size, "data segment beyond the end")
    return total
