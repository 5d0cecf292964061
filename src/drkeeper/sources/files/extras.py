"""What ``stat`` does not tell: extended attributes, inode flags, project ids."""

import errno
import os
import struct
from fcntl import ioctl
from typing import NamedTuple

from drkeeper.model.entry import EntryFlag

_NOT_HERE = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})

_GET_FLAGS = 0x80006601 | struct.calcsize("l") << 16
"""FS_IOC_GETFLAGS. Source: linux/fs.h, ``_IOR('f', 1, long)``."""

_GET_XATTR = 0x801C581F
"""FS_IOC_FSGETXATTR. Source: linux/fs.h, ``_IOR('X', 31, struct fsxattr)``."""

_FSXATTR_BYTES = 28
_LONG_BYTES = 8
_unpack_long = struct.Struct("=I").unpack_from  # the kernel writes 32 bits, whatever _IOR says
_unpack_project = struct.Struct("=I").unpack_from  # fsx_projid, the fourth number of fsxattr

KEPT_FLAGS = 0x6283C0FF
"""Inode flags worth restoring: those that a user can set.

Source:
    linux/fs.h, FS_*_FL: SECRM, UNRM, COMPR, SYNC, IMMUTABLE, APPEND, NODUMP, NOATIME, JOURNAL_DATA,
    NOTAIL, DIRSYNC, TOPDIR, NOCOW, DAX, PROJINHERIT, CASEFOLD. The rest (extents, index, inline
    data, encryption, verity...) tells how one file system stores one file.
"""

_UNREADABLE = int(EntryFlag.EXTRAS_UNREADABLE)


class Extras(NamedTuple):
    """What ``stat`` does not tell about one path.

    Attributes:
        xattrs: As in ``Extra``.
        fsflags: As in ``Extra``.
        project: As in ``Extra``.
        flags: ``EntryFlag.EXTRAS_UNREADABLE`` when some of it could not be read.
    """

    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    fsflags: int = 0
    project: int = 0
    flags: int = 0


NOTHING = Extras()


class ExtrasReader:
    """Reads extras of one kind of thing, files or directories.

    What a whole file system turns out not to know is not asked again: some overlays know inode
    flags of files but not of directories, hence one reader for each.
    """

    def __init__(self) -> None:
        self._no_xattrs: set[int] = set()
        self._no_flags: set[int] = set()
        self._no_projects: set[int] = set()

    def read(self, fd: int, device: int) -> Extras:
        """Return the extras of an open file or directory on ``device``."""
        xattrs: tuple[tuple[bytes, bytes], ...] = ()
        fsflags = project = flags = 0
        if device not in self._no_xattrs:
            try:
                if names := os.listxattr(fd):
                    xattrs, flags = _values(fd, names)
            except OSError as error:
                flags = _known(error, self._no_xattrs, device)
        if device not in self._no_flags:
            try:
                # A new buffer each time, since threads share this object; one that can be written
                # to, since ``ioctl`` makes an exception of any other before it tries it.
                ioctl(fd, _GET_FLAGS, answer := bytearray(_LONG_BYTES))
                fsflags = _unpack_long(answer)[0] & KEPT_FLAGS
            except OSError as error:
                flags |= _known(error, self._no_flags, device)
        if device not in self._no_projects:
            try:
                ioctl(fd, _GET_XATTR, answer := bytearray(_FSXATTR_BYTES))
                project = _unpack_project(answer, 12)[0]
            except OSError as error:
                flags |= _known(error, self._no_projects, device)
        if xattrs or fsflags or project or flags:
            return Extras(xattrs, fsflags, project, flags)
        return NOTHING


def read_pinned(fd: int) -> Extras:
    """Return the extended attributes of what an ``O_PATH`` descriptor stands for.

    That is how links, FIFOs, sockets and devices are asked, which must not be opened.

    Source:
        open(2), O_PATH; proc(5): /proc/pid/fd leads to the very thing, and not through it.
    """
    path = f"/proc/self/fd/{fd}"
    try:
        names = os.listxattr(path)
        if not names:
            return NOTHING
        xattrs, flags = _values(path, names)
    except OSError as error:
        return NOTHING if error.errno in _NOT_HERE else Extras(flags=_UNREADABLE)
    return Extras(xattrs, flags=flags)


def _values(where: int | str, names: list[str]) -> tuple[tuple[tuple[bytes, bytes], ...], int]:
    """Read the named attributes; one that is gone by now is left out."""
    found: list[tuple[bytes, bytes]] = []
    flags = 0
    for name in names:
        try:
            found.append((os.fsencode(name), os.getxattr(where, name)))
        except OSError as error:
            if error.errno != errno.ENODATA:
                flags = _UNREADABLE
    return tuple(sorted(found)), flags


def _known(error: OSError, unsupported: set[int], device: int) -> int:
    """Remember what a file system does not support; anything else is a failure to read."""
    if error.errno in _NOT_HERE:
        unsupported.add(device)
        return 0
    return _UNREADABLE
