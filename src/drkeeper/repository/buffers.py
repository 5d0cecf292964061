"""Buffers that are used again and again, and the one signal that ends everything that waits.

All memory of a backup that grows with speed and not with the source is in these pools; their
sizes are the memory budget.
"""

import mmap
from collections import deque
from contextlib import suppress
from threading import Condition


def pages(length: int) -> mmap.mmap:
    """Return page-aligned memory of this process, in pages as large as the kernel will give.

    A megabyte costs a page fault for each page, and shared memory (what ``mmap`` makes unless told
    otherwise) twice as much for each: for memory that is filled once, more than filling it.
    """
    memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class Failure:
    """The first error of any thread; everyone who waits is woken by it."""

    def __init__(self) -> None:
        """Begin without an error."""
        self.changed = Condition()
        self._error: BaseException | None = None

    @property
    def error(self) -> BaseException | None:
        """The first error, if there was one."""
        return self._error

    def report(self, error: BaseException) -> None:
        """Keep ``error`` if it is the first, and wake everyone."""
        with self.changed:
            if self._error is None:
                self._error = error
            self.changed.notify_all()

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error


class Buffer:
    """Page-aligned memory with a count of those who still read it.

    Attributes:
        view: The whole of it, writable.
    """

    __slots__ = ("_memory", "pins", "view")

    def __init__(self, length: int) -> None:
        """Map ``length`` bytes; pages are taken as they are written."""
        self._memory = pages(length)
        self.view = memoryview(self._memory)
        self.pins = 0


class BufferPool:
    """A fixed number of buffers of one length, made when first needed."""

    def __init__(self, failure: Failure, length: int, count: int) -> None:
        """Hold at most ``count`` buffers of ``length`` bytes."""
        self.length = length
        self._failure = failure
        self._left = count
        self._free: deque[Buffer] = deque()

    def take(self) -> Buffer:
        """Return a free buffer, pinned once; wait for one.

        Raises:
            BaseException: The first error of any thread; there may never be a buffer again.
        """
        failure = self._failure
        with failure.changed:
            while True:
                failure.check()
                if self._free:
                    buffer = self._free.pop()
                elif self._left:
                    self._left -= 1
                    buffer = Buffer(self.length)
                else:
                    failure.changed.wait()
                    continue
                buffer.pins = 1
                return buffer

    def pin(self, buffer: Buffer, times: int = 1) -> None:
        """Keep ``buffer`` for ``times`` more releases."""
        with self._failure.changed:
            buffer.pins += times

    def release(self, buffer: Buffer) -> None:
        """Undo one pin; the last one frees the buffer for others."""
        with self._failure.changed:
            buffer.pins -= 1
            if not buffer.pins:
                self._free.append(buffer)
                self._failure.changed.notify_all()
