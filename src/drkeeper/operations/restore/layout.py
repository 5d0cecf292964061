"""Where the content of a file is: runs of data between holes."""

import errno
import os
from bisect import bisect_right
from collections.abc import Callable

from drkeeper.crypto.digests import Hasher, digest, hasher
from drkeeper.model.entry import Entry, EntryFlag

READ_BYTES = 1024 * 1024
"""Read back in pieces of this; one buffer per thread."""

_BLOCK = 4096
_NOTHING = digest(b"")
_UNREADABLE = int(EntryFlag.UNREADABLE)
"""A plain number, because operators of enumerations cost a microsecond each, for every file."""


class Layout:
    """The runs of data of one file.

    The manifest addresses content by position in the data, holes left out.

    Attributes:
        segments: Offset and length of each run, ascending.
        data_bytes: Their sum.
    """

    __slots__ = ("_starts", "data_bytes", "segments")

    def __init__(self, entry: Entry) -> None:
        segments = entry.extra.segments
        if segments is None:
            segments = ((0, entry.size),) if entry.size else ()
        self.segments = segments
        self._starts = [0]
        for _, length in segments:
            self._starts.append(self._starts[-1] + length)
        self.data_bytes = self._starts[-1]

    def spans(self, position: int, length: int) -> list[tuple[int, int]]:
        """Return where in the file a run of content belongs: offset and length of each part.

        Raises:
            ValueError: The run goes beyond the content.
        """
        if not 0 <= position <= position + length <= self.data_bytes:
            raise ValueError("run of content beyond the end")
        spans = []
        at = bisect_right(self._starts, position) - 1
        while length:
            inside = position - self._starts[at]
            offset, available = self.segments[at]
            count = min(length, available - inside)
            spans.append((offset + inside, count))
            position += count
            length -= count
            at += 1
        return spans


def has_content(entry: Entry) -> bool:
    """Whether the content of a file is in the snapshot; an unreadable file left only metadata."""
    if entry.extra.flags & _UNREADABLE:
        return False
    return bool(entry.digest) or Layout(entry).data_bytes == 0


def expected_digest(entry: Entry) -> bytes:
    """Return the digest of a file's content; files without any may leave it out."""
    return entry.digest or _NOTHING


Read = Callable[[memoryview, int], int]
"""Reads into memory from an offset; returns how much, 0 at the end."""


def content_digest(
    fd: int, entry: Entry, buffer: memoryview, read: Read | None = None
) -> bytes | None:
    """Return the digest of what an open file has where ``entry`` has data.

    ``None`` when the file ends early, or has anything but zeros where ``entry`` has holes.
    ``read`` reads the data in another way than through ``fd``.

    Raises:
        OSError: It could not be read.
    """

    def plainly(into: memoryview, offset: int) -> int:
        return os.preadv(fd, [into], offset)

    total = hasher()
    end = 0
    for offset, length in Layout(entry).segments:
        if not _is_hole(fd, end, offset, buffer) or not _add(
            read or plainly, (offset, length), buffer, total
        ):
            return None
        end = offset + length
    if not _is_hole(fd, end, entry.size, buffer):
        return None
    return total.digest()


def _add(read: Read, run: tuple[int, int], buffer: memoryview, total: Hasher) -> bool:
    offset, left = run
    while left:
        # Whole blocks, because reading past the page cache takes no less.
        count = min(read(buffer[: left + -left % _BLOCK], offset), left)
        if not count:
            return False
        total.update(buffer[:count])
        offset += count
        left -= count
    return True


def _is_hole(fd: int, start: int, end: int, buffer: memoryview) -> bool:
    """Whether there are only zeros from ``start`` to ``end``; where space is taken, it is read.

    Raises:
        OSError: It could not be read.
    """
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here to the end
                return True
            raise
        if start >= end:
            return True
        count = os.preadv(fd, [buffer[: end - start]], start)
        if not count:
            return True
        if any(bytes(buffer[:count])):
            return False
        start += count
    return True
