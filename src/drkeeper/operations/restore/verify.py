"""Reading back what was restored, through names and fresh descriptors, before success is reported."""

import errno
import mmap
import os
import stat
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from drkeeper.crypto.digests import digest
from drkeeper.model.entry import Entry
from drkeeper.operations.restore.layout import content_digest, expected_digest
from drkeeper.operations.restore.readback import WINDOW_BYTES, Reader
from drkeeper.operations.restore.report import Severity, Tally
from drkeeper.operations.restore.rights import MAX_ID, Rights
from drkeeper.operations.restore.target import OPEN_FILE, Directory

_WHOLE_BYTES = 256 * 1024
_WAITING = 64
_SECOND_NS = 1_000_000_000
_REPRESENTABLE = (-(2**31) * _SECOND_NS, 2**34 * _SECOND_NS)
"""Times that ext4 keeps.

Source:
    Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps": 34 bits of seconds from 1901 on.
"""

Written = tuple[bytes, Entry, tuple[int, int]]
"""Name in its directory, what it should be, and owner on this machine."""


class Verifier:
    """Compares what was restored with what should be; large files in a thread of its own."""

    def __init__(self, rights: Rights, tally: Tally) -> None:
        """Tell every difference to ``tally``."""
        self._rights = rights
        self._tally = tally
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="drkeeper-verify")
        self._waiting: deque[tuple[Future[None], Directory]] = deque()
        self._buffers = threading.local()

    def close(self) -> None:
        """Drop what was not begun, wait for the rest."""
        for future, directory in self._waiting:
            if future.cancel():
                directory.release()  # else whoever checks does
        self._pool.shutdown(wait=True)

    def begin(self, directory: Directory, written: Written) -> Future[None]:
        """Have a restored file read back while the restore goes on."""
        future = self._pool.submit(self._check_held, directory.retain(), written)
        self._waiting.append((future, directory))
        while len(self._waiting) > _WAITING:
            self._waiting.popleft()[0].result()
        return future

    def wait(self) -> None:
        """Finish."""
        while self._waiting:
            self._waiting.popleft()[0].result()

    def check(self, directory: int, written: Written) -> None:
        """Read a restored file back now, content and metadata."""
        name, entry, owner = written
        try:
            with _opened(directory, name) as fd:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
                    self._differs(entry, "is not the file that was written")
                    return
                if self._digest(fd, entry) != expected_digest(entry):
                    self._differs(entry, "content not as in the snapshot")
                self.metadata_of(found, entry, owner)
                if entry.extra.xattrs:
                    self.attributes(fd, entry)
        except OSError as error:
            self._differs(entry, f"cannot be read back: {error.strerror}")

    def metadata_of(self, found: os.stat_result, entry: Entry, owner: tuple[int, int]) -> None:
        """Compare what ``stat`` says with what should be."""
        wrong = []
        mode = entry.mode if stat.S_ISDIR(found.st_mode) else self._rights.mode(entry.mode)
        if stat.S_IMODE(found.st_mode) != mode and not stat.S_ISLNK(found.st_mode):
            wrong.append("mode")
        known = max(owner) <= MAX_ID
        if self._rights.gives_away and known and (found.st_uid, found.st_gid) != owner:
            wrong.append("owner")
        if wrong:
            self._differs(entry, " and ".join(wrong) + " not as in the snapshot")
        if found.st_mtime_ns != entry.mtime_ns:
            self._time_differs(found.st_mtime_ns, entry)

    def _time_differs(self, found_ns: int, entry: Entry) -> None:
        """Tell a coarser clock of the file system from a wrong time."""
        low, high = _REPRESENTABLE
        coarse = found_ns % 100 == 0 and abs(found_ns - entry.mtime_ns) < 2 * _SECOND_NS
        if coarse or not low <= entry.mtime_ns < high:
            self._tally.add(
                Severity.WARNING, "time", entry.path, "the file system cannot keep the exact time"
            )
        else:
            self._differs(entry, "time of change not as in the snapshot")

    def _check_held(self, directory: Directory, written: Written) -> None:
        try:
            self.check(directory.fd, written)
        finally:
            directory.release()

    def attributes(self, fd: int, entry: Entry) -> None:
        """Compare extended attributes; those that could not be set have been told."""
        for name, value in entry.extra.xattrs:
            try:
                if self._rights.keeps(name) and os.getxattr(fd, name) != value:
                    self._differs(entry, f"attribute {ascii(name)[2:-1]} not as in the snapshot")
            except (OSError, ValueError):
                continue

    def _digest(self, fd: int, entry: Entry) -> bytes | None:
        if entry.size < _WHOLE_BYTES and entry.extra.segments is None:
            return digest(os.read(fd, entry.size + 1))
        buffer = getattr(self._buffers, "buffer", None)
        if buffer is None:
            buffer = self._buffers.buffer = memoryview(mmap.mmap(-1, WINDOW_BYTES))
        reader = Reader(fd)
        try:
            return content_digest(fd, entry, buffer, reader.read)
        finally:
            reader.close()

    def _differs(self, entry: Entry, message: str) -> None:
        self._tally.add(Severity.DIFFERS, "differs", entry.path, message)


@contextmanager
def _opened(directory: int, name: bytes) -> Iterator[int]:
    """Open a file for reading, also when its own mode forbids that to its owner.

    Raises:
        OSError: It is not there, or is a link now.
    """
    try:
        fd = os.open(name, OPEN_FILE, dir_fd=directory)
    except PermissionError:
        fd = _open_forbidden(directory, name)
    try:
        yield fd
    finally:
        os.close(fd)


def _open_forbidden(directory: int, name: bytes) -> int:
    held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    path = f"/proc/self/fd/{held}"
    try:
        status = os.fstat(held)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EPERM, "is no regular file", name)
        os.chmod(path, stat.S_IMODE(status.st_mode) | stat.S_IRUSR)
        try:
            return os.open(path, OPEN_FILE & ~os.O_NOFOLLOW)
        finally:
            os.chmod(path, stat.S_IMODE(status.st_mode))
    finally:
        os.close(held)
