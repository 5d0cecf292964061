"""Trees of test files that hold everything a source tree can hold.

``build_everything`` makes one of each; what this machine or user cannot make is named in its
answer, so that a test can say so instead of passing quietly.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

YEAR_1965_NS = -157_766_400_000_000_001
YEAR_2030_NS = 1_893_553_445_123_456_789

EVERY_BYTE = bytes(set(range(1, 256)) - {ord("/")})
"""A name with every byte that a name may hold."""

DEEP_LEVELS = 45
DEEP_NAME = b"d" * 100
"""Levels and names of the deep branch; together longer than PATH_MAX."""

MIB = 1024 * 1024


def build_everything(root: Path, *, privileged: bool, immutable: bool = False) -> list[str]:
    """Fill the existing, empty directory ``root``.

    Args:
        root: Where to build.
        privileged: Whether to try what only root can make: devices, owners, capabilities,
            ``trusted.*`` and ``security.*`` attributes.
        immutable: Whether to leave an immutable and an append-only file behind; the caller must
            then call ``release`` before removing the tree.

    Returns:
        What could not be made, and why, one line each; empty when everything is there.
    """
    builders: list[tuple[str, Callable[[bytes], None]]] = [
        ("names of any bytes", _names),
        ("sizes around every limit", _sizes),
        ("permission bits", _modes),
        ("times", _times),
        ("symbolic links", _symlinks),
        ("symbolic link as long as a path can be", _longest_symlink),
        ("hard links", _hard_links),
        ("FIFO", _fifo),
        ("socket", _socket),
        ("holes", _holes),
        ("user extended attributes", _user_xattrs),
        ("ACLs", _acls),
        ("inode flags", _inode_flags),
        ("directories, deep", _deep),
        ("directories, wide", _wide),
        ("directories, empty and closed", _directories),
        ("tagged cache", _cache),
        ("signs of databases", _databases),
    ]
    if privileged:
        builders += [
            ("owners", _owners),
            ("devices", _devices),
            ("capabilities", _capabilities),
            ("privileged extended attributes", _privileged_xattrs),
            ("project id", _project),
        ]
    if immutable:
        builders.append(("immutable and append-only files", _immutable))
    missing = []
    for what, build in builders:
        try:
            build(os.fsencode(root))
        except (OSError, subprocess.CalledProcessError, LookupError) as error:
            missing.append(f"{what}: {error}"[:200])
    os.utime(root, ns=(YEAR_2030_NS, YEAR_2030_NS - 1))
    return missing


def release(root: Path) -> None:
    """Take back what keeps a tree from being removed."""
    subprocess.run(["chattr", "-R", "-f", "-i", "-a", root], check=False)


def write(path: bytes, data: bytes = b"") -> None:
    with open(path, "wb") as file:
        file.write(data)


def _names(root: bytes) -> None:
    folder = root + b"/names"
    os.mkdir(folder)
    write(folder + b"/" + EVERY_BYTE, b"every byte")
    for byte in EVERY_BYTE:
        write(folder + b"/byte-%02x-" % byte + bytes([byte]), b"%d" % byte)
    for name in (
        b"-rf", b"--help", b" ", b" leading", b"trailing ", b"...", b"~", b"*", b"\\", b"new\nline",
        b"a", b"a.b", b"a b", b"A", b"\xc3\xa9t\xc3\xa9", b"e\xcc\x81te\xcc\x81", b"\xff\xfe", b"\xed\xb2\x80",
        b"\xf0\x9f\x92\xbe", b"n" * 255, b"CON", b"x:y", b".hidden", b"\x1b[31mred\x1b[0m",
    ):  # fmt: skip
        write(folder + b"/" + name, name)
    os.mkdir(folder + b"/a-dir")  # sorts between "a" and "a.b" only if components are compared
    write(folder + b"/a-dir/z")
    write(folder + b"/a-dir.txt")


def _sizes(root: bytes) -> None:
    folder = root + b"/sizes"
    os.mkdir(folder)
    block = bytes(range(256)) * 4096
    for size in (0, 1, 511, 512, 513, 4095, 4096, 4097, 65536, 262143, 262144, 262145, MIB):
        write(folder + b"/%d" % size, block[:size])
    write(folder + b"/large", b"".join(i.to_bytes(4, "big") for i in range(MIB)))


def _modes(root: bytes) -> None:
    folder = root + b"/modes"
    os.mkdir(folder)
    for mode in (0o000, 0o400, 0o644, 0o666, 0o755, 0o777, 0o4755, 0o2755, 0o1777, 0o7777):
        write(folder + b"/file-%04o" % mode)
        os.chmod(folder + b"/file-%04o" % mode, mode)
    for mode in (0o700, 0o755, 0o1777, 0o2775):
        os.mkdir(folder + b"/dir-%04o" % mode)
        os.chmod(folder + b"/dir-%04o" % mode, mode)


def _times(root: bytes) -> None:
    folder = root + b"/times"
    os.mkdir(folder)
    for name, at in (
        (b"nanosecond", YEAR_2030_NS),
        (b"before-1970", YEAR_1965_NS),
        (b"zero", 0),
        (b"minus-one-ns", -1),
        (b"after-2038", 2**31 * 10**9 + 999_999_999),
    ):
        write(folder + b"/" + name, name)
        os.utime(folder + b"/" + name, ns=(at, at))
    os.mkdir(folder + b"/directory")
    write(folder + b"/directory/inside")
    os.symlink(b"nowhere", folder + b"/link")
    for name in (b"directory", b"link"):
        os.utime(folder + b"/" + name, ns=(5, YEAR_1965_NS), follow_symlinks=False)


def _symlinks(root: bytes) -> None:
    folder = root + b"/symlinks"
    os.mkdir(folder)
    write(folder + b"/target", b"pointed at")
    for name, target in (
        (b"relative", b"target"),
        (b"dangling", b"no/such/thing"),
        (b"absolute", b"/etc/passwd"),
        (b"up", b"../../../../../../etc/shadow"),
        (b"to-directory", b"../names"),
        (b"loop", b"loop"),
        (b"any-bytes", b"\xff\n " + EVERY_BYTE),
        (b"long", b"x" * 1023),  # the most that xfs takes
    ):
        os.symlink(target, folder + b"/" + name)


def _longest_symlink(root: bytes) -> None:
    os.symlink(b"x" * 4095, root + b"/longest-symlink")


def _hard_links(root: bytes) -> None:
    folder = root + b"/hard-links"
    os.makedirs(folder + b"/further")
    write(folder + b"/small", b"one content, three names")
    os.link(folder + b"/small", folder + b"/small-again")
    os.link(folder + b"/small", folder + b"/further/small")
    write(folder + b"/large", os.urandom(MIB))
    os.link(folder + b"/large", folder + b"/further/large")
    write(folder + b"/half-outside", b"its other name is far away")
    os.link(folder + b"/half-outside", root + b"/zz-half-outside")
    os.symlink(b"small", folder + b"/link")
    os.link(folder + b"/link", folder + b"/link-again", follow_symlinks=False)
    os.mkfifo(folder + b"/fifo")
    os.link(folder + b"/fifo", folder + b"/fifo-again")


def _fifo(root: bytes) -> None:
    os.mkfifo(root + b"/fifo", 0o620)


def _socket(root: bytes) -> None:
    folder = os.open(root, os.O_RDONLY)  # a socket's path is short; reach it through the descriptor
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/socket")
    finally:
        os.close(folder)


def _holes(root: bytes) -> None:
    folder = root + b"/holes"
    os.mkdir(folder)
    hole(folder + b"/leading", 3 * MIB, [(2 * MIB, MIB)])
    hole(folder + b"/trailing", 3 * MIB, [(0, MIB)])
    hole(folder + b"/middle", 3 * MIB, [(0, 4096), (2 * MIB, MIB)])
    hole(folder + b"/only", 5 * MIB, [])
    hole(folder + b"/only-small", 4096, [])
    hole(folder + b"/small", 128 * 1024, [(64 * 1024, 4096)])
    hole(folder + b"/comb", 64 * 8192, [(at * 8192, 4096) for at in range(64)])
    hole(folder + b"/odd-end", 2 * MIB + 77, [(0, 1), (2 * MIB, 77)])
    hole(folder + b"/huge", 2**40, [(2**39, 4096)])


def hole(path: bytes, size: int, data: list[tuple[int, int]]) -> None:
    """Write a file of ``size`` bytes with data only in the given (offset, length) runs."""
    with open(path, "wb") as file:
        for offset, length in data:
            file.seek(offset)
            file.write(b"\xa5" * length)
        file.truncate(size)


def _user_xattrs(root: bytes) -> None:
    folder = root + b"/xattrs"
    os.mkdir(folder)
    write(folder + b"/file", b"content")
    os.setxattr(folder + b"/file", b"user.empty", b"")
    os.setxattr(folder + b"/file", b"user.bytes", bytes(range(256)))
    os.setxattr(folder + b"/file", b"user.\xff\xfe", b"a name of any bytes")
    os.setxattr(folder + b"/file", b"user.long", b"l" * 2000)
    os.setxattr(folder, b"user.on-directory", b"yes")


def _acls(root: bytes) -> None:
    folder = root + b"/acls"
    os.mkdir(folder)
    write(folder + b"/file")
    _tool("setfacl", "-m", "u:12345:r,g:54321:rw,m::rw", folder + b"/file")
    _tool("setfacl", "-m", "u:12345:rwx", "-m", "d:u:12345:rx", folder)


def _inode_flags(root: bytes) -> None:
    folder = root + b"/inode-flags"
    os.mkdir(folder)
    write(folder + b"/no-dump")
    _tool("chattr", "+dA", folder + b"/no-dump")
    os.mkdir(folder + b"/directory")
    _tool("chattr", "+d", folder + b"/directory")


def _deep(root: bytes) -> None:
    fd = os.open(root, os.O_RDONLY)
    for name in [b"deep", *[DEEP_NAME] * DEEP_LEVELS]:
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    bottom = os.open(b"bottom", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
    os.write(bottom, b"reached")
    os.close(bottom)
    os.close(fd)


def _wide(root: bytes) -> None:
    folder = root + b"/wide"
    os.mkdir(folder)
    for number in range(1500):
        write(folder + b"/%d" % number, b"%d" % number)


def _directories(root: bytes) -> None:
    os.makedirs(root + b"/directories/empty")
    os.makedirs(root + b"/directories/closed/inside")
    write(root + b"/directories/closed/file", b"hard to reach")
    os.chmod(root + b"/directories/closed", 0o500)


def _cache(root: bytes) -> None:
    folder = root + b"/cache"
    os.makedirs(folder + b"/inside")
    write(folder + b"/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n")
    write(folder + b"/inside/file", b"can be made again")
    os.mkdir(root + b"/not-a-cache")
    write(root + b"/not-a-cache/CACHEDIR.TAG", b"Signature: something else")


def _databases(root: bytes) -> None:
    for engine, name in (
        (b"postgresql", b"postmaster.pid"),
        (b"mysql", b"t.ibd"),
        (b"sqlite", b"x-wal"),
    ):
        os.makedirs(root + b"/databases/" + engine)
        write(root + b"/databases/" + engine + b"/" + name, b"1")


def _owners(root: bytes) -> None:
    folder = root + b"/owners"
    os.mkdir(folder)
    for uid, gid in ((0, 0), (1, 1), (65534, 65534), (12345, 54321), (2**32 - 2, 2**32 - 2)):
        write(folder + b"/%d" % uid)
        os.chown(folder + b"/%d" % uid, uid, gid)
    os.symlink(b"1", folder + b"/link")
    os.chown(folder + b"/link", 12345, 54321, follow_symlinks=False)


def _devices(root: bytes) -> None:
    os.mkdir(root + b"/devices")
    os.mknod(root + b"/devices/null", 0o020666, os.makedev(1, 3))
    os.mknod(root + b"/devices/block", 0o060600, os.makedev(259, 1_000_001))


def _capabilities(root: bytes) -> None:
    write(root + b"/capable", b"\x7fELF")
    os.chmod(root + b"/capable", 0o755)
    _tool("setcap", "cap_net_raw,cap_dac_read_search=ep", root + b"/capable")


def _privileged_xattrs(root: bytes) -> None:
    os.mkdir(root + b"/trusted")
    write(root + b"/trusted/file")
    os.symlink(b"file", root + b"/trusted/link")
    os.setxattr(root + b"/trusted/file", b"trusted.drkeeper", b"\0\1")
    os.setxattr(root + b"/trusted/link", b"trusted.on-link", b"x", follow_symlinks=False)


def _project(root: bytes) -> None:
    """Give a file a project id. Source: linux/fs.h, FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR."""
    write(root + b"/in-project")
    with open(root + b"/in-project", "rb") as file:
        attributes = bytearray(fcntl.ioctl(file, 0x801C581F, bytes(28)))
        struct.pack_into("=I", attributes, 12, 4711)
        fcntl.ioctl(file, 0x401C5820, bytes(attributes))


def _immutable(root: bytes) -> None:
    folder = root + b"/immutable"
    os.mkdir(folder)
    write(folder + b"/never", b"cannot change")
    write(folder + b"/grows", b"can only grow")
    _tool("chattr", "+i", folder + b"/never")
    _tool("chattr", "+a", folder + b"/grows")


def _tool(*command: str | bytes) -> None:
    if shutil.which(command[0]) is None:
        raise LookupError(f"{command[0]!s} is not installed")
    subprocess.run(command, check=True, capture_output=True)
