"""Where content lies in files with holes, and names made safe to show."""

import os

from hypothesis import given, strategies as st

from doubles.crafted import file
from drkeeper.crypto.digests import digest
from drkeeper.model.entry import Extra
from drkeeper.operations.restore.layout import Layout, content_digest
from drkeeper.operations.restore.printable import printable

SEGMENTS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=8)


def _entry(gaps):
    segments, end = [], 0
    for gap, length in gaps:
        segments.append((end + gap, length))
        end += gap + length
    total = sum(length for _, length in segments)
    content = bytes(range(1, 256)) * 2
    return file(b"f", content[:total], size=end + 3, extra=Extra(segments=tuple(segments)))


@given(SEGMENTS, st.data())
def test_spans_cover_the_content_once(gaps, data):
    """Cutting content anywhere gives the same places as asking for it whole."""
    layout = Layout(_entry(gaps)[0])
    cut = data.draw(st.integers(0, layout.data_bytes))
    parts = layout.spans(0, cut) + layout.spans(cut, layout.data_bytes - cut)
    covered = [byte for offset, length in parts for byte in range(offset, offset + length)]
    wanted = [byte for offset, length in layout.segments for byte in range(offset, offset + length)]
    assert covered == wanted


@given(SEGMENTS)
def test_digest_reads_data_and_rejects_filled_holes(gaps):
    """The digest is of the data; anything but zeros in a hole makes a file another one."""
    entry, content = _entry(gaps)
    buffer = memoryview(bytearray(7))
    fd = os.memfd_create("layout")
    try:
        os.ftruncate(fd, entry.size)
        position = 0
        for offset, length in Layout(entry).segments:
            os.pwrite(fd, content[position : position + length], offset)
            position += length
        assert content_digest(fd, entry, buffer) == digest(content)
        os.pwrite(fd, b"x", entry.size - 1)
        assert content_digest(fd, entry, buffer) is None
    finally:
        os.close(fd)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_printable_names_are_safe_and_distinct(one, other):
    """Shown names hold nothing that moves a cursor, and different names look different."""
    shown = printable(one)
    assert shown.isprintable()
    assert "\x1b" not in shown
    assert (printable(other) == shown) == (one == other)


def test_printable_examples():
    """Plain names stay as they are; controls, reordering and foreign bytes are escaped."""
    assert printable(b"plain/na me") == "plain/na me"
    assert printable("grün".encode()) == "grün"
    assert printable(b"\x1b[2J\n") == "\\x1b[2J\\n"
    assert printable("a\u202eb".encode()) == "a\\u202eb"
    assert printable(b"\xff\\") == "\\xff\\\\"
