"""Inode flags and project ids: set last, since a file that may not be changed cannot be completed."""

import os

from drkeeper.model.entry import Entry, Extra
from drkeeper.operations.restore import syscalls
from drkeeper.operations.restore.means import Means
from drkeeper.operations.restore.report import Severity


class Flags:
    """Gathers the flags of files and directories, and sets them in the end."""

    def __init__(self, means: Means) -> None:
        """Set them with ``means``."""
        self._means = means
        self._waiting: list[tuple[bytes, Extra]] = []

    def add(self, entry: Entry) -> None:
        """Take the flags of what was restored, if it has any and they may be set."""
        extra = entry.extra
        if not extra.fsflags and not extra.project:
            return
        if self._means.rights.privileged:
            self._waiting.append((entry.path, extra))
        else:
            self._means.tally.once(Severity.NOTE, "flags", "inode flags and project ids left out")

    def apply(self) -> None:
        """Set everything; what cannot be set is told."""
        for path, extra in self._waiting:
            try:
                fd = self._means.target.open_path(path, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    if extra.project:
                        syscalls.set_project(fd, extra.project)
                    if extra.fsflags:
                        syscalls.change_inode_flags(fd, extra.fsflags)
                finally:
                    os.close(fd)
            except OSError as error:
                self._means.tally.add(
                    Severity.WARNING, "flags", path, f"inode flags not restored: {error.strerror}"
                )
