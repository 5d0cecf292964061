"""Where a ledger may live: in a private directory, as a plain file, on a local file system.

SQLite's locks are only as good as the file system's, and network file systems are where they are
not (sqlite.org/howtocorrupt.html, section 2.1). The directory is checked because whoever may
write to it may put another file, or a false rollback journal, in the ledger's place.

No function here opens the ledger itself: closing any descriptor of a file drops all POSIX locks
that the process has on it, also those of a ledger open in another thread (same page, 2.2).
"""

import errno
import os
import stat
from typing import NoReturn

from drkeeper import directories
from drkeeper.errors import LedgerError, NoSpaceError
from drkeeper.faults import point

MOUNTS = "/proc/self/mountinfo"
"""Source: proc_pid_mountinfo(5)."""

_FILE_MODE = 0o600

_NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "coda", "ceph", "lustre"),
        *("gpfs", "beegfs", "orangefs", "pvfs2", "gfs2", "ocfs2"),
        *("9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs"),
    }
)
"""Types whose locks or flushes do not, or not always, reach other users of the same file."""

_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.ntfs-3g"})
"""FUSE types known to be a local disk; any other may be anything."""


def prepare(path: str, *, make: bool = True) -> str:
    """Make the directory of a ledger if need be, and return the ledger's real path.

    Args:
        path: As the operator named it.
        make: Whether a missing directory is made.

    Raises:
        LedgerError: The place is not fit for a ledger.
        NoSpaceError: The directory cannot be made for want of space.
    """
    directory, name = os.path.split(os.path.abspath(path))
    if make and not os.path.isdir(directory):
        point("ledger.place.making_directory")
        try:
            directories.make_private(directory)
        except OSError as error:
            refuse("directory of the ledger cannot be made", directory, error)
        point("ledger.place.directory_made")
    return os.path.join(os.path.realpath(directory), name)


def find(path: str) -> str:
    """Return the real path of a ledger that is there, in a place that is fit for it.

    Raises:
        LedgerError: There is none; or as for :func:`check`.
    """
    real = prepare(path, make=False)
    if not check(real):
        raise LedgerError(f"there is no ledger: {real}", hint="Check the state directory's path.")
    return real


def check(path: str, *, mounts: str = MOUNTS) -> bool:
    """Check the ledger's place and say whether there is a file, without opening it.

    Raises:
        LedgerError: The place, or what lies there, is not fit for a ledger.
    """
    directory = os.path.dirname(path)
    try:
        _check_directory(directory)
        _check_file_system(directory, mounts)
        return _check_file(path)
    except OSError as error:
        refuse("ledger cannot be looked at", path, error)


def refuse(message: str, path: str, error: OSError) -> NoReturn:
    """Raise our error for what the system said about a place.

    Raises:
        NoSpaceError: The file system, or the user's share of it, is full.
        LedgerError: Anything else.
    """
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        raise NoSpaceError(
            "no space for the ledger",
            hint="Free space on the file system that holds the ledger.",
            path=path,
        ) from error
    raise LedgerError(
        f"{message}: {path}: {os.strerror(error.errno or 0).lower()}",
        hint="Check the path of the state directory and the rights of this user.",
        path=path,
    ) from error


def sync_directory(directory: str) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_directory(directory: str) -> None:
    mode = os.stat(directory).st_mode
    if mode & 0o022:
        raise LedgerError(
            f"directory of the ledger may be written to by other users: {directory}",
            hint=f"Run chmod 700 {directory}.",
            path=directory,
        )


def _check_file(path: str) -> bool:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise LedgerError(
            f"ledger is not a plain file: {path}",
            hint="Name the file itself, not a symbolic link to it.",
            path=path,
        )
    if status.st_size == 0:
        # A ledger appears under its name only when it is whole; an empty one has lost everything.
        raise LedgerError(
            f"ledger is empty, its content was lost: {path}",
            hint="Put the last good copy in its place, or move the file away to begin anew.",
            path=path,
        )
    return True


def tighten(path: str) -> None:
    """Take the rights of group and others from the ledger, should they have any.

    Raises:
        LedgerError: The rights are too wide and cannot be changed.
    """
    try:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        if mode & 0o077:
            os.chmod(path, _FILE_MODE)
    except OSError as error:
        refuse("rights of the ledger cannot be changed", path, error)


def make_file(path: str) -> None:
    """Make an empty file that only its owner may read."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    os.close(os.open(path, flags, _FILE_MODE))


def _check_file_system(directory: str, mounts: str) -> None:
    try:
        with open(mounts, "rb") as file:
            table = file.read()
    except FileNotFoundError:
        return  # no /proc: nothing to know, and no reason to suspect a network
    kind = network_file_system(table, os.fsencode(directory))
    if kind is not None:
        raise LedgerError(
            f"ledger lies on a network file system ({kind}): {directory}",
            hint="Put the state directory on a local disk.",
            path=directory,
            file_system=kind,
        )


def network_file_system(mounts: bytes, path: bytes) -> str | None:
    """Return the type of the file system of ``path`` if it is one that locks badly.

    Args:
        mounts: Content of /proc/self/mountinfo.
        path: Real absolute path of a directory.

    Source:
        proc_pid_mountinfo(5): field 5 is the mount point, the field after the dash the type.
    """
    best, kind = b"", ""
    for line in mounts.split(b"\n"):
        left, _, right = line.partition(b" - ")
        fields, rest = left.split(b" "), right.split(b" ")
        place = _unescaped(b"".join(fields[4:5]))
        inside = path == place or path.startswith(place.rstrip(b"/") + b"/")
        if inside and len(place) >= len(best):  # of equals the later one lies on top
            best, kind = place, rest[0].decode("ascii", "replace")
    fuse = (kind == "fuse" or kind.startswith("fuse.")) and kind not in _LOCAL_FUSE
    return kind if fuse or kind in _NETWORK else None


def _unescaped(field: bytes) -> bytes:
    """Undo the octal escapes of blank, tab, newline and backslash."""
    head, *parts = field.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts)
