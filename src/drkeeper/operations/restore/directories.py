"""Directories entered and left in path order, with a held descriptor for each.

A directory is private while it is filled and gets its own metadata when it is left and everything
in it is written, so that nothing that happens inside changes its times. Symbolic links come last.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from drkeeper.faults import point
from drkeeper.model.entry import EntryFlag
from drkeeper.operations.restore.flags import Flags
from drkeeper.operations.restore.marker import NAME as MARKER
from drkeeper.operations.restore.means import Means
from drkeeper.operations.restore.metadata import inherits
from drkeeper.operations.restore.report import Severity
from drkeeper.operations.restore.small import Place
from drkeeper.operations.restore.syscalls import allow_descriptors
from drkeeper.operations.restore.target import (
    OPEN_DIRECTORY,
    TEMPORARY,
    Directory,
    lookup,
    remove_tree,
)
from drkeeper.operations.restore.work import Unit

_WRITABLE = stat.S_IWUSR | stat.S_IXUSR
_MAX_DEPTH = 12_000
"""Each level holds a descriptor; see :func:`syscalls.allow_descriptors`."""

_MAX_PATH_BYTES = 36_000
"""Longer paths are in no snapshot of a real tree (docs/sources-files.md); every level keeps its own."""

_OTHER_DESCRIPTORS = 512
"""What else a restore holds open: directories that were left, files, packs, the ledger."""

_LEFT = 64
"""Directories that were left and whose last files are still being written."""

_PENDING = 256
"""More tasks than other threads ever have left of one directory, however many files are in it."""

_INCOMPLETE = EntryFlag.PARENT | EntryFlag.CACHE | EntryFlag.OTHER_FILE_SYSTEM
"""Directories of which the snapshot does not have everything; nothing is deleted in them."""


@dataclass(slots=True)
class Frame:
    """A directory that is being filled.

    Attributes:
        path: As in ``Entry.path``; empty for the root of the target.
        held: Its descriptor; ``None`` when it could not be entered.
        unit: Its entry; ``None`` for the root, and when the manifest does not have it.
        made: Created by this run.
        plain: What is created in it inherits nothing.
        device: Device that it is on.
        names: What the snapshot has in it; kept only where something may have to be removed.
        links: Symbolic links that wait.
        pending: What other threads still do in it.
    """

    path: bytes
    held: Directory | None
    unit: Unit | None = None
    made: bool = False
    plain: bool = False
    device: int = 0
    names: set[bytes] | None = None
    links: list[Unit] = field(default_factory=list)
    pending: list[Future[Any]] = field(default_factory=list)

    def place(self, held: Directory) -> Place:
        """Return what those need to know who write files into it."""
        return Place(held, self.plain, private=self.made and self.plain)

    def begun(self, task: Future[Any]) -> None:
        """Take what another thread does in it; what is done is forgotten now and then."""
        if len(self.pending) >= _PENDING:
            self.pending = [each for each in self.pending if not each.done()]
        self.pending.append(task)

    @property
    def settled(self) -> bool:
        """Whether nobody does anything in it any more."""
        return all(each.done() for each in self.pending)

    def settle(self) -> None:
        """Wait until nobody does anything in it; what went wrong is told elsewhere, too.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        for each in self.pending:
            each.result()
        self.pending.clear()


class Directories:
    """The directories from the root of the target down to where the restore is.

    Attributes:
        devices: A descriptor on every file system that was entered, by device.
    """

    def __init__(
        self,
        means: Means,
        *,
        flush_links: Callable[[Frame], None],
        flags: Flags,
    ) -> None:
        """Begin at the root of the target.

        Args:
            means: What to work with.
            flush_links: Makes the symbolic links that wait in a frame.
            flags: Takes the flags of directories.
        """
        self._means = means
        self._flush_links = flush_links
        self._flags = flags
        self._depth = min(_MAX_DEPTH, allow_descriptors() - _OTHER_DESCRIPTORS)
        target = means.target
        status = os.fstat(target.root)
        root = Frame(b"", Directory(os.dup(target.root)), device=status.st_dev)
        root.plain = target.created or not inherits(target.root)
        if not target.fresh:
            root.names = set()
        self._stack = [root]
        self._left: deque[Frame] = deque()
        self.devices: dict[int, int] = {status.st_dev: os.dup(target.root)}

    @property
    def current(self) -> Frame:
        """The directory that the restore is in."""
        return self._stack[-1]

    def at(self, path: bytes) -> Frame:
        """Leave directories until ``path`` is the current one or can be entered from it.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        while True:
            frame = self._stack[-1]
            if frame.path == path:
                return frame
            if not frame.path or path.startswith(frame.path + b"/"):
                break
            self._leave(self._stack.pop())
        # A directory that the manifest does not have, because a piece of it is damaged.
        for component in path[len(frame.path) :].lstrip(b"/").split(b"/"):
            below = frame.path + b"/" + component if frame.path else component
            frame = self._entered(frame, component, None, below)
            if frame.held is None:  # nothing below can be entered either, however deep it is
                frame.path = path
            self._stack.append(frame)
            if frame.held is None:
                break
        return frame

    def enter(self, above: Frame, name: bytes, unit: Unit) -> None:
        """Go into a directory of ``above``, which is the current one; make it when it is missing.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        self._stack.append(self._entered(above, name, unit, unit.entry.path))

    def clear(self, frame: Frame, held: Directory, name: bytes) -> None:
        """Remove a directory that is where the snapshot has something else, if that was asked.

        Raises:
            OSError: It cannot be removed.
        """
        if not self._means.manner.deletes or frame.names is None:
            return
        found = lookup(held.fd, name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            point("operations.restore.clear")
            remove_tree(held.fd, name, frame.device)
            self._means.tally.removed += 1

    def flush_all_links(self) -> None:
        """Make every symbolic link that waits.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        self._drain(0)
        for frame in self._stack:
            self._flush_links(frame)

    def finish(self) -> None:
        """Leave every directory that is still open.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        while self._stack:
            self._leave(self._stack.pop())
        self._drain(0)

    def abandon(self) -> None:
        """Close everything, when nobody does anything any more."""
        for frame in (*self._stack, *self._left):
            if frame.held is not None:
                frame.held.release()
        self._stack.clear()
        self._left.clear()
        for fd in self.devices.values():
            os.close(fd)
        self.devices.clear()

    # ------------------------------------------------------------------ entering

    def _entered(self, above: Frame, name: bytes, unit: Unit | None, path: bytes) -> Frame:
        means = self._means
        frame = Frame(path, None, unit)
        if above.held is None:
            means.tally.skipped += 1
            return frame
        if len(self._stack) > self._depth or len(path) > _MAX_PATH_BYTES:
            means.tally.add(Severity.FAILED, "deep", path, f"below {len(self._stack)} directories")
            return frame
        try:
            self._open(above, above.held.fd, name, frame)
        except OSError as error:
            means.failed(path, error)
            return frame
        if unit is None:
            means.tally.once(
                Severity.WARNING, "parent", "directories without an entry were made with mode 0700"
            )
        return frame

    def _open(self, above: Frame, parent: int, name: bytes, frame: Frame) -> None:
        try:
            point("operations.restore.mkdir")
            os.mkdir(name, 0o700, dir_fd=parent)
            frame.made = True
        except FileExistsError:
            frame.made = self._make_way(parent, name)
        fd = self._open_existing(parent, name, made=frame.made)
        status = os.fstat(fd)
        uid = self._means.rights.uid
        if frame.made and (status.st_uid != uid or status.st_dev != above.device):
            os.close(fd)
            raise OSError(errno.EAGAIN, "was replaced while it was made", name)
        frame.held = Directory(fd)
        frame.device = status.st_dev
        frame.plain = above.plain if frame.made else not inherits(fd)
        if not frame.made:
            frame.names = set()
        if status.st_dev not in self.devices:
            self.devices[status.st_dev] = os.dup(fd)

    def _make_way(self, parent: int, name: bytes) -> bool:
        """Remove what is there when it is no directory; return whether one was made.

        Raises:
            OSError: It may not be removed.
        """
        found = lookup(parent, name)
        if found is None or stat.S_ISDIR(found.st_mode):
            return False
        if not self._means.manner.replaces:
            raise OSError(errno.ENOTDIR, "is there and is no directory", name)
        os.unlink(name, dir_fd=parent)
        os.mkdir(name, 0o700, dir_fd=parent)
        return True

    def _open_existing(self, parent: int, name: bytes, *, made: bool) -> int:
        replaces = self._means.manner.replaces
        try:
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        except PermissionError:
            if made or not replaces:
                raise
            held = os.open(name, OPEN_DIRECTORY | os.O_PATH, dir_fd=parent)
            try:
                os.chmod(f"/proc/self/fd/{held}", 0o700)
            finally:
                os.close(held)
            return os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        mode = os.fstat(fd).st_mode
        # Left by an unfinished run with its final mode, which may forbid even its owner to write.
        if not made and replaces and mode & _WRITABLE != _WRITABLE and self._means.rights.uid:
            with suppress(OSError):
                os.fchmod(fd, stat.S_IMODE(mode) | 0o700)
        return fd

    # ------------------------------------------------------------------ leaving

    def _leave(self, frame: Frame) -> None:
        """Complete a directory, at once or when its last files are written."""
        self._left.append(frame)
        self._drain(_LEFT)

    def _drain(self, most: int) -> None:
        """Complete directories that were left, until at most so many wait."""
        while self._left and (len(self._left) > most or self._left[0].settled):
            self._complete(self._left.popleft())

    def _complete(self, frame: Frame) -> None:
        held = frame.held
        if held is None:
            return
        try:
            frame.settle()
            self._flush_links(frame)
            self._tidy(frame, held)
            self._describe(frame, held)
        except OSError as error:
            self._means.failed(frame.path, error)
        finally:
            held.release()

    def _describe(self, frame: Frame, held: Directory) -> None:
        """Give a directory its own metadata, after everything inside."""
        unit, means = frame.unit, self._means
        if unit is None:
            return
        manner = means.manner
        if not frame.made and (not manner.replaces or (unit.parent and manner.keeps_parents)):
            means.tally.skipped += 1
            return
        point("operations.restore.directory.leave")
        means.metadata.apply(held.fd, unit.entry, unit.owner, fresh=frame.made and frame.plain)
        if manner.verifies:
            means.verifier.metadata_of(os.fstat(held.fd), unit.entry, unit.owner)
            means.verifier.attributes(held.fd, unit.entry)
        self._flags.add(unit.entry)
        means.tally.directories += 1

    def _tidy(self, frame: Frame, held: Directory) -> None:
        """Remove temporary names of dead runs, and on request what the snapshot does not have."""
        if frame.names is None:
            return
        unit = frame.unit
        deletes = (
            self._means.manner.deletes
            and unit is not None
            and not unit.parent
            and not unit.entry.extra.flags & _INCOMPLETE
        )
        with os.scandir(held.fd) as listing:
            extra = [
                name
                for each in listing
                if (name := os.fsencode(each.name)) not in frame.names
                and (deletes or name.startswith(TEMPORARY))
                and not (name == MARKER and not frame.path)
            ]
        for name in extra:
            if deletes or self._means.marker.dead(name):
                point("operations.restore.delete")
                try:
                    remove_tree(held.fd, name, frame.device)
                except OSError as error:
                    self._means.failed(frame.path + b"/" + name, error)
                else:
                    self._means.tally.removed += 1
