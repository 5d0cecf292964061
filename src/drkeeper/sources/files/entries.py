"""From what the kernel says to entries of a manifest."""

import os
import stat

from drkeeper.model.entry import NO_EXTRA, Entry, EntryFlag, Extra, FileType
from drkeeper.sources.files.extras import NOTHING, Extras
from drkeeper.sources.files.reading import Segments

FORMAT = 0o170000
"""The bits of a mode that tell the type; ``stat.S_IFMT`` as a mask, for loops."""

TYPES = {
    stat.S_IFREG: int(FileType.FILE),
    stat.S_IFDIR: int(FileType.DIRECTORY),
    stat.S_IFLNK: int(FileType.SYMLINK),
    stat.S_IFIFO: int(FileType.FIFO),
    stat.S_IFSOCK: int(FileType.SOCKET),
    stat.S_IFCHR: int(FileType.CHARACTER),
    stat.S_IFBLK: int(FileType.BLOCK),
}
"""The ``FileType`` of each type the kernel knows."""

_MODE = 0o7777
_RACY = int(EntryFlag.RACY)
_DEVICES = frozenset({stat.S_IFCHR, stat.S_IFBLK})


def entry_of(
    path: bytes, status: os.stat_result, extra: Extra, digest: bytes = b"", *, size: int = 0
) -> Entry:
    """Return the entry of a path, without extents."""
    mode = status.st_mode
    return Entry(
        path,
        TYPES[mode & FORMAT],
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


def extra_of(
    status: os.stat_result,
    extras: Extras,
    flags: int,
    *,
    target: bytes = b"",
    segments: Segments | None = None,
) -> Extra:
    """Return what is to be said of a path besides its ``stat``.

    Args:
        status: Of the path.
        extras: Of the path.
        flags: ``EntryFlag`` bits besides those of ``extras``.
        target: As in ``Extra``.
        segments: As in ``Extra``.
    """
    flags |= extras.flags
    major = minor = 0
    if status.st_mode & FORMAT in _DEVICES:
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    elif extras is NOTHING and not flags and not target and segments is None:
        return NO_EXTRA
    return Extra(
        target, extras.xattrs, segments, major, minor, flags, extras.fsflags, extras.project
    )
