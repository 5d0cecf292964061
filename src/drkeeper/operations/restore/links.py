"""Files with several names: the first that is made gives the others theirs."""

import os

from drkeeper.model.entry import Entry, FileType
from drkeeper.operations.restore import nodes
from drkeeper.operations.restore.directories import Directories, Frame
from drkeeper.operations.restore.means import Means
from drkeeper.operations.restore.report import Severity
from drkeeper.operations.restore.target import Directory, lookup

_LEFT_OUT = frozenset({FileType.SOCKET, FileType.CHARACTER, FileType.BLOCK})


class HardLinks:
    """Gives files their further names; forgets a file when it has its last."""

    def __init__(self, means: Means, directories: Directories) -> None:
        """Work with ``means`` where ``directories`` are."""
        self._means = means
        self._tally = means.tally
        self._directories = directories
        self._known: dict[tuple[int, int], tuple[bytes, int, int, int]] = {}

    def remember(self, entry: Entry, status: os.stat_result) -> None:
        """Take what a file with further names became, if nothing is known of it yet."""
        group = (entry.device, entry.inode)
        self._known.setdefault(group, (entry.path, status.st_dev, status.st_ino, entry.links - 1))

    def make(self, frame: Frame, held: Directory, name: bytes, entry: Entry) -> None:
        """Make one more name of a file that came earlier.

        Raises:
            OSError: It cannot be made, or the earlier name leads to another file now.
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        group = (entry.device, entry.inode)
        known = self._known.get(group)
        found = lookup(held.fd, name) if frame.names is not None else None
        if entry.type == FileType.SYMLINK:
            self._directories.flush_all_links()
            known = self._known.get(group)
        if known is None and entry.type in _LEFT_OUT:
            self._tally.skipped += 1  # as the first of its names was
            return
        if known is None:
            self._tally.add(
                Severity.FAILED, "link", entry.path, "the first of its names was not restored"
            )
            return
        path, device, inode, left = known
        if left <= 1:
            del self._known[group]
        else:
            self._known[group] = (path, device, inode, left - 1)
        if found is not None and (found.st_dev, found.st_ino) == (device, inode):
            self._tally.unchanged += 1
        elif found is not None and not self._means.manner.replaces:
            self._tally.skipped += 1
            return
        else:
            self._make(held, name, path, (device, inode))
        self._tally.files += 1

    def _make(self, held: Directory, name: bytes, path: bytes, inode: tuple[int, int]) -> None:
        target = self._means.target
        above, _, first = path.rpartition(b"/")
        here = self._directories.current.path
        if above == here or not above:
            source = held.fd if above == here else target.root
            nodes.make_link((source, first), (held, name), target.names, inode)
            return
        source = target.open_path(above, os.O_PATH | os.O_DIRECTORY)
        try:
            nodes.make_link((source, first), (held, name), target.names, inode)
        finally:
            os.close(source)
