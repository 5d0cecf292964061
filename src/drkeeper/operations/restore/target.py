"""The directory a restore writes into, and the only way in.

The root is opened once. Everything below it is reached one component at a time through
descriptors that are held, or by ``openat2`` with rules that allow neither ``..`` nor symbolic
links nor the magic links of ``/proc``. So whatever another process renames or replaces while the
restore runs, no name is ever looked up outside of the root. Mount points below the root are
followed: only root can make them, and live trees have them.

Source: docs/restore.md, "What a restore never does".
"""

import errno
import fcntl
import itertools
import os
import secrets
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from drkeeper.errors import TargetError
from drkeeper.faults import point
from drkeeper.operations.restore import syscalls
from drkeeper.operations.restore.printable import printable

_RULES = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""For one component: never through a link, never anything but a directory."""

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""The same for a file that is read; a FIFO in its place keeps nobody waiting."""

_LONGEST = 4000
"""The kernel takes paths shorter than 4096 bytes; trees can be deeper than that.

Source:
    PATH_MAX, include/uapi/linux/limits.h.
"""

TEMPORARY = b".drkeeper-"
"""How every unfinished name starts; a run number of 8 and a counter of 8 hex digits follow."""

Resolver = Callable[[int, bytes, int], int]
"""Opens a path below a descriptor with the given flags, following nothing."""


def resolve_by_kernel(root: int, path: bytes, flags: int) -> int:
    """Open ``path`` below ``root`` with one openat2."""
    return syscalls.openat2(path, flags | os.O_NOFOLLOW, _RULES, dir_fd=root)


def resolve_by_component(root: int, path: bytes, flags: int) -> int:
    """Open ``path`` below ``root`` one component at a time, for kernels before 5.6.

    Raises:
        OSError: It is not there, or a component is a link or leads up.
    """
    *above, name = path.split(b"/")
    if any(component in {b"", b".", b".."} for component in (*above, name)) and path != b".":
        raise OSError(errno.EXDEV, "not a path below the root", path)
    held = root
    try:
        for component in above:
            inner = os.open(component, OPEN_DIRECTORY, dir_fd=held)
            if held != root:
                os.close(held)
            held = inner
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
    finally:
        if held != root:
            os.close(held)


def best_resolver() -> Resolver:
    """Return the kernel's own way when it has one."""
    return resolve_by_kernel if syscalls.has_openat2() else resolve_by_component


class Directory:
    """A held directory descriptor, shared by the thread that writes and those that read back."""

    __slots__ = ("_lock", "_users", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._users = 1
        self._lock = threading.Lock()

    def retain(self) -> "Directory":
        """Keep the descriptor open for one more user."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """Give the descriptor back; the last user closes it."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            os.close(self.fd)


class Names:
    """Temporary names of one run; unguessable before the first, never used twice."""

    def __init__(self) -> None:
        self.run = secrets.token_hex(4).encode()
        self._prefix = TEMPORARY + self.run
        # One step of it cannot be interrupted by another thread.
        self._count = itertools.count(secrets.randbits(31))

    def next(self) -> bytes:
        """Return a name for something unfinished."""
        return b"%b%08x" % (self._prefix, next(self._count) & 0xFFFFFFFF)


class Target:
    """An open and locked target.

    Attributes:
        root: Descriptor of the directory.
        fresh: Nothing was in it when it was opened.
        created: This run made it.
        names: Temporary names for this run.
    """

    def __init__(self, root: int, path: bytes, *, made: list[bytes], resolver: Resolver) -> None:
        self.root = root
        self.path = path
        self.created = bool(made) and made[-1] == path
        self._made = made
        self.names = Names()
        self._resolve = resolver
        try:
            fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(root)
            raise TargetError(
                f"another restore is writing to {printable(path)}",
                hint="Wait for it to end, or restore to another directory.",
            ) from error
        with os.scandir(root) as names:
            self.fresh = next(names, None) is None

    @classmethod
    def open(cls, path: bytes, *, resolver: Resolver | None = None) -> Self:
        """Open the directory, made with mode 0700 when absent.

        Raises:
            TargetError: It cannot be made or opened, or another restore holds it.
        """
        made: list[bytes] = []
        try:
            point("operations.restore.target.create")
            made = _make(path)
            # Not through a link either: whoever can put one there chooses where we write.
            root = os.open(path, OPEN_DIRECTORY)
        except OSError as error:
            if os.path.islink(path):
                raise TargetError(
                    f"{printable(path)} is a symbolic link",
                    hint="Name the directory that it points to.",
                ) from error
            raise TargetError(
                f"cannot use {printable(path)} as a target: {error.strerror}",
                hint="Choose a directory that you may write to with --to.",
            ) from error
        return cls(root, path, made=made, resolver=resolver or best_resolver())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.root)
        if error is not None:  # a restore that was refused leaves nothing, not even the place
            with suppress(OSError):
                for each in reversed(self._made):
                    os.rmdir(each)

    def open_path(self, path: bytes, flags: int) -> int:
        """Open something below the root by its whole path; the caller closes it.

        Raises:
            OSError: It is not there, or the way to it is not made of directories only.
        """
        if len(path) > _LONGEST:
            return resolve_by_component(self.root, path, flags)
        return self._resolve(self.root, path, flags)

    def open_file(self, path: bytes) -> int | None:
        """Open an existing regular file for reading; ``None`` when there is no such file.

        Raises:
            OSError: It is there and cannot be read.
        """
        try:
            fd = self.open_path(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EXDEV}:
                return None
            raise
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        return None


def _make(path: bytes) -> list[bytes]:
    """Make a directory and those above it; return those that were missing, from the top.

    Raises:
        OSError: One of them cannot be made.
    """
    missing = []
    above = path
    while above and not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above.rstrip(b"/"))
    made = []
    for each in reversed(missing):
        with suppress(FileExistsError):  # somebody else made it just now
            os.mkdir(each, 0o700)
            made.append(each)
    return made


def lookup(directory: int, name: bytes) -> os.stat_result | None:
    """Return what is under a name in a directory, itself and not what it points to."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def remove_tree(directory: int, name: bytes, device: int) -> None:
    """Remove a name with all that is below it, without following links or leaving the device.

    Raises:
        OSError: Something could not be removed, or is a mount point.
        PermissionError: The same.
    """
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        pass
    except PermissionError:  # what POSIX says unlink answers for a directory
        found = lookup(directory, name)
        if found is None or not stat.S_ISDIR(found.st_mode):
            raise
    else:
        return
    inner = os.open(name, OPEN_DIRECTORY, dir_fd=directory)
    try:
        if os.fstat(inner).st_dev != device:
            raise OSError(errno.EXDEV, "is a mount point", name)
        with os.scandir(inner) as entries:
            below = [os.fsencode(entry.name) for entry in entries]
        for each in below:
            remove_tree(inner, each, device)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=directory)


def unlink_quietly(directory: int, name: bytes) -> None:
    """Remove a temporary name while something else is already going wrong."""
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)
