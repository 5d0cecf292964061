"""System calls of the folder store: their errors in our words, descriptors, durable writes."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from drkeeper.errors import (
    DrkeeperError,
    NoSpaceError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

DIRECT_BYTES = 1 << 20
"""From this length on the page cache is bypassed.

Source:
    Measured, 16 MiB objects on ext4 with fsync: 2.0 GB/s and 0.2 CPU-seconds a GB through the
    page cache, 3.3 GB/s and 0.04 without it; below a megabyte the difference drowns in fsync.
"""

_ALIGNMENT = 4096
"""Multiple of the logical block size of every common disk (open(2), O_DIRECT)."""

NOT_AN_OBJECT = "not a regular file: {}"
INTRUDER = "Find out who put it there; drkeeper makes only regular files and directories."

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_LATER = frozenset({
    errno.EAGAIN,
    errno.EBUSY,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOTCONN,
    errno.EREMOTEIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
})  # fmt: skip
_NOT_DIRECT = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY})


def error_from(error: OSError, key: str) -> DrkeeperError:
    """Return what ``error`` means to a user of the store."""
    code = errno.errorcode.get(error.errno or 0, "unknown")
    reason = os.strerror(error.errno or 0).lower()
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return ObjectNotFoundError(f"no such object: {key}", key=key)
    if error.errno in _FULL:
        return NoSpaceError(
            f"the folder is full: {reason}",
            hint="Free some space or raise the quota, then run it again.",
            key=key,
        )
    if error.errno in _DENIED:
        return StorageDeniedError(
            f"the folder refused {key or 'the request'}: {reason}",
            hint="Check the owner, the mode and the mount options of the folder.",
            key=key,
        )
    if error.errno in _LATER:
        return StorageUnavailableError(
            f"the folder did not answer for {key or 'the request'}: {reason}",
            hint="Look for disk or network errors in the kernel's log.",
            key=key,
            errno=code,
        )
    return StorageError(
        f"the folder failed for {key or 'the request'}: {reason}", key=key, errno=code
    )


@contextmanager
def translated(key: str) -> Iterator[None]:
    """Turn ``OSError`` into what ``error_from`` makes of it, so that none leaves the adapter."""  # noqa: DOC501 - error_from says which
    try:
        yield
    except OSError as error:
        raise error_from(error, key) from error


@contextmanager
def opened(name: str, flags: int, *, at: int | None = None, mode: int = 0) -> Iterator[int]:
    """Open ``name`` below the directory ``at``, never through a symbolic link, and close it."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_directory(name: str, *, at: int | None = None) -> int:
    """Open a directory for walking and syncing; the caller closes it."""
    no_link = 0 if at is None else os.O_NOFOLLOW  # only the root itself may be a link
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | no_link, dir_fd=at)


@contextmanager
def opened_object(key: str, name: str, *, at: int) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading and say what it is.

    Raises:
        ObjectNotFoundError: It is a directory, which no object is.
        StorageError: It is something that drkeeper never makes.
        OSError: The system's reason.
    """
    # O_NONBLOCK: a FIFO put there by somebody hostile must not hang the reader.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a symbolic link; a socket or a device
            raise StorageError(NOT_AN_OBJECT.format(key), hint=INTRUDER, key=key) from error
        raise
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise ObjectNotFoundError(f"no such object: {key}", key=key)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(NOT_AN_OBJECT.format(key), hint=INTRUDER, key=key)
        yield descriptor, status
    finally:
        os.close(descriptor)


def lock(descriptor: int, *, wait: bool = True) -> bool:
    """Lock an open file against other openings; return whether that worked.

    A file system without locks gives false; nothing depends on the lock but tidiness.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def linked(descriptor: int, name: str, last: str, *, at: int, to: int) -> bool:
    """Give the open file ``name`` of directory ``at`` the name ``last`` in ``to`` as well.

    Returns:
        False when that name is another file's.

    Raises:
        StorageDeniedError: The file system has no hard links.
        OSError: The system's reason.

    Source:
        open(2), "O_EXCL": NFS may do a link, lose the answer, do it again and say that the name is
        taken; so it is looked whose it is.
    """
    try:
        os.link(name, last, src_dir_fd=at, dst_dir_fd=to, follow_symlinks=False)
    except FileExistsError:
        there = os.stat(last, dir_fd=to, follow_symlinks=False)
        return os.path.samestat(os.fstat(descriptor), there)
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise StorageDeniedError(
                "the folder allows no hard links",
                hint="Use a folder on a Linux file system, for example ext4, xfs or btrfs.",
            ) from error
        raise
    return True


def write_all(descriptor: int, data: memoryview) -> None:
    """Write ``data`` to a new file and wait until the disk has it.

    Large data skips the page cache where the file system and the buffer's alignment allow;
    both are found out by trying.
    """
    done = 0
    if len(data) >= DIRECT_BYTES:
        done = _write_direct(descriptor, data[: len(data) // _ALIGNMENT * _ALIGNMENT])
    while done < len(data):
        done += os.write(descriptor, data[done:])
    os.fsync(descriptor)


def _write_direct(descriptor: int, data: memoryview) -> int:
    # Writes as much as goes past the page cache; returns how much that was.
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if not _allowed(lambda: fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)):
        return 0
    done = 0
    try:
        while done < len(data):
            written = os.write(descriptor, data[done:])
            done += written
            if written % _ALIGNMENT:  # the rest would be misaligned
                break
    except OSError as error:
        if error.errno not in _NOT_DIRECT:
            raise
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return done


def _allowed(attempt: Callable[[], object]) -> bool:
    # Runs ``attempt``; returns whether the file system knows how.
    try:
        attempt()
    except OSError as error:
        if error.errno not in _NOT_DIRECT:
            raise
        return False
    return True


def read_exactly(descriptor: int, into: memoryview, offset: int) -> int:
    """Fill ``into`` from ``offset``; return how much of it the file could fill.

    Large aligned reads skip the page cache as large writes do, for the same reason: a backup
    is not read twice, and the cache belongs to the machine's own work.
    """
    done = 0
    if len(into) >= DIRECT_BYTES and offset % _ALIGNMENT == 0:
        done = _read_direct(descriptor, into[: len(into) // _ALIGNMENT * _ALIGNMENT], offset)
    while done < len(into):
        count = os.preadv(descriptor, [into[done:]], offset + done)
        if count == 0:
            break
        done += count
    return done


def _read_direct(descriptor: int, into: memoryview, offset: int) -> int:
    # One attempt is enough: the system shortens a read only at the end of the file.
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if not _allowed(lambda: fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)):
        return 0
    done = 0
    try:
        done = os.preadv(descriptor, [into], offset)
    except OSError as error:
        if error.errno not in _NOT_DIRECT:
            raise
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return done
