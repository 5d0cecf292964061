"""Open directories: the only way from one name to the next.

A tree may be deeper than the number of descriptors and longer than ``PATH_MAX``, so only the
deepest directories of the walk stay open. One that was closed is reached again name by name from
the nearest open one above it, and counts as the same only if device and inode are.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from drkeeper.errors import SourceError

HELD = 192
"""Directories open at most, give or take those kept; well below the usual limit of 1,024.

Source: setrlimit(2), RLIMIT_NOFILE; the soft limit of systemd and most shells.
"""

MAX_PATH_BYTES = 32_768
"""Longest path of a directory that is still listed.

Source: eight times PATH_MAX; bounds the memory of a walk into a hostile tree to 256 MiB, since
the paths of all directories above the current one are held.
"""

KEPT = 32
"""Deepest directories that stay open from one batch to the next, and as many above them."""

LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How directories are opened: never through a link."""

_REACH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""How files are opened: never through a link, never waiting for the other end of a FIFO."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Refusals that are no fault of the file."""


@dataclass(slots=True, eq=False)
class Directory:
    """One directory of the walk, and the handle of every candidate directly in it.

    Attributes:
        prefix: What the path of everything in it begins with; kept instead of the path, for a
            deep walk holds thousands.
        above: The directory it is in; ``None`` for the root of the file system.
        fd: Its descriptor, or -1 while closed.
        reach_only: Whether the descriptor can be gone through but not listed (``O_PATH``).
        identity: Device and inode.
        device: The file system the walk stays on.
        base: How many bytes of the path of anything in it lead to the named path.
        names: What of it is still to be walked, sorted.
        walked: Whether all of it is walked, and not only the way to a named path.
        flags: ``EntryFlag`` bits of its own entry.
        cut: Length of ``prefix``.
    """

    prefix: bytes
    above: "Directory | None"
    fd: int
    reach_only: bool
    identity: tuple[int, int]
    device: int = -1
    base: int = 0
    names: Iterator[bytes] = field(default_factory=lambda: iter(()))
    walked: bool = True
    flags: int = 0
    cut: int = field(init=False)

    def __post_init__(self) -> None:
        self.cut = len(self.prefix)

    @property
    def path(self) -> bytes:
        """As in ``Entry.path``; empty for the root of the file system."""
        return self.prefix[:-1]

    @property
    def name(self) -> bytes:
        """The last component of its path."""
        return self.prefix[self.above.cut : -1] if self.above is not None else b""


class Descriptors:
    """Opens directories and closes them in time."""

    def __init__(self) -> None:
        self._open: list[Directory] = []

    @property
    def full(self) -> bool:
        """Whether it is time to end the batch, so that directories can be closed."""
        return len(self._open) >= HELD

    def root(self) -> Directory:
        """Open the root of the file system."""
        fd = os.open("/", _REACH)
        directory = Directory(b"", None, fd, reach_only=True, identity=_identity(fd))
        self._open.append(directory)
        return directory

    def enter(self, above: Directory, path: bytes, *, reach_only: bool = False) -> Directory:
        """Open a directory in another one, for listing when that is allowed.

        Raises:
            OSError: It is gone, or no longer a directory, or cannot even be gone through.
        """
        name = path[above.cut :]
        fd = -1
        if not reach_only:
            try:
                fd = open_quietly(name, LIST, above.fd)
            except PermissionError:
                reach_only = True
        if reach_only:
            fd = os.open(name, _REACH, dir_fd=above.fd)
        directory = Directory(path + b"/", above, fd, reach_only, _identity(fd))
        self._open.append(directory)
        return directory

    def list_root(self, root: Directory) -> None:
        """Open the root of the file system anew, for listing."""
        os.close(root.fd)
        root.fd = -1
        root.fd, root.reach_only = open_quietly(b"/", LIST, -1), False

    def reopen(self, directory: Directory) -> None:
        """Open a directory again that was closed to save descriptors.

        Raises:
            FileNotFoundError: It, or one above it, is not where it was.
            OSError: The same, or it cannot be opened any more.
        """
        chain: list[Directory] = []
        nearest = directory
        while nearest.fd < 0 and nearest.above is not None:
            chain.append(nearest)
            nearest = nearest.above
        opened: list[Directory] = []
        for link in reversed(chain):
            flags = _REACH if link.reach_only else LIST
            fd = open_quietly(link.name, flags, nearest.fd)
            if _identity(fd) != link.identity:
                os.close(fd)
                raise FileNotFoundError(errno.ENOENT, "replaced during the walk")
            link.fd = fd
            self._open.append(link)
            opened.append(link)
            if len(opened) > KEPT:
                self._close(opened.pop(0))
            nearest = link

    def release(self, stack: list[Directory]) -> None:
        """Close everything but the deepest directories of the walk and some on the way to them.

        Those on the way, the root among them, stand at equal distances, so that coming back up
        from any depth costs a bounded number of steps. The distance is a power of two: when it
        grows, the directories that stay are among those that are open.
        """
        distance = 1 << (len(stack) // KEPT).bit_length()
        kept = {id(directory) for directory in [*stack[::distance], *stack[-KEPT:]]}
        for directory in self._open:
            if id(directory) not in kept:
                os.close(directory.fd)
                directory.fd = -1
        self._open = [directory for directory in self._open if directory.fd >= 0]

    def close(self) -> None:
        """Close everything."""
        for directory in self._open:
            os.close(directory.fd)
            directory.fd = -1
        self._open.clear()

    def _close(self, directory: Directory) -> None:
        self._open.remove(directory)
        os.close(directory.fd)
        directory.fd = -1


def open_quietly(name: bytes, flags: int, dir_fd: int) -> int:
    """Open without leaving an access time behind, where that is allowed.

    Raises:
        PermissionError: It may not be opened.
        OSError: It cannot be opened.
        SourceError: The process has no descriptors left, which is no fault of the file.

    Source:
        open(2), O_NOATIME: only for the owner of the file and privileged processes.
    """
    where = None if dir_fd < 0 else dir_fd
    try:
        if flags & os.O_PATH:
            return os.open(name, flags, dir_fd=where)
        try:
            return os.open(name, flags | os.O_NOATIME, dir_fd=where)
        except PermissionError as error:
            if error.errno != errno.EPERM:
                raise
            return os.open(name, flags, dir_fd=where)
    except OSError as error:
        if error.errno in EXHAUSTED:
            give_up(error)
        raise


def give_up(error: OSError) -> NoReturn:
    """End the run of a process that can open nothing more.

    Raises:
        SourceError: Always.
    """
    raise SourceError(
        f"no more files can be opened ({error.strerror})",
        hint="Raise the limit of open files (ulimit -n) and run again.",
    ) from error


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
