"""Reading one candidate: its metadata, and the content of a regular file."""

import errno
import os
import stat
from collections.abc import Callable
from typing import cast

from drkeeper import faults
from drkeeper.model.entry import NO_EXTRA, EntryFlag
from drkeeper.sources.base import SMALL_BYTES, Candidate, Captured, ContentSink, Finding, Level
from drkeeper.sources.files.directories import EXHAUSTED, READ, Directory, give_up
from drkeeper.sources.files.entries import FORMAT, entry_of, extra_of
from drkeeper.sources.files.extras import NOTHING, Extras, ExtrasReader, read_pinned
from drkeeper.sources.files.links import Links
from drkeeper.sources.files.reading import Reading, read

ATTEMPTS = 4
"""Readings of a file that keeps changing: the first, and three more.

Source: docs/sources-files.md, "Changes": "re-read up to three times, then flagged".
"""

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
# A link, a socket, a directory, a FIFO: not the file that was listed.
_SWAPPED = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EAGAIN})
_PIN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_QUIET = READ | os.O_NOATIME

_REGULAR = stat.S_IFREG
_DIRECTORY = stat.S_IFDIR
_CHANGED = int(EntryFlag.CHANGED)
_UNREADABLE = int(EntryFlag.UNREADABLE)
_RACY = int(EntryFlag.RACY)
_NO_EXTRAS = Extras(flags=int(EntryFlag.EXTRAS_UNREADABLE))


class Capture:
    """Reads candidates; may be shared by threads.

    Attributes:
        racy_ns: A ctime from then on means that equal times prove nothing; set for each batch.

    Args:
        report: Takes the findings.
    """

    def __init__(self, report: Callable[[Finding], None]) -> None:
        self.racy_ns = 0
        self._report = report
        self._links = Links()
        self._of_files = ExtrasReader()
        self._of_directories = ExtrasReader()
        self._not_mine: set[int] = set()  # owners whose files refuse O_NOATIME

    def capture(self, candidate: Candidate, sink: ContentSink) -> Captured | None:
        """Read a candidate of the current batch; ``None`` when it has vanished."""
        directory = cast("Directory", candidate.parent)
        kind = candidate.stat.st_mode & FORMAT
        try:
            if kind == _REGULAR:
                return self._file(candidate, directory, sink)
            if kind == _DIRECTORY:
                return self._directory(candidate, directory)
            return self._special(candidate, directory)
        except OSError as error:
            return self._failed(candidate, directory, error)

    def _file(
        self, candidate: Candidate, directory: Directory, sink: ContentSink
    ) -> Captured | None:
        """Read a regular file; the common one, small, without holes and links, in one go."""
        path, status, _ = candidate
        fd = self._open(path[directory.cut :], status.st_uid, directory.fd)
        try:
            size = status.st_size
            if size < SMALL_BYTES and status.st_nlink == 1 and status.st_blocks * 512 >= size:
                extras = self._of_files.read(fd, status.st_dev)
                data = os.read(fd, size + 1)  # one more, to see the end of the file
                # One look suffices: a file that is after the reading what it was when it was
                # listed was the same in between.
                after = os.fstat(fd)
                if (
                    len(data) == size
                    and after.st_ctime_ns == status.st_ctime_ns
                    and after.st_mtime_ns == status.st_mtime_ns
                    and after.st_size == size
                    and after.st_ino == status.st_ino
                    and after.st_mode == status.st_mode
                ):
                    content = sink.small(data)
                    extra = NO_EXTRA
                    if extras is not NOTHING or status.st_ctime_ns >= self.racy_ns:
                        extra = extra_of(status, extras, self._flags(path, status, extras))
                    entry = entry_of(path, status, extra, content.digest, size=size)
                    return _new(Captured, (entry, content))
            return self._any_file(fd, path, sink)
        finally:
            os.close(fd)

    def _any_file(self, fd: int, path: bytes, sink: ContentSink) -> Captured | None:
        """Read a regular file that may be large, have holes and links, and keep changing."""
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return self._replaced(path)
        reading, extras = self._read(fd, sink)
        status = reading.status
        flags = self._flags(path, status, extras)
        if not reading.steady:
            flags |= _CHANGED
            self._tell(Level.WARNING, "changed", path, "It kept changing while it was read.")
        extra = extra_of(status, extras, flags, segments=reading.segments)
        entry = entry_of(path, status, extra, reading.content.digest, size=reading.size)
        return Captured(entry, reading.content)

    def _read(self, fd: int, sink: ContentSink) -> tuple[Reading, Extras]:
        """Read until the file holds still, or the last attempt is used up."""
        attempt = 0
        while True:
            attempt += 1
            before = os.fstat(fd)
            extras = self._of_files.read(fd, before.st_dev)
            linked = before.st_nlink > 1
            if linked and (known := self._links.find(before)) is not None:
                return known, extras
            faults.point("sources.files.capture.read")
            reading = read(fd, sink, before, final=attempt == ATTEMPTS)
            if reading is not None:
                if linked and reading.steady:
                    self._links.add(reading)
                return reading, extras

    def _directory(self, candidate: Candidate, directory: Directory) -> Captured:
        """Record a directory, which the walk has opened already."""
        path, status, _ = candidate
        if directory.fd < 0:
            extras = _NO_EXTRAS
        elif directory.reach_only:
            extras = read_pinned(directory.fd)
        else:
            extras = self._of_directories.read(directory.fd, status.st_dev)
        flags = directory.flags | self._flags(path, status, extras)
        return Captured(entry_of(path, status, extra_of(status, extras, flags)), None)

    def _special(self, candidate: Candidate, directory: Directory) -> Captured | None:
        """Record a link, FIFO, socket or device without opening it."""
        path, listed, _ = candidate
        fd = os.open(path[directory.cut :], _PIN, dir_fd=directory.fd)
        try:
            status = os.fstat(fd)
            if status.st_mode & FORMAT != listed.st_mode & FORMAT:
                return self._replaced(path)
            target = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(status.st_mode) else b""
            extras = read_pinned(fd)
        finally:
            os.close(fd)
        flags = self._flags(path, status, extras)
        extra = extra_of(status, extras, flags, target=target)
        return Captured(entry_of(path, status, extra), None)

    def _open(self, name: bytes, uid: int, dir_fd: int) -> int:
        """Open a file for reading without leaving an access time behind, where allowed.

        Raises:
            PermissionError: It may not be read.
        """
        if uid in self._not_mine:
            return os.open(name, READ, dir_fd=dir_fd)
        try:
            return os.open(name, _QUIET, dir_fd=dir_fd)
        except PermissionError as error:
            if error.errno != errno.EPERM:
                raise
            fd = os.open(name, READ, dir_fd=dir_fd)
            self._not_mine.add(uid)
            return fd

    def _flags(self, path: bytes, status: os.stat_result, extras: Extras) -> int:
        """Return what a path that could be read is flagged with, and report it."""
        if extras.flags:
            text = "Some of its extended attributes cannot be read."
            self._tell(Level.WARNING, "extras-unreadable", path, text)
        return _RACY if status.st_ctime_ns >= self.racy_ns else 0

    def _failed(
        self, candidate: Candidate, directory: Directory, error: OSError
    ) -> Captured | None:
        """Turn a failure to read one path into a finding.

        Raises:
            SourceError: The process is out of descriptors or memory.
        """
        path, status, _ = candidate
        if error.errno in _GONE:
            self._tell(Level.NOTE, "vanished", path, "It was removed before it was read.")
            return None
        if error.errno in _SWAPPED:
            return self._replaced(path)
        if error.errno in EXHAUSTED:
            give_up(error)
        self._tell(Level.WARNING, "unreadable", path, f"It cannot be read ({error.strerror}).")
        extra = extra_of(status, _pinned_extras(path, directory), _UNREADABLE)
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        return Captured(entry_of(path, status, extra, size=size), None)

    def _replaced(self, path: bytes) -> Captured | None:
        text = "Something of another kind took its place before it was read."
        self._tell(Level.WARNING, "replaced", path, text)
        return None

    def _tell(self, level: Level, code: str, path: bytes, message: str) -> None:
        self._report(Finding(level, code, path, message))


_new = tuple.__new__  # makes a NamedTuple without the call of its own constructor


def _pinned_extras(path: bytes, directory: Directory) -> Extras:
    """Return the extras of something that cannot be opened for reading."""
    try:
        fd = os.open(path[directory.cut :], _PIN, dir_fd=directory.fd)
    except OSError:
        return _NO_EXTRAS
    try:
        return read_pinned(fd)
    finally:
        os.close(fd)
