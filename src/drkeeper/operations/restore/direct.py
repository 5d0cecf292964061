"""Large files past the page cache: into the disk, and back out of it.

Through the cache, a gigabyte costs two to three seconds of processor time to write, wait for, drop
and read again; past it, a tenth of that, and what is read back is what the disk holds. It takes
aligned memory, offsets and lengths, and a file system that can; everything else goes through the
cache, silently.
"""

import errno
import mmap
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

WINDOW_BYTES = 4 * 1024 * 1024
"""Written and read at once: long enough to keep a disk busy, short enough for the cache of a CPU."""

ALIGNMENT = 4096
"""Multiple of the logical block size of every common disk.

Source:
    open(2), O_DIRECT.
"""

_WINDOWS = 4
"""Windows of one file that are being filled or written; they bound its memory."""

_CANNOT = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


def reopen(fd: int, flags: int) -> int | None:
    """Open the very file that ``fd`` is once more, past the page cache; ``None`` where none can.

    Through ``/proc``, because the name may lead to another file by now.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", flags | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:  # no such file system, no /proc: the cache will do
        return None


class Staging:
    """Gathers what is written to one file into aligned windows, written by other threads."""

    def __init__(self, fd: int, pool: ThreadPoolExecutor) -> None:
        """Write to ``fd``, which stays the caller's."""
        self._fd = fd
        self._pool = pool
        self._direct = reopen(fd, os.O_WRONLY)
        self._window: mmap.mmap | None = None
        self._base = self._start = self._end = 0
        self._free: list[mmap.mmap] = []
        self._writing: deque[tuple[Future[None], mmap.mmap]] = deque()

    def write(self, offset: int, data: memoryview) -> None:
        """Take ``data`` for this place of the file; it is copied.

        Raises:
            OSError: A write that was begun before failed.
        """
        while data:
            if self._window is not None and offset != self._end:
                self._flush()
            if self._window is None:
                self._window = self._take()
                self._base = offset - offset % ALIGNMENT
                self._start = self._end = offset
            at = offset - self._base
            count = min(len(data), WINDOW_BYTES - at)
            memoryview(self._window)[at : at + count] = data[:count]
            self._end = offset = offset + count
            data = data[count:]
            if self._end - self._base == WINDOW_BYTES:
                self._flush()

    def check(self) -> None:
        """Tell of writes that have failed so far.

        Raises:
            OSError: No space, or the device failed.
        """
        while self._writing and self._writing[0][0].done():
            self._reap()

    def close(self, *, keep: bool) -> None:
        """Write the rest when it is wanted, and wait for everything.

        Raises:
            OSError: No space, or the device failed.
        """
        try:
            if keep:
                self._flush()
            for future, _ in self._writing:
                future.exception()
            while self._writing:
                self._reap()
        finally:
            for future, _ in self._writing:
                future.exception()
            direct, self._direct = self._direct, None
            if direct is not None:
                os.close(direct)

    def _take(self) -> mmap.mmap:
        while len(self._writing) >= _WINDOWS - 1:
            self._reap()
        return self._free.pop() if self._free else mmap.mmap(-1, WINDOW_BYTES)

    def _reap(self) -> None:
        future, window = self._writing.popleft()
        future.result()
        self._free.append(window)

    def _flush(self) -> None:
        window, self._window = self._window, None
        if window is not None:
            run = (self._base, self._start, self._end)
            self._writing.append((self._pool.submit(self._put, window, run), window))

    def _put(self, window: mmap.mmap, run: tuple[int, int, int]) -> None:
        """Write a window: whole blocks past the cache, what is around them through it."""
        base, start, end = run
        view = memoryview(window)
        low = start + -start % ALIGNMENT
        high = end - end % ALIGNMENT
        direct = self._direct
        if direct is not None and low < high:
            self._through(view[start - base : low - base], start)
            done = _write_direct(direct, view[low - base : high - base], low)
            start = low + done
        self._through(view[start - base : end - base], start)

    def _through(self, data: memoryview, offset: int) -> None:
        while data:
            count = os.pwrite(self._fd, data, offset)
            data = data[count:]
            offset += count


def _write_direct(fd: int, data: memoryview, offset: int) -> int:
    """Write past the cache; return how much could be.

    Raises:
        OSError: No space, or the device failed.
    """
    done = 0
    try:
        while done < len(data):
            count = os.pwrite(fd, data[done:], offset + done)
            done += count
            if count % ALIGNMENT:  # the rest would be misaligned
                break
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    return done


class Reader:
    """Reads a file from the disk itself where that can be, otherwise as it can be read."""

    def __init__(self, fd: int) -> None:
        """Read what ``fd`` has, which is first written to the disk and dropped from the cache.

        Raises:
            OSError: The disk did not take it.
        """
        os.fdatasync(fd)
        with suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self._fd = fd
        self._direct = reopen(fd, os.O_RDONLY)

    def close(self) -> None:
        """Let go of what was opened for it."""
        direct, self._direct = self._direct, None
        if direct is not None:
            os.close(direct)

    def read(self, into: memoryview, offset: int) -> int:
        """Read some of what begins at ``offset``; 0 at the end.

        Raises:
            OSError: It could not be read.
        """
        length = len(into) - len(into) % ALIGNMENT
        if self._direct is not None and length and offset % ALIGNMENT == 0:
            try:
                return os.preadv(self._direct, [into[:length]], offset)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                self.close()
        return os.preadv(self._fd, [into], offset)
