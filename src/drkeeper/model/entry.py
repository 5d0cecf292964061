"""One line of a manifest: what is known about one path of a source.

The encoding (docs/format.md, "Entries") is MessagePack, array by array, so the order of the
fields below is part of the repository format.
"""

from enum import IntEnum, IntFlag

import msgspec


class FileType(IntEnum):
    """What kind of thing a path is."""

    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2
    FIFO = 3
    SOCKET = 4
    CHARACTER = 5
    BLOCK = 6


class EntryFlag(IntFlag):
    """What a reader of a snapshot should know about an entry; bits of ``Extra.flags``."""

    CHANGED = 1  # the content changed while it was read, three times over
    UNREADABLE = 2  # the content could not be read; only the metadata is here
    RACY = 4  # the file was so young when read that equal times do not prove equal content
    PARENT = 8  # a directory above the source, kept for its metadata only
    EXTRAS_UNREADABLE = 16  # extended attributes could not be read
    CACHE = 32  # a CACHEDIR.TAG directory whose content was left out
    OTHER_FILE_SYSTEM = 64  # a mount point whose content was left out
    CONTINUED = 128  # further extents of the same path follow in the next entry


class Extra(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """What most entries do not have.

    Attributes:
        target: Where a symbolic link points, as stored; may be any bytes.
        xattrs: Extended attributes (ACLs and capabilities among them), sorted by name.
        segments: For a sparse file, the (offset, length) of each run of data, in order; the
            extents then hold these runs one after the other. ``None`` means no holes.
        major: Device number of a character or block device.
        minor: Device number of a character or block device.
        flags: ``EntryFlag`` bits.
        fsflags: Inode flags as ``FS_IOC_GETFLAGS`` gives them (immutable, append-only...).
        project: Project id for quotas; 0 means none.
    """

    target: bytes = msgspec.field(default=b"", name="t")
    xattrs: tuple[tuple[bytes, bytes], ...] = msgspec.field(default=(), name="x")
    segments: tuple[tuple[int, int], ...] | None = msgspec.field(default=None, name="s")
    major: int = msgspec.field(default=0, name="a")
    minor: int = msgspec.field(default=0, name="i")
    flags: int = msgspec.field(default=0, name="f")
    fsflags: int = msgspec.field(default=0, name="g")
    project: int = msgspec.field(default=0, name="p")


NO_EXTRA = Extra()


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One path of a source, its metadata, and where its content is.

    Attributes:
        path: Absolute path without the leading slash; any bytes but NUL, never empty, no empty,
            ``.`` or ``..`` component.
        type: A ``FileType``, as a number.
        mode: Permission bits, setuid, setgid and sticky (0 to 0o7777).
        uid: Owner's number; the name is in the piece's table.
        gid: Group's number; the name is in the piece's table.
        mtime_ns: Last modification, nanoseconds since the epoch; may be negative.
        ctime_ns: Last change of the inode, nanoseconds since the epoch.
        inode: Inode number at the source.
        device: Device number at the source.
        links: Number of hard links at the source. Entries of one snapshot with ``links > 1``,
            type FILE (or a special file) and equal ``(device, inode)`` are one file.
        size: Logical length in bytes, holes included; 0 for anything but a regular file.
        digest: BLAKE3 of the content (of its data segments when sparse); empty without content.
        extents: Content in order, flat triples: chunk number in the piece's table, offset into
            the plain chunk, length; both in bytes.
        extra: The rest.
    """

    path: bytes
    type: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int
    links: int
    size: int
    digest: bytes = b""
    extents: tuple[int, ...] = ()
    extra: Extra = NO_EXTRA


def sort_key(path: bytes) -> bytes:
    """Return what manifests are sorted by: a directory comes right before its content.

    Comparing with NUL in place of the slash compares component by component.
    """
    return path.replace(b"/", b"\0")
