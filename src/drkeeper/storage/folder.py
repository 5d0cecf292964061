"""Objects as files below one directory.

An object is written under a temporary name, synced, and then *linked* to its own name:
``link(2)`` fails when the name is taken, so it is both the atomic appearance of the whole
object and the compare-and-swap of ``create``. The directory is synced before the call
returns. The folder may be hostile: nothing is followed out of it, and only regular files
count as objects.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from drkeeper.clock import Clock, SystemClock
from drkeeper.errors import (
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from drkeeper.faults import point
from drkeeper.storage import posix
from drkeeper.storage.base import ObjectInfo
from drkeeper.storage.folderlist import Level, info_from, modified_at, walk
from drkeeper.storage.keys import check_span, checked_key, checked_prefix

TEMPORARY = "+tmp"
"""Where unfinished objects live; no key has a plus sign, so no object can be in there."""

LEFTOVER_AGE = timedelta(days=1)
"""No upload of one object takes as long; an older temporary name belongs to a dead process."""

_ENDS_EARLY = "object ends before the requested span: {}"

_ATTEMPTS = 16
"""A directory emptied and removed while an object is being linked into it is made again."""


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """An object that is being written: its temporary name, and where that is."""

    directory: int
    name: str
    descriptor: int


class FolderStore:
    """A directory of one file system that knows hard links.

    Args:
        path: The directory; it may be a symbolic link, nothing below it may.
        create: Make the directory when it is absent.
        clock: Dates leftovers of dead processes, which are removed at opening.

    Raises:
        StorageError: The directory is absent and ``create`` is false, or it cannot be used.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, create: bool = False, clock: Clock | None = None
    ) -> None:
        self._path = os.path.abspath(path)
        self._durable: set[tuple[str, int]] = set()
        if create:
            self._make_root()
        # A folder that may only be read keeps its leftovers.
        with self._root() as root, suppress(StorageError), posix.translated(TEMPORARY):
            self._sweep(root, (clock or SystemClock()).now() - LEFTOVER_AGE)

    @property
    def location(self) -> str:
        """Where this store is, for people: a ``file:`` URL."""
        return Path(self._path).as_uri()

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under ``key``.

        Raises:
            ObjectExistsError: Other bytes have this name already; they were not changed.
        """
        view = _flat(data)
        if not self._store(checked_key(key), view) and not self._same(key, view):
            raise ObjectExistsError(f"other bytes have this name already: {key}", key=key)

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under ``key`` only if no object has that name.

        Raises:
            ObjectExistsError: The name is taken; nothing was changed.
        """
        if not self._store(checked_key(key), _flat(data)):
            raise ObjectExistsError(f"an object of this name exists: {key}", key=key)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return ``length`` bytes from ``offset``, or to the end when ``None``.

        Raises:
            StorageError: Fewer than ``length`` bytes exist.
        """
        check_span(checked_key(key), offset, length)
        with posix.translated(key), self._object(key) as (descriptor, status):
            rest = max(0, status.st_size - offset)
            point("storage.folder.get")
            data = bytearray(rest if length is None else min(length, rest))
            done = posix.read_exactly(descriptor, memoryview(data), offset)
            if done != (rest if length is None else length):
                raise StorageError(_ENDS_EARLY.format(key), key=key)
            return bytes(data)

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        """Fill ``into`` with the bytes that start at ``offset``.

        Raises:
            StorageError: The object ends before ``into`` is full.
        """
        check_span(checked_key(key), offset, None)
        view = into.cast("B")
        with posix.translated(key), self._object(key) as (descriptor, _):
            point("storage.folder.read_into")
            if posix.read_exactly(descriptor, view, offset) != len(view):
                raise StorageError(_ENDS_EARLY.format(key), key=key)

    def info(self, key: str) -> ObjectInfo:
        """Describe one object.

        Raises:
            ObjectNotFoundError: No such object.
            StorageError: Something other than an object has this name.
        """
        parent, name = _split(checked_key(key))
        with posix.translated(key), self._root() as root, self._directory(root, parent) as at:
            point("storage.folder.info")
            status = os.stat(name, dir_fd=at, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            raise ObjectNotFoundError(f"no such object: {key}", key=key)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(posix.NOT_AN_OBJECT.format(key), hint=posix.INTRUDER, key=key)
        return info_from(key, status)

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects in key order; memory holds one directory of each level."""
        top, _ = _split(checked_prefix(prefix))
        with posix.translated(prefix), self._root() as root:
            point("storage.folder.entries")
            try:
                with self._directory(root, top) as at:
                    level = Level(at, f"{top}/" if top else "")
                    yield from walk(level, prefix, start_after)
            except (FileNotFoundError, NotADirectoryError):
                return  # no directory of this name: no object either

    def delete(self, key: str) -> None:
        """Remove the object, and the directories that this leaves empty.

        Raises:
            StorageDeniedError: The rights of the folder forbid it.
        """
        parent, name = _split(checked_key(key))
        with posix.translated(key), self._root() as root:
            point("storage.folder.delete")
            with (
                suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError),
                self._directory(root, parent) as at,
            ):
                os.unlink(name, dir_fd=at)
            point("storage.folder.deleted")
            with suppress(OSError):  # not empty, or not ours to remove: it stays
                while parent:
                    above, name = _split(parent)
                    with self._directory(root, above) as at:
                        os.rmdir(name, dir_fd=at)
                    parent = above

    # -- the root and what is below it

    def _make_root(self) -> None:
        with posix.translated(self._path):
            missing = []
            path = self._path
            while not os.path.isdir(path):
                missing.append(path)
                path = os.path.dirname(path)
            for path in reversed(missing):
                point("storage.folder.make_root")
                with suppress(FileExistsError):
                    os.mkdir(path, posix.DIRECTORY_MODE)
                above = posix.open_directory(os.path.dirname(path))  # which may be a link
                try:
                    os.fsync(above)
                finally:
                    os.close(above)

    @contextmanager
    def _root(self) -> Iterator[int]:
        # Opened anew for each call, so that a disk that went away is noticed.
        try:
            with posix.translated(self._path):
                root = posix.open_directory(self._path)
        except ObjectNotFoundError as error:
            raise StorageError(
                f"no such folder: {self._path}",
                hint="Mount the disk, correct the path, or make a new repository there.",
            ) from error
        try:
            yield root
        finally:
            os.close(root)

    @contextmanager
    def _directory(self, root: int, path: str, *, make: bool = False) -> Iterator[int]:
        """Walk from ``root`` to the directory ``path``, one part at a time, through no link."""
        at = os.dup(root)
        try:
            walked = ""
            for part in path.split("/") if path else ():
                walked = f"{walked}/{part}"
                below = self._step(at, part, walked) if make else posix.open_directory(part, at=at)
                os.close(at)
                at = below
            yield at
        finally:
            os.close(at)

    def _step(self, at: int, part: str, path: str) -> int:
        """Enter a directory, making it if need be; its name is durable before it is used.

        An existing directory may be one that another process has only just made, so it is
        synced too, once for each directory and store. One that is made here is always synced:
        it may have the inode number of one that was removed.
        """
        try:
            os.mkdir(part, posix.DIRECTORY_MODE, dir_fd=at)
            made = True
        except FileExistsError:
            made = False
        below = posix.open_directory(part, at=at)
        try:
            seen = (path, os.fstat(below).st_ino)
            if made or seen not in self._durable:
                point("storage.folder.directory_made")
                os.fsync(at)
                self._durable.add(seen)
        except BaseException:
            os.close(below)
            raise
        return below

    @contextmanager
    def _object(self, key: str) -> Iterator[tuple[int, os.stat_result]]:
        parent, name = _split(key)
        with (
            self._root() as root,
            self._directory(root, parent) as at,
            posix.opened_object(key, name, at=at) as opened,
        ):
            yield opened

    # -- writing

    def _store(self, key: str, data: memoryview) -> bool:
        """Write and publish one object; return false when its name is taken.

        Raises:
            StorageError: A part of the name is an object, so this cannot be one.
            StorageUnavailableError: Somebody removed what was being written.
        """
        with posix.translated(key), self._root() as root:
            point("storage.folder.begin")
            try:
                with self._unfinished(root) as unfinished:
                    posix.write_all(unfinished.descriptor, data)
                    point("storage.folder.written")
                    stored = self._publish(root, unfinished, key)
            except FileNotFoundError as error:
                raise StorageUnavailableError(
                    f"the folder changed while {key} was written", key=key
                ) from error
            except NotADirectoryError as error:
                raise StorageError(
                    f"a part of this name is not a directory: {key}", key=key
                ) from error
            point("storage.folder.end")
            return stored

    @contextmanager
    def _unfinished(self, root: int) -> Iterator[_Unfinished]:
        # The lock tells a living writer's file from a dead one's (see _sweep). A sweeper may
        # come between making and locking; then the name is gone, and another one is made.
        with self._directory(root, TEMPORARY, make=True) as directory:
            while True:
                name = secrets.token_hex(16)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with posix.opened(name, flags, at=directory, mode=posix.FILE_MODE) as descriptor:
                    try:
                        posix.lock(descriptor)
                        if os.fstat(descriptor).st_nlink == 0:
                            continue
                        point("storage.folder.write")
                        yield _Unfinished(directory, name, descriptor)
                        return
                    finally:
                        with suppress(OSError):  # never hides the first error; swept later
                            os.unlink(name, dir_fd=directory)

    def _publish(self, root: int, unfinished: _Unfinished, key: str) -> bool:
        # Returns false when the name is taken.
        parent, last = _split(key)
        attempt = 1
        while True:
            try:
                with self._directory(root, parent, make=True) as at:
                    point("storage.folder.link")
                    if not posix.linked(
                        unfinished.descriptor, unfinished.name, last, at=unfinished.directory, to=at
                    ):
                        return False
                    _settle(at, key)
                    return True
            except FileNotFoundError:  # a deleter removed the emptied directory: make it again
                if attempt == _ATTEMPTS:
                    raise
                attempt += 1

    def _same(self, key: str, data: memoryview) -> bool:
        """Compare with what is stored, and make that durable: its writer may have died."""
        parent, _ = _split(key)
        # What is gone again, or is a directory, is not the same.
        with (
            suppress(ObjectNotFoundError),
            posix.translated(key),
            self._root() as root,
            self._directory(root, parent) as at,
        ):
            with self._object(key) as (descriptor, status):
                stored = bytearray(len(data))
                if status.st_size != len(data):
                    return False
                posix.read_exactly(descriptor, memoryview(stored), 0)
            os.fsync(at)
            return stored == data
        return False

    def _sweep(self, root: int, before: datetime) -> None:
        """Remove what dead processes left, as far as the rights allow."""
        with suppress(FileNotFoundError), self._directory(root, TEMPORARY) as temporary:
            with os.scandir(temporary) as found:
                names = [entry.name for entry in found]
            for name in names:
                with (
                    suppress(FileNotFoundError, StorageError),
                    posix.opened_object(name, name, at=temporary) as (descriptor, status),
                ):
                    if modified_at(status) < before or posix.lock(descriptor, wait=False):
                        point("storage.folder.sweep")
                        os.unlink(name, dir_fd=temporary)


def _flat(data: bytes | bytearray | memoryview) -> memoryview:
    return memoryview(data).cast("B")


def _split(key: str) -> tuple[str, str]:
    """Return the directory of a key, empty at the top, and the name in it."""
    parent, _, name = key.rpartition("/")
    return parent, name


def _settle(at: int, key: str) -> None:
    """Make the new name durable.

    Raises:
        StorageUnavailableError: The object can be seen, but may not survive a power cut.
    """
    try:
        point("storage.folder.linked")
        os.fsync(at)
        point("storage.folder.settled")
    except OSError as error:
        raise StorageUnavailableError(
            f"unknown whether {key} is durable: {error.strerror}", key=key
        ) from error
