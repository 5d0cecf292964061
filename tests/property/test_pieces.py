"""Laws of pieces: what is encoded comes back, and whatever breaks a rule is refused."""

import os

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from drkeeper.errors import IntegrityError
from drkeeper.model.entry import Entry, EntryFlag, Extra, FileType, sort_key
from drkeeper.repository.pieces import (
    CUT_MAX_CHUNKS,
    CUT_MAX_ENTRIES,
    CUT_MIN_ENTRIES,
    ChunkRow,
    Piece,
    decode,
    decode_own,
    encode,
    ends_piece,
)

NAME = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b".."}
)
PATH = st.lists(NAME, min_size=1, max_size=4).map(b"/".join)
U32 = st.integers(0, 2**32 - 1)
TIME = st.integers(-(2**63) + 1, 2**63 - 1)


@st.composite
def valid_pieces(draw: st.DrawFn) -> Piece:
    packs = [(os.urandom(16), os.urandom(16)) for _ in range(draw(st.integers(1, 3)))]
    chunks = []
    for _ in range(draw(st.integers(1, 5))):
        plain = draw(st.integers(1, 4 * 1024 * 1024))
        codec = draw(st.sampled_from([0, 1]))
        stored = draw(st.integers(1, plain)) if codec else plain
        number = draw(st.integers(0, len(packs) - 1))
        chunks.append(
            ChunkRow(number, draw(st.integers(0, 2**20)), stored, plain, codec, os.urandom(32))
        )
    entries = []
    for path in sorted(draw(st.sets(PATH, min_size=1, max_size=8)), key=sort_key):
        kind = draw(st.sampled_from([FileType.FILE, FileType.DIRECTORY, FileType.SYMLINK]))
        extents: list[int] = []
        size = 0
        if kind == FileType.FILE:
            for _ in range(draw(st.integers(0, 3))):
                number = draw(st.integers(0, len(chunks) - 1))
                offset = draw(st.integers(0, chunks[number].plain - 1))
                length = draw(st.integers(1, chunks[number].plain - offset))
                extents += (number, offset, length)
                size += length
        entries.append(
            Entry(
                path,
                int(kind),
                draw(st.integers(0, 0o7777)),
                draw(U32),
                draw(U32),
                draw(TIME),
                draw(TIME),
                draw(st.integers(0, 2**64 - 1)),
                draw(st.integers(0, 2**64 - 1)),
                draw(st.integers(0, 1000)),
                size,
                os.urandom(32) if kind == FileType.FILE else b"",
                tuple(extents),
                Extra(target=b"there") if kind == FileType.SYMLINK else Extra(),
            )
        )
    users = dict.fromkeys(sorted({entry.uid for entry in entries}), "name")
    return Piece(users, {}, packs, chunks, entries)


@given(valid_pieces())
@settings(max_examples=60, deadline=None)
def test_a_piece_comes_back_as_it_was(piece):
    """Encoding and decoding is the identity, and equal pieces give equal bytes."""
    data = encode(piece)
    assert decode(data) == piece
    assert decode_own(data) == piece
    assert encode(decode(data)) == data


@given(valid_pieces(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_piece_is_refused_or_still_keeps_every_rule(piece, data):
    """Any byte may be another: the answer is a piece that keeps the rules, or an IntegrityError."""
    raw = bytearray(encode(piece))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(raw))
    except IntegrityError:
        return
    assert decode(encode(found)) == found


@given(st.binary(max_size=200))
def test_garbage_is_refused(data):
    """Bytes that are no piece raise IntegrityError and nothing else."""
    with pytest.raises(IntegrityError):
        decode(data)


def one(**changes: object) -> Piece:
    """A piece of one file with the given fields changed."""
    facts = {
        "path": b"home/x",
        "type": 0,
        "mode": 0o644,
        "uid": 0,
        "gid": 0,
        "mtime_ns": 0,
        "ctime_ns": 0,
        "inode": 1,
        "device": 1,
        "links": 1,
        "size": 5,
        "digest": bytes(32),
        "extents": (0, 0, 5),
    } | changes
    return Piece(
        {}, {}, [(bytes(16), bytes(16))], [ChunkRow(0, 0, 9, 9, 0, bytes(32))], [Entry(**facts)]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"path": b""},
        {"path": b"/x"},
        {"path": b"x/"},
        {"path": b"a//b"},
        {"path": b"a/../b"},
        {"path": b".."},
        {"path": b"./x"},
        {"path": b"a\0b"},
        {"type": 7},
        {"type": -1},
        {"mode": 0o10000},
        {"uid": -1},
        {"uid": 2**32},
        {"size": -1},
        {"size": 4},
        {"size": 6},
        {"digest": b"short"},
        {"digest": b""},
        {"extents": (0, 0)},
        {"extents": (1, 0, 5)},
        {"extents": (-1, 0, 5)},
        {"extents": (0, 5, 5)},
        {"extents": (0, -1, 5)},
        {"extents": (0, 0, 0)},
        {"type": 1},
        {"type": 2, "size": 0, "digest": b"", "extents": ()},
        {"extra": Extra(target=b"t")},
        {"extra": Extra(xattrs=((b"a", b""), (b"a", b"")))},
        {"extra": Extra(xattrs=((b"", b""),))},
        {"extra": Extra(segments=((4, 5),)), "size": 8},
        {"extra": Extra(segments=((2, 3), (1, 2))), "size": 8},
        {"extra": Extra(major=-1)},
        {"mtime_ns": 2**63},
        {"links": -1},
    ],
    ids=str,
)
def test_each_rule_is_checked(changes):
    """Breaking any single rule of docs/format.md, section 6, is an integrity violation."""
    decode(encode(one()))
    piece = one(**changes)
    # The first entry may be the rest of a file, so sizes are judged in the second.
    piece.entries.insert(0, one(path=b"a").entries[0])
    with pytest.raises(IntegrityError):
        decode(encode(piece))


@pytest.mark.parametrize(
    "row",
    [
        ChunkRow(1, 0, 9, 9, 0, bytes(32)),
        ChunkRow(0, -1, 9, 9, 0, bytes(32)),
        ChunkRow(0, 64 * 1024 * 1024, 9, 9, 0, bytes(32)),
        ChunkRow(0, 0, 0, 9, 1, bytes(32)),
        ChunkRow(0, 0, 9, 4 * 1024 * 1024 + 1, 1, bytes(32)),
        ChunkRow(0, 0, 8, 9, 0, bytes(32)),
        ChunkRow(0, 0, 9, 9, 2, bytes(32)),
        ChunkRow(0, 0, 9, 9, 0, bytes(31)),
    ],
    ids=str,
)
def test_each_rule_of_chunks_is_checked(row):
    """A chunk outside its pack, too long, or of an unknown codec is refused."""
    piece = one()
    piece.chunks[0] = row
    with pytest.raises(IntegrityError):
        decode(encode(piece))


def test_entries_out_of_order_or_twice_are_refused():
    """Only a continued entry may be followed by its own path."""
    first, second = one(path=b"a").entries[0], one(path=b"b").entries[0]
    for entries in ([second, first], [first, first]):
        piece = one()
        piece.entries[:] = entries
        with pytest.raises(IntegrityError):
            decode(encode(piece))
    begun = msgspec.structs.replace(first, size=10, extra=Extra(flags=EntryFlag.CONTINUED))
    piece = one()
    piece.entries[:] = [begun, first]
    assert decode(encode(piece)).entries == [begun, first]


def test_unknown_fields_are_refused():
    """A table row or a piece with more fields than the format has is malformed."""
    raw = msgspec.msgpack.decode(encode(one()))
    raw.append([])
    with pytest.raises(IntegrityError):
        decode(msgspec.msgpack.encode(raw))


@given(PATH, st.integers(1, 5000), st.integers(1, 9000))
def test_pieces_end_within_the_limits(path, entries, chunks):
    """No piece is longer than the limits; below the least number only very many chunks end one."""
    ends = ends_piece(path, entries, chunks)
    if entries >= CUT_MAX_ENTRIES or chunks >= CUT_MAX_CHUNKS:
        assert ends
    elif entries < CUT_MIN_ENTRIES:
        assert not ends
