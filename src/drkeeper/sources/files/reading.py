"""Bytes of one open file into a sink: whole, streamed, or only where there is data."""

import errno
import os
from typing import NamedTuple

from drkeeper.sources.base import SMALL_BYTES, Content, ContentSink, ContentStream

Segments = tuple[tuple[int, int], ...]
"""(offset, length) of each run of data, in order."""

WINDOW = 8 * 1024 * 1024
"""How much of a file is read before the page cache is told to forget it.

Source: far more than the kernel reads ahead (128 KiB by default, ``read_ahead_kb``).
"""

MAX_SEGMENTS = 65_536
"""Runs of data kept for one file; beyond that the smallest holes are taken for data.

Source: bounds memory and the entry to about a megabyte, whatever a hostile file looks like.
"""

_SAMPLES = 4  # places in a file where its presence in the page cache is judged
_CANNOT_TELL = frozenset({errno.EINVAL, errno.ENXIO, errno.EOPNOTSUPP})


class Reading(NamedTuple):
    """What one attempt to read a file gave.

    Attributes:
        content: What the sink made of it.
        size: Logical length of what was read.
        segments: As in ``Extra.segments``.
        status: From ``fstat``, before the first byte.
        steady: Whether the file was the same after the last byte.
    """

    content: Content
    size: int
    segments: Segments | None
    status: os.stat_result
    steady: bool


def is_same(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether an open file shows no sign of a change between two looks at it."""
    return (
        before.st_ctime_ns == after.st_ctime_ns
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_size == after.st_size
    )


def read(fd: int, sink: ContentSink, before: os.stat_result, *, final: bool) -> Reading | None:
    """Read an open regular file from its beginning.

    Args:
        fd: The file.
        sink: Takes the content.
        before: From ``fstat``, just now.
        final: Whether to keep content that changed while it was read; otherwise the sink forgets
            it and the answer is ``None``.

    Raises:
        OSError: The file cannot be read; the sink has forgotten it.
    """
    size = before.st_size
    segments = segments_of(fd, size) if _may_have_holes(before) else None
    runs = segments if segments is not None else ((0, size),)
    stream: ContentStream | None = None
    data = b""
    if sum(length for _, length in runs) < SMALL_BYTES:
        data, ended = _read_small(fd, runs)
    else:
        stream = sink.stream()
        try:
            ended = _read_large(fd, runs, stream, forget=_is_cold(fd, size))
        except OSError:
            stream.discard()
            raise
    steady = ended is None and is_same(before, os.fstat(fd))
    if not steady and not final:
        if stream is not None:
            stream.discard()
        return None
    if ended is not None:
        size, segments = ended, _cut(segments, ended)
    content = stream.end() if stream is not None else sink.small(data)
    return Reading(content, size, segments, before, steady)


def segments_of(fd: int, size: int, *, limit: int = MAX_SEGMENTS) -> Segments | None:
    """Return where a file holds data; ``None`` when it has no holes.

    Args:
        fd: The file.
        size: Where to stop.
        limit: Most segments; holes are taken for data, the smallest first, to stay below it.

    Raises:
        OSError: The file cannot be asked.

    Source:
        lseek(2), SEEK_DATA and SEEK_HOLE: ENXIO means that no data follows.
    """
    found: list[tuple[int, int]] = []
    position = gap = 0
    try:
        while position < size:
            begin = _next_data(fd, position, size)
            if begin == size:
                break
            end = min(os.lseek(fd, begin, os.SEEK_HOLE), size)
            if (begin, end) == (0, size):
                return None
            found.append((begin, end - begin))
            position = end
            if len(found) > limit:
                found, gap = _coarser(found, gap, limit // 2)
    except OSError as error:
        if error.errno in _CANNOT_TELL:
            return None  # not supported, or cut short meanwhile: read all of it
        raise
    return tuple(found)


def _next_data(fd: int, position: int, size: int) -> int:
    try:
        return min(os.lseek(fd, position, os.SEEK_DATA), size)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise


def _coarser(
    found: list[tuple[int, int]], gap: int, enough: int
) -> tuple[list[tuple[int, int]], int]:
    """Close holes, the smallest first, until not more than ``enough`` segments are left."""
    while len(found) > enough:
        gap = gap * 2 or 4096  # the usual size of a block
        merged = [found[0]]
        for offset, length in found[1:]:
            last_offset, last_length = merged[-1]
            if offset - (last_offset + last_length) <= gap:
                merged[-1] = (last_offset, offset + length - last_offset)
            else:
                merged.append((offset, length))
        found = merged
    return found, gap


def _may_have_holes(status: os.stat_result) -> bool:
    """Whether it is worth asking for holes; of a small file, its blocks tell."""
    return status.st_size >= SMALL_BYTES or status.st_blocks * 512 < status.st_size


def _read_small(fd: int, runs: Segments) -> tuple[bytes, int | None]:
    """Return the data, and where the file ended early, if it did."""
    parts: list[bytes] = []
    for begin, length in runs:
        offset, end = begin, begin + length
        while offset < end:
            part = os.pread(fd, end - offset, offset)
            if not part:
                return b"".join(parts), offset
            parts.append(part)
            offset += len(part)
    return b"".join(parts), None


def _read_large(fd: int, runs: Segments, stream: ContentStream, *, forget: bool) -> int | None:
    """Fill the stream; return where the file ended early, if it did."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    forgotten = 0
    for begin, length in runs:
        offset, end = begin, begin + length
        while offset < end:
            view = stream.buffer()
            count = os.preadv(fd, [view[: end - offset]], offset)
            if not count:
                return offset
            stream.filled(count)
            offset += count
            if forget and offset - forgotten >= WINDOW:
                os.posix_fadvise(fd, forgotten, offset - forgotten, os.POSIX_FADV_DONTNEED)
                forgotten = offset
    if forget:
        os.posix_fadvise(fd, forgotten, 0, os.POSIX_FADV_DONTNEED)
    return None


def _is_cold(fd: int, size: int) -> bool:
    """Whether nothing of the file seems to be in the page cache.

    A backup should not push out what others use; but what they have in the cache already is
    theirs, and telling the kernel to forget it would slow them down.

    Source:
        preadv2(2), RWF_NOWAIT: EAGAIN when the data is not there at once.
    """
    probe = bytearray(1)
    for sample in range(_SAMPLES):
        try:
            os.preadv(fd, [probe], size * sample // _SAMPLES, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
        except OSError:
            return False  # not supported here, so there is no telling
        return False
    return True


def _cut(segments: Segments | None, size: int) -> Segments | None:
    if segments is None:
        return None
    return tuple((at, min(length, size - at)) for at, length in segments if at < size)
