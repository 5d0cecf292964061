"""How much room a restore needs, and how much there is."""

import os
import stat
from contextlib import suppress

from drkeeper.errors import TargetError
from drkeeper.model.entry import Entry
from drkeeper.operations.restore.layout import Layout, has_content
from drkeeper.operations.restore.printable import printable
from drkeeper.operations.restore.target import Target

BLOCK = 4096
"""What common file systems round to."""


class Space:
    """Adds up room, file by file.

    Attributes:
        free: Room that there is for this process.
        files: Files and directories that are added.
        free_files: How many more the file system can hold; ``None`` when it has no limit.
    """

    def __init__(self, path: bytes, target: Target | None) -> None:
        """Ask the file system that holds, or will hold, the target."""
        self._target = target if target is not None and not target.fresh else None
        self._total = 0
        self._largest = 0
        self._linked: set[tuple[int, int]] = set()
        self.files = 0
        self.free, self.free_files = _free(path)

    @property
    def needed(self) -> int:
        """Room for everything that is added, and for one file beside the one it replaces."""
        return self._total + (self._largest if self._target is not None else 0)

    def add(self, entry: Entry) -> int:
        """Add a file; return its content in bytes."""
        if entry.links > 1:
            group = (entry.device, entry.inode)
            if group in self._linked:
                return 0
            self._linked.add(group)
        if not has_content(entry):
            return 0
        data_bytes = entry.size if entry.extra.segments is None else Layout(entry).data_bytes
        room = -(-data_bytes // BLOCK) * BLOCK
        present = self._present(entry.path)
        self._total += max(0, room - present)
        if not present:
            self.files += 1
        else:
            self._largest = max(self._largest, room)
        return data_bytes

    def add_directory(self) -> None:
        """Add a directory."""
        if self._target is None:
            self.files += 1
            self._total += BLOCK

    def _present(self, path: bytes) -> int:
        if self._target is None:
            return 0
        with suppress(OSError):
            fd = self._target.open_path(path, os.O_PATH)
            try:
                found = os.fstat(fd)
            finally:
                os.close(fd)
            if stat.S_ISREG(found.st_mode):
                return found.st_blocks * 512
        return 0


def _free(path: bytes) -> tuple[int, int | None]:
    """Return the room, in bytes and in files, of the file system of the nearest directory that exists.

    Raises:
        TargetError: The file system does not answer.
    """
    path = os.path.abspath(path)
    while not os.path.isdir(path) and path != b"/":
        path = os.path.dirname(path)
    try:
        status = os.statvfs(path)
    except OSError as error:
        raise TargetError(f"cannot use {printable(path)}: {error.strerror}") from error
    blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail
    return blocks * status.f_frsize, status.f_ffree if status.f_files else None
