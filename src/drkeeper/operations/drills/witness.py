"""The program that reads what was restored, knowing only what should be there.

It runs alone, as ``python -I witness.py FOLDER``, with the standard library and BLAKE3: a process of its
own, which shares neither memory nor code with the restore, so that a mistake of that one is no mistake
of this one. Each line of its standard input is one path that should be there, in JSON, with the
directories before what is in them; the last line is ``null``. Its answer, in JSON, is on standard output.

What was read lately is first put out of the kernel's memory, so that it is the disk that answers.
Links are never followed: what was restored may be hostile.
"""

import errno
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from blake3 import blake3

FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK = range(7)
"""Source: docs/format.md, "Entries"."""

_FORMATS: Final = {
    FILE: stat.S_IFREG,
    DIRECTORY: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    FIFO: stat.S_IFIFO,
    SOCKET: stat.S_IFSOCK,
    CHARACTER: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
}
_TOLD: Final = 20  # of what is wrong; the rest is counted
_READ_BYTES: Final = 1024 * 1024
_SECOND_NS: Final = 1_000_000_000
_KEPT_NS: Final = (-(2**31) * _SECOND_NS, 2**34 * _SECOND_NS)
"""Times of change that a file system keeps. Source: Documentation/filesystems/ext4/inodes.rst."""
_NO_ANSWER: Final = {errno.ENOTSUP, errno.EACCES, errno.EPERM}
"""This file system keeps no attributes, or does not let this user see them."""
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Witness:
    """Compares a folder with what should be in it, path by path."""

    def __init__(self, folder: bytes, *, whole: bool) -> None:
        """Look below ``folder``; ``whole`` says that nothing else may be there."""
        self._folder = folder
        self._whole = whole
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._links: dict[str, tuple[int, int]] = {}
        self._present = 0
        self._wrong: list[tuple[str, str]] = []
        self.counts = dict.fromkeys(("paths", "files", "bytes", "wrong"), 0)

    def look(self, expected: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Compare everything, and say what was found."""
        for each in expected:
            self.counts["paths"] += 1
            path = each["path"].encode("latin-1")
            for what in self._of_one(path, each):
                self._tell(path, what)
        if self._whole:
            self._count_others()
        return {**self.counts, "first": self._wrong}

    def _tell(self, path: bytes, what: str) -> None:
        self.counts["wrong"] += 1
        if len(self._wrong) < _TOLD:
            self._wrong.append((path.decode("latin-1"), what))

    def _of_one(self, path: bytes, expected: dict[str, Any]) -> Iterator[str]:
        place = os.path.join(self._folder, path)
        try:
            found = os.lstat(place)
        except OSError as error:
            if expected["present"] or error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                yield f"cannot be found: {error.strerror}"
            return
        self._present += 1
        if not expected["present"]:
            yield "is there, and the snapshot has no content for it"
            return
        if stat.S_IFMT(found.st_mode) != _FORMATS[expected["type"]]:
            yield "is another kind of thing"
            return
        yield from self._metadata(found, expected)
        yield from self._same_file(found, expected)
        if expected["type"] == SYMLINK and os.readlink(place) != expected["target"].encode(
            "latin-1"
        ):
            yield "points somewhere else"
        if expected["type"] == FILE:
            self.counts["files"] += 1
            yield from self._content(place, found, expected)
        else:
            yield from _attributes(place, expected)

    def _metadata(self, found: os.stat_result, expected: dict[str, Any]) -> Iterator[str]:
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISLNK(found.st_mode) and mode != expected["mode"]:
            yield f"has mode {mode:04o}, not {expected['mode']:04o}"
        owner = expected["owner"]
        if owner is not None and [found.st_uid, found.st_gid] != owner:
            yield f"belongs to {found.st_uid}:{found.st_gid}, not {owner[0]}:{owner[1]}"
        off_ns = abs(found.st_mtime_ns - expected["mtime_ns"])
        coarse = found.st_mtime_ns % 100 == 0 and off_ns < 2 * _SECOND_NS
        kept = _KEPT_NS[0] <= expected["mtime_ns"] < _KEPT_NS[1]
        if off_ns and kept and not coarse:
            yield "has another time of change"

    def _same_file(self, found: os.stat_result, expected: dict[str, Any]) -> Iterator[str]:
        """Compare which names are one file."""
        group, inode = expected["group"], (found.st_dev, found.st_ino)
        if group is not None and self._links.setdefault(group, inode) != inode:
            yield "is not the same file as its other names"

    def _content(
        self, place: bytes, found: os.stat_result, expected: dict[str, Any]
    ) -> Iterator[str]:
        if found.st_size != expected["size"]:
            yield f"has {found.st_size} bytes, not {expected['size']}"
            return
        try:
            with _opened(place) as descriptor:
                _forget(descriptor, found.st_size)
                digest = self._digest(descriptor, expected)
                yield from _attributes(descriptor, expected)
        except OSError as error:
            yield f"cannot be read: {error.strerror}"
            return
        self.counts["bytes"] += expected["size"]
        if digest != expected["digest"]:
            yield "has other content"

    def _digest(self, descriptor: int, expected: dict[str, Any]) -> str:
        """Return the digest of the runs of data; of nothing when there is something between them."""
        total, end = blake3(), 0
        for start, length in expected["segments"] or [(0, expected["size"])]:
            if not self._is_empty(descriptor, end, start):
                return "something where a hole should be"
            at, end = start, start + length
            while at < end:
                count = os.preadv(descriptor, [self._buffer[: end - at]], at)
                if not count:
                    return "an early end"
                total.update(self._buffer[:count])
                at += count
        if expected["segments"] is not None and not self._is_empty(
            descriptor, end, expected["size"]
        ):
            return "something where a hole should be"
        return total.hexdigest()

    def _is_empty(self, descriptor: int, start: int, end: int) -> bool:
        while start < end:
            try:
                start = os.lseek(descriptor, start, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return True
                raise
            if start >= end:
                return True
            count = os.preadv(descriptor, [self._buffer[: end - start]], start)
            if not count:
                return True
            if any(bytes(self._buffer[:count])):
                return False
            start += count
        return True

    def _count_others(self) -> None:
        """Find out whether anything is there that should not be."""
        count = 0
        for _, folders, files in os.walk(self._folder):
            count += len(folders) + len(files)
        if count > self._present:  # fewer: directories that this user may enter, and not list
            self._tell(b"", f"{count - self._present} paths are there that should not be")


class _opened:  # noqa: N801 - used as a function
    """A file, open for reading also when its own mode forbids that to its owner."""

    def __init__(self, place: bytes) -> None:
        self._place = place

    def __enter__(self) -> int:
        try:
            self._descriptor = os.open(self._place, _OPEN)
        except PermissionError:
            mode = stat.S_IMODE(os.lstat(self._place).st_mode)
            if os.path.islink(self._place):
                raise
            os.chmod(self._place, mode | stat.S_IRUSR)
            try:
                self._descriptor = os.open(self._place, _OPEN)
            finally:
                os.chmod(self._place, mode)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _attributes(where: bytes | int, expected: dict[str, Any]) -> Iterator[str]:
    """Compare extended attributes, ACLs among them."""
    for name, value in expected["attributes"]:
        try:
            found = os.getxattr(
                where, name.encode("latin-1"), follow_symlinks=isinstance(where, int)
            )
        except OSError as error:
            if error.errno not in _NO_ANSWER and not (
                expected["lossy"] and error.errno == errno.ENODATA
            ):
                yield f"has no attribute {ascii(name)[1:-1]}: {error.strerror}"
            continue
        if found.hex() != value:
            yield f"has another attribute {ascii(name)[1:-1]}"


def _forget(descriptor: int, size: int) -> None:
    """Put a file out of the kernel's memory, where that can be done."""
    if size:
        with suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _expected() -> Iterator[dict[str, Any]]:
    for line in sys.stdin.buffer:
        each = json.loads(line)
        if each is None:
            return
        yield each
    raise SystemExit(3)  # whoever asked is gone, or broke


def main() -> None:
    """Answer."""
    how, folder = sys.argv[1:]
    witness = Witness(os.fsencode(folder), whole=how == "whole")
    json.dump(witness.look(_expected()), sys.stdout)


if __name__ == "__main__":
    main()
