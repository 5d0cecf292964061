"""Reading back what was written: out of memory what the kernel still holds, past it the rest.

A file that fits into memory is compared at the speed of memory. A larger one was written to the
disk while the restore went on; reading that through the page cache would cost a second of
processor time for a gigabyte and drive out the rest, so it is read past the cache.
"""

import errno
import os

WINDOW_BYTES = 1024 * 1024
"""Read at once: long enough to keep a disk busy, short enough for the cache of a processor."""

ALIGNMENT = 4096
"""Multiple of the logical block size of every common disk.

Source:
    open(2), O_DIRECT.
"""

_CANNOT = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


class Reader:
    """Reads one file in the cheapest way for each window.

    A file system that knows neither way is read plainly.
    """

    def __init__(self, fd: int) -> None:
        """Read what ``fd`` has, which stays the caller's."""
        self._fd = fd
        self._held = True
        self._direct: int | None = None
        self._asked = False

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
        count = self._from_memory(into, offset) if self._held else None
        if count is None:
            count = self._past_memory(into, offset)
        return os.preadv(self._fd, [into], offset) if count is None else count

    def _from_memory(self, into: memoryview, offset: int) -> int | None:
        """Read what the kernel holds; ``None`` when it would have to ask the disk.

        Raises:
            OSError: It could not be read.
        """
        try:
            return os.preadv(self._fd, [into], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            self._held = False
            return None

    def _past_memory(self, into: memoryview, offset: int) -> int | None:
        """Read from the disk; ``None`` where this cannot be done.

        Raises:
            OSError: It could not be read.
        """
        if not self._asked:
            self._asked = True
            self._direct = _reopen(self._fd)
        length = len(into) - len(into) % ALIGNMENT
        if self._direct is None or not length or offset % ALIGNMENT:
            return None
        try:
            return os.preadv(self._direct, [into[:length]], offset)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            self.close()
            return None


def _reopen(fd: int) -> int | None:
    """Open the very file that ``fd`` is once more, past the page cache; ``None`` where none can.

    Through ``/proc``, because the name may lead to another file by now.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:  # no such file system, no /proc: the cache will do
        return None
