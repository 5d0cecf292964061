"""Laws of packs: every chunk is where its row says, padding hides lengths, damage is refused."""

import os

import pytest
from hypothesis import given, settings, strategies as st

from drkeeper.errors import IntegrityError
from drkeeper.repository.packs import (
    PACK_ALIGNMENT,
    TRAILER_BYTES,
    PackBuilder,
    decode_directory,
    directory_span,
    read_directory,
)

CAPACITY = 4 * PACK_ALIGNMENT


def new_builder(capacity: int) -> tuple[PackBuilder, bytearray]:
    """Return a builder and what it writes to."""
    plain = bytearray()
    return PackBuilder(plain.extend, capacity), plain


@given(st.lists(st.binary(min_size=1, max_size=20_000), max_size=60))
@settings(max_examples=60, deadline=None)
def test_what_was_appended_is_found_by_the_directory(chunks):
    """Chunks stay in order, and only zeros lie between the directory and the trailer."""
    builder, plain = new_builder(CAPACITY)
    kept = []
    for number, data in enumerate(chunks):
        if not builder.fits(len(data)):
            break
        builder.append(number.to_bytes(32, "big"), data, plain=len(data), codec=0)
        kept.append(data)
    builder.finish()
    rows = read_directory(plain)
    assert [plain[row.offset : row.offset + row.stored] for row in rows] == kept
    assert [row.id for row in rows] == [n.to_bytes(32, "big") for n in range(len(kept))]
    assert len(plain) % PACK_ALIGNMENT == 0
    offset, length = directory_span(plain[-TRAILER_BYTES:], len(plain))
    assert not any(plain[offset + length : -TRAILER_BYTES])


@given(st.integers(1, 200), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_whatever_fits_can_be_finished(length, slack):
    """Up to the last byte: what ``fits`` allowed leaves room for directory and trailer."""
    builder, plain = new_builder(PACK_ALIGNMENT)
    first = PACK_ALIGNMENT - 20_000 - slack
    builder.append(os.urandom(32), bytes(first), plain=first, codec=0)
    while builder.fits(length):
        builder.append(os.urandom(32), bytes(length), plain=length, codec=0)
    builder.finish()
    assert len(plain) == PACK_ALIGNMENT
    assert len(read_directory(plain)) == builder.chunks


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_directory_or_trailer_is_refused(data):
    """Any change there is either refused or gives a directory that still fits the chunks."""
    builder, plain = new_builder(PACK_ALIGNMENT)
    for number in range(5):
        builder.append(bytes([number]) * 32, bytes(100), plain=100, codec=0)
    builder.finish()
    offset, length = directory_span(plain[-16:], len(plain))
    at = data.draw(
        st.one_of(
            st.integers(offset, offset + length - 1), st.integers(len(plain) - 16, len(plain) - 1)
        )
    )
    plain[at] ^= data.draw(st.integers(1, 255))
    try:
        rows = read_directory(bytes(plain))
    except IntegrityError:
        return
    assert sum(row.stored for row in rows) == 500


def test_a_directory_may_not_point_elsewhere():
    """A trailer that names bytes outside the pack, or no pack at all, is refused."""
    for trailer, total in ((bytes(16), 65536), (b"x" * 15, 65536), (bytes(16), 65 * 1024 * 1024)):
        with pytest.raises(IntegrityError):
            directory_span(trailer, total)
    with pytest.raises(IntegrityError):
        decode_directory(b"\xc1", 0)
