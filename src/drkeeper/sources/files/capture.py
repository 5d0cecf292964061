"""Reading one candidate: its metadata, and the content of a regular file."""

import errno
import os
import stat
from collections.abc import Callable
from typing import cast

from drkeeper import faults
from drkeeper.model.entry import NO_EXTRA, Entry, EntryFlag, Extra, FileType
from drkeeper.sources.base import SMALL_BYTES, Candidate, Captured, ContentSink, Finding, Level
from drkeeper.sources.files.directories import EXHAUSTED, READ, Directory, give_up
from drkeeper.sources.files.extras import NOTHING, Extras, ExtrasReader, read_pinned
from drkeeper.sources.files.links import Links
from drkeeper.sources.files.reading import Reading, Segments, is_same, read

ATTEMPTS = 4
"""Readings of a file that keeps changing: the first, and three more.

Source: design rule "re-read up to three times, then flagged" (docs/sources-files.md, "Changes").
"""

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_SWAPPED = frozenset({errno.ELOOP, errno.ENXIO})  # a link, a socket: not what was listed
_PIN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_QUIET = READ | os.O_NOATIME

_FORMAT = 0o170000
_MODE = 0o7777
_FILE = int(FileType.FILE)
TYPES = {
    stat.S_IFREG: _FILE,
    stat.S_IFDIR: int(FileType.DIRECTORY),
    stat.S_IFLNK: int(FileType.SYMLINK),
    stat.S_IFIFO: int(FileType.FIFO),
    stat.S_IFSOCK: int(FileType.SOCKET),
    stat.S_IFCHR: int(FileType.CHARACTER),
    stat.S_IFBLK: int(FileType.BLOCK),
}

_CHANGED = int(EntryFlag.CHANGED)
_UNREADABLE = int(EntryFlag.UNREADABLE)
_RACY = int(EntryFlag.RACY)
_EXTRAS_UNREADABLE = int(EntryFlag.EXTRAS_UNREADABLE)


class Capture:
    """Reads candidates; may be shared by threads.

    Args:
        report: Takes the findings.
    """

    def __init__(self, report: Callable[[Finding], None]) -> None:
        self._report = report
        self._links = Links()
        self._of_files = ExtrasReader()
        self._of_directories = ExtrasReader()
        self._not_mine: set[int] = set()  # owners whose files refuse O_NOATIME

    def capture(self, candidate: Candidate, sink: ContentSink, racy_ns: int) -> Captured | None:
        """Read a candidate; ``None`` when it has vanished.

        Args:
            candidate: Of the current batch.
            sink: Takes the content.
            racy_ns: A ctime from then on means that equal times prove nothing.
        """
        directory = cast("Directory", candidate.parent)
        kind = candidate.stat.st_mode & _FORMAT
        try:
            if kind == stat.S_IFREG:
                return self._file(candidate, directory, sink, racy_ns)
            if kind == stat.S_IFDIR:
                return self._directory(candidate, directory, racy_ns)
            return self._special(candidate, directory, racy_ns)
        except OSError as error:
            return self._failed(candidate, error)

    def _file(
        self, candidate: Candidate, directory: Directory, sink: ContentSink, racy_ns: int
    ) -> Captured | None:
        """Read a regular file; the common case, a small file without holes, in one go."""
        path, status, _ = candidate
        fd = self._open(path[directory.cut :], status.st_uid, directory.fd)
        try:
            before = os.fstat(fd)
            if before.st_mode & _FORMAT != stat.S_IFREG or before.st_dev != status.st_dev:
                return self._replaced(path)
            extras = self._of_files.read(fd, before.st_dev)
            size = before.st_size
            if size < SMALL_BYTES and before.st_nlink == 1 and before.st_blocks * 512 >= size:
                data = os.read(fd, size + 1)  # one more, to see the end of the file
                if len(data) == size and is_same(before, os.fstat(fd)):
                    content = sink.small(data)
                    flags = extras.flags | (_RACY if before.st_ctime_ns >= racy_ns else 0)
                    extra = NO_EXTRA if extras is NOTHING and not flags else _extra(extras, flags)
                    return Captured(_entry(path, before, extra, content.digest, size=size), content)
            return self._any_file(fd, path, sink, racy_ns)
        finally:
            os.close(fd)

    def _any_file(self, fd: int, path: bytes, sink: ContentSink, racy_ns: int) -> Captured:
        """Read a regular file that is large, has holes or links, or keeps changing."""
        reading, extras = self._read(fd, sink)
        status = reading.status
        flags = extras.flags | (_RACY if status.st_ctime_ns >= racy_ns else 0)
        if not reading.steady:
            flags |= _CHANGED
            self._tell(Level.WARNING, "changed", path, "It kept changing while it was read.")
        extra = _extra(extras, flags, segments=reading.segments)
        entry = _entry(path, status, extra, reading.content.digest, size=reading.size)
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

    def _directory(self, candidate: Candidate, directory: Directory, racy_ns: int) -> Captured:
        path, status, _ = candidate
        if directory.fd < 0:
            extras = Extras(flags=_EXTRAS_UNREADABLE)
        elif directory.reach_only:
            extras = read_pinned(directory.fd)
        else:
            extras = self._of_directories.read(directory.fd, status.st_dev)
        flags = extras.flags | directory.flags | (_RACY if status.st_ctime_ns >= racy_ns else 0)
        if extras.flags:
            self._tell_extras(path)
        return Captured(_entry(path, status, _extra(extras, flags)), None)

    def _special(self, candidate: Candidate, directory: Directory, racy_ns: int) -> Captured | None:
        """Record a link, FIFO, socket or device without opening it."""
        path, status, _ = candidate
        fd = os.open(path[directory.cut :], _PIN, dir_fd=directory.fd)
        try:
            pinned = os.fstat(fd)
            if pinned.st_mode & _FORMAT != status.st_mode & _FORMAT:
                return self._replaced(path)
            target = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(pinned.st_mode) else b""
            extras = read_pinned(fd)
        finally:
            os.close(fd)
        flags = extras.flags | (_RACY if pinned.st_ctime_ns >= racy_ns else 0)
        if extras.flags:
            self._tell_extras(path)
        extra = _extra(extras, flags, target=target, device=_device_of(pinned))
        return Captured(_entry(path, pinned, extra), None)

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

    def _failed(self, candidate: Candidate, error: OSError) -> Captured | None:
        """Turn a failure to read one path into a finding.

        Raises:
            SourceError: The process is out of descriptors or memory.
        """
        path, status, directory = candidate
        if error.errno in _GONE:
            self._tell(Level.NOTE, "vanished", path, "It was removed before it was read.")
            return None
        if error.errno in _SWAPPED:
            return self._replaced(path)
        if error.errno in EXHAUSTED:
            give_up(error)
        self._tell(Level.WARNING, "unreadable", path, f"It cannot be read ({error.strerror}).")
        extras = _pinned_extras(path, directory)
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        extra = _extra(extras, extras.flags | _UNREADABLE, device=_device_of(status))
        return Captured(_entry(path, status, extra, size=size), None)

    def _replaced(self, path: bytes) -> Captured | None:
        text = "Something of another kind took its place before it was read."
        self._tell(Level.WARNING, "replaced", path, text)
        return None

    def _tell_extras(self, path: bytes) -> None:
        text = "Some of its extended attributes cannot be read."
        self._tell(Level.WARNING, "extras-unreadable", path, text)

    def _tell(self, level: Level, code: str, path: bytes, message: str) -> None:
        self._report(Finding(level, code, path, message))


def _entry(
    path: bytes, status: os.stat_result, extra: Extra, digest: bytes = b"", *, size: int = 0
) -> Entry:
    mode = status.st_mode
    return Entry(
        path,
        TYPES[mode & _FORMAT],
        mode & _MODE,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
        status.st_nlink,
        size,
        digest,
        (),
        extra,
    )


def _extra(
    extras: Extras,
    flags: int,
    *,
    target: bytes = b"",
    segments: Segments | None = None,
    device: tuple[int, int] = (0, 0),
) -> Extra:
    if extras is NOTHING and not flags and not target and segments is None and device == (0, 0):
        return NO_EXTRA
    return Extra(target, extras.xattrs, segments, *device, flags, extras.fsflags, extras.project)


def _device_of(status: os.stat_result) -> tuple[int, int]:
    """Return the numbers of a character or block device, zeros for anything else."""
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        return os.major(status.st_rdev), os.minor(status.st_rdev)
    return 0, 0


def _pinned_extras(path: bytes, directory: object) -> Extras:
    """Return the extras of something that cannot be opened for reading."""
    if isinstance(directory, Directory) and path != directory.path:
        try:
            fd = os.open(path[directory.cut :], _PIN, dir_fd=directory.fd)
        except OSError:
            return Extras(flags=_EXTRAS_UNREADABLE)
        try:
            return read_pinned(fd)
        finally:
            os.close(fd)
    return Extras(flags=_EXTRAS_UNREADABLE)
