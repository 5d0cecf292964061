"""Making files, links and special nodes in a held directory.

Everything is made under a temporary name, completed there, and renamed, so that a name shows
either what was there before or all of what the snapshot has. The work on a small file is counted
in system calls: restoring a hundred thousand of them is nothing else.
"""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from drkeeper.errors import IntegrityError
from drkeeper.faults import point
from drkeeper.model.entry import Entry, FileType
from drkeeper.operations.restore import syscalls
from drkeeper.operations.restore.layout import Layout
from drkeeper.operations.restore.metadata import Metadata
from drkeeper.operations.restore.target import Directory, Names, unlink_quietly

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PRIVATE = 0o600
"""Mode of what is not finished."""

_PREALLOCATE_BYTES = 1024 * 1024
"""Runs of data from here on are reserved at once, so that they lie together."""

_SPECIAL = {
    FileType.FIFO: stat.S_IFIFO,
    FileType.CHARACTER: stat.S_IFCHR,
    FileType.BLOCK: stat.S_IFBLK,
}


def create(directory: int, names: Names, mode: int = PRIVATE) -> tuple[int, bytes]:
    """Create an empty file; return its descriptor and temporary name.

    Raises:
        OSError: The directory cannot be written to.
        FileExistsError: Somebody takes every name before we do.
    """
    name = b""
    for _ in range(8):
        name = names.next()
        try:
            return os.open(name, _CREATE, mode, dir_fd=directory), name
        except FileExistsError:  # somebody guesses names; they can only cost us a few turns
            continue
    raise FileExistsError(errno.EEXIST, "temporary names are taken", name)


def write_all(fd: int, data: memoryview) -> None:
    """Write everything at the current position.

    Raises:
        OSError: No space, or the device failed.
    """
    while True:
        count = os.write(fd, data)
        if count == len(data):
            return
        data = data[count:]


def write_small(
    directory: Directory,
    name: bytes,
    content: Sequence[memoryview],
    *,
    names: Names,
    mode: int = PRIVATE,
) -> "Unfinished":
    """Create a file with its whole content, not yet under its name.

    Raises:
        OSError: It could not be written; nothing is left.
    """
    fd, temporary = create(directory.fd, names, mode)
    try:
        for data in content:
            write_all(fd, data)
    except BaseException:
        os.close(fd)
        unlink_quietly(directory.fd, temporary)
        raise
    return Unfinished(directory, name, temporary, fd)


class Unfinished:
    """Something under a temporary name; finish it or discard it."""

    __slots__ = ("directory", "fd", "name", "temporary")

    def __init__(self, directory: Directory, name: bytes, temporary: bytes, fd: int) -> None:
        self.directory = directory
        self.name = name
        self.temporary = temporary
        self.fd = fd

    def finish(self) -> None:
        """Give it its name; what had the name before is gone.

        Raises:
            OSError: There is a directory of that name. Nothing is left.
        """
        os.close(self.fd)
        directory = self.directory.fd
        try:
            point("operations.restore.rename")
            os.rename(self.temporary, self.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            unlink_quietly(directory, self.temporary)
            raise

    def discard(self) -> None:
        """Remove it."""
        with suppress(OSError):
            os.close(self.fd)
        unlink_quietly(self.directory.fd, self.temporary)


class LargeFile:
    """A file that is written in parts, in order.

    Content is addressed as the manifest does: by position in the data, holes left out.

    Attributes:
        entry: The file.
        directory: Where it is being made.
        unfinished: The file under its temporary name.
        source: Descriptor of the file of before, from which equal runs are taken.
        position: Where in the content the next run begins.
        fresh: Nothing is inherited from its directory.
    """

    def __init__(self, directory: Directory, entry: Entry, names: Names) -> None:
        """Create the file, as long as it will be.

        Raises:
            OSError: It cannot be created, or there is no room for it.
        """
        self.entry = entry
        self.directory = directory.retain()
        self.source: int | None = None
        self.position = 0
        self.fresh = False
        self._layout = Layout(entry)
        try:
            fd, temporary = create(directory.fd, names)
        except BaseException:
            directory.release()
            raise
        name = entry.path.rpartition(b"/")[2]
        self.unfinished = Unfinished(self.directory, name, temporary, fd)
        try:
            os.ftruncate(fd, entry.size)
            for offset, length in self._layout.segments:
                if length >= _PREALLOCATE_BYTES:
                    syscalls.preallocate(fd, offset, length)
        except BaseException:
            self.discard()
            raise

    def require_whole(self) -> None:
        """Refuse a file that would end early.

        Raises:
            IntegrityError: There was less content than the entry says.
        """
        if self.position != self._layout.data_bytes:
            raise IntegrityError("its extents do not add up to its size")

    def write(self, data: memoryview) -> None:
        """Write the next run of content.

        Raises:
            OSError: No space, or the device failed.
            ValueError: The run goes beyond the content.
        """
        fd = self.unfinished.fd
        done = 0
        for offset, length in self._layout.spans(self.position, len(data)):
            _write_at(fd, data[done : done + length], offset)
            done += length
        self.position += done

    def copy(self, length: int) -> None:
        """Take the next run of content from ``source``, where it is at the same place.

        File systems that can share blocks do so.

        Raises:
            OSError: No space, the device failed, or the source became shorter.
            ValueError: The run goes beyond the content.
        """
        fd, source = self.unfinished.fd, self.source
        if source is None:
            raise OSError(errno.ENOENT, "the file of before is gone")
        for offset, count in self._layout.spans(self.position, length):
            while count:
                done = _copy_range(source, fd, offset, count)
                if not done:
                    raise OSError(errno.EAGAIN, "the file became shorter while it was read")
                offset += done  # noqa: PLW2901 - a short copy goes on where it stopped
                count -= done  # noqa: PLW2901 - the same
        self.position += length

    def finish(self, metadata: Metadata, owner: tuple[int, int]) -> None:
        """Complete the file and give it its name.

        Raises:
            OSError: Something could not be set; nothing is left.
        """
        try:
            point("operations.restore.large.written")
            metadata.apply(self.unfinished.fd, self.entry, owner, fresh=self.fresh)
        except BaseException:
            self.discard()
            raise
        try:
            self.unfinished.finish()
        finally:
            self._release()

    def discard(self) -> None:
        """Remove what there is."""
        self.unfinished.discard()
        self._release()

    def _release(self) -> None:
        if self.source is not None:
            os.close(self.source)
            self.source = None
        self.directory.release()


def _write_at(fd: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(fd, data, offset)
        data = data[count:]
        offset += count


def _copy_range(source: int, into: int, offset: int, count: int) -> int:
    try:
        return os.copy_file_range(source, into, count, offset, offset)
    except OSError:  # another file system, or one that cannot
        data = os.pread(source, min(count, 1024 * 1024), offset)
        return os.pwrite(into, data, offset)


def make_node(directory: Directory, name: bytes, entry: Entry, names: Names) -> Unfinished:
    """Make a symbolic link, FIFO or device under a temporary name.

    The answer's descriptor is an ``O_PATH`` one, of the very inode that was made.

    Raises:
        OSError: It cannot be made, or was replaced before it could be held.
    """
    temporary = names.next()
    if entry.type == FileType.SYMLINK:
        os.symlink(entry.extra.target, temporary, dir_fd=directory.fd)
        kind = stat.S_IFLNK
    else:
        kind = _SPECIAL[FileType(entry.type)]
        device = os.makedev(entry.extra.major, entry.extra.minor)
        os.mknod(temporary, kind | PRIVATE, device, dir_fd=directory.fd)
    try:
        fd = os.open(temporary, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory.fd)
    except BaseException:
        unlink_quietly(directory.fd, temporary)
        raise
    made = os.fstat(fd)
    # In a directory of somebody else's, the name may have been given to another inode by now.
    if stat.S_IFMT(made.st_mode) != kind or made.st_nlink != 1 or made.st_uid != os.geteuid():
        os.close(fd)
        raise OSError(errno.EAGAIN, "was replaced while it was made", name)
    return Unfinished(directory, name, temporary, fd)


def make_link(
    source: tuple[int, bytes], into: tuple[Directory, bytes], names: Names, inode: tuple[int, int]
) -> None:
    """Give a file another name, after making sure that it is the file that is meant.

    Args:
        source: Descriptor of the directory of the existing name, and that name.
        into: Where the new name is made, and the name.
        names: For the temporary one.
        inode: Device and inode of the file.

    Raises:
        OSError: It cannot be linked, or the existing name leads to another file now.
    """
    directory, name = into
    temporary = names.next()
    os.link(
        source[1],
        temporary,
        src_dir_fd=source[0],
        dst_dir_fd=directory.fd,
        follow_symlinks=False,
    )
    try:
        made = os.stat(temporary, dir_fd=directory.fd, follow_symlinks=False)
        if (made.st_dev, made.st_ino) != inode:
            raise OSError(errno.EAGAIN, "was replaced before it was linked", source[1])
        point("operations.restore.link")
        os.rename(temporary, name, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
    finally:
        # After a rename onto a name of the same inode, both names are still there (rename(2)).
        unlink_quietly(directory.fd, temporary)
