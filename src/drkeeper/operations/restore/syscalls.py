"""The few Linux calls that Python's ``os`` lacks; numbers in, numbers or ``OSError`` out."""

import ctypes
import errno
import fcntl
import os
import resource
import struct

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
"""How openat2 may resolve.

Source:
    openat2(2); include/uapi/linux/openat2.h.
"""

_OPENAT2 = 437
"""Number of openat2, the same on every architecture drkeeper runs on.

Source:
    include/uapi/asm-generic/unistd.h.
"""

_GETFLAGS = 0x80086601
_SETFLAGS = 0x40086602
_GETXATTR = 0x801C581F
_SETXATTR = 0x401C5820
"""Inode flags and the extended ones that hold the project id, on 64-bit machines.

Source:
    include/uapi/linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR.
"""

_SETTABLE = 0x208300FC
"""Compressed, synchronous, immutable, append-only, no-dump, no-atime, synchronous directories, top
of a hierarchy, no copy-on-write, inherited project.

Source:
    include/uapi/linux/fs.h, FS_*_FL; FS_FL_USER_MODIFIABLE there is wider.
"""


_XATTR = struct.Struct("=IIIII8x")  # xflags, extsize, nextents, projid, cowextsize, padding

_HOW = struct.Struct("=QQQ")  # struct open_how: flags, mode, resolve

_libc = ctypes.CDLL(None, use_errno=True)


def _fail(what: bytes = b"") -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), what)


def openat2(path: bytes, flags: int, resolve: int, *, dir_fd: int) -> int:
    """Open ``path`` below ``dir_fd`` under the given rules of resolution.

    Raises:
        OSError: ``ENOSYS`` when the kernel does not have the call, ``EXDEV`` or ``ELOOP`` when
            the path breaks a rule, or as for ``open``.
    """
    how = _HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    while True:
        answer: int = _libc.syscall(
            ctypes.c_long(_OPENAT2),
            ctypes.c_int(dir_fd),
            ctypes.c_char_p(path),
            ctypes.c_char_p(how),
            ctypes.c_size_t(_HOW.size),
        )
        if answer >= 0:
            return answer
        # EAGAIN: something was renamed just then and the kernel could not be sure (openat2(2)).
        if ctypes.get_errno() not in {errno.EINTR, errno.EAGAIN}:
            _fail(path)


def has_openat2() -> bool:
    """Whether this kernel (and this sandbox) lets us use openat2."""
    try:
        os.close(openat2(b".", os.O_PATH, RESOLVE_BENEATH, dir_fd=_cwd()))
    except OSError:
        return False
    return True


def _cwd() -> int:
    return -100  # AT_FDCWD


def syncfs(fd: int) -> None:
    """Make everything written to the file system of ``fd`` durable.

    Raises:
        OSError: A write that had been accepted failed since ``fd`` was opened.
    """
    if _libc.syncfs(ctypes.c_int(fd)) != 0:
        _fail()


def preallocate(fd: int, offset: int, length: int) -> None:
    """Reserve space, or do nothing where the file system cannot.

    glibc's ``posix_fallocate`` writes to every block there, which is why it is not used.

    Raises:
        OSError: No space.
    """
    answer = _libc.fallocate64(
        ctypes.c_int(fd), ctypes.c_int(0), ctypes.c_int64(offset), ctypes.c_int64(length)
    )
    if answer != 0 and ctypes.get_errno() in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        _fail()


def change_inode_flags(fd: int, flags: int) -> None:
    """Set what ``chattr`` can set, and leave what only the file system sets.

    Raises:
        OSError: The file system has no such flags, or the right to set them is missing.
    """
    present: int = struct.unpack_from("=I", fcntl.ioctl(fd, _GETFLAGS, bytes(8)))[0]
    fcntl.ioctl(fd, _SETFLAGS, struct.pack("=Q", present & ~_SETTABLE | flags & _SETTABLE))


def set_project(fd: int, project: int) -> None:
    """Set the project id that quotas count by."""
    xflags, extsize, extents, _old, cow = _XATTR.unpack(fcntl.ioctl(fd, _GETXATTR, bytes(28)))
    fcntl.ioctl(fd, _SETXATTR, _XATTR.pack(xflags, extsize, extents, project, cow))


def allow_descriptors() -> int:
    """Let this process hold as many descriptors as it may, and return how many that is.

    Source:
        setrlimit(2), RLIMIT_NOFILE: the soft limit is kept low for programs that use select(2); any
        process may raise it to the hard limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
