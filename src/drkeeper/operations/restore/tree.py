"""Building the tree: directories entered and left in path order, with a held descriptor for each.

A directory is private while it is filled and gets its own metadata when it is left, so that
nothing that happens inside changes its times. Symbolic links come last in each directory.
"""

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field

from drkeeper.errors import IntegrityError, NoSpaceError, TargetError
from drkeeper.faults import point
from drkeeper.model.entry import Entry, EntryFlag, FileType
from drkeeper.operations.restore import nodes
from drkeeper.operations.restore.layout import has_content
from drkeeper.operations.restore.marker import NAME as MARKER, Marker
from drkeeper.operations.restore.metadata import Metadata, inherits
from drkeeper.operations.restore.printable import printable
from drkeeper.operations.restore.report import Severity, Tally
from drkeeper.operations.restore.rights import Rights
from drkeeper.operations.restore.syscalls import allow_descriptors
from drkeeper.operations.restore.target import (
    OPEN_DIRECTORY,
    TEMPORARY,
    Directory,
    Target,
    lookup,
    remove_tree,
)
from drkeeper.operations.restore.verify import Verifier
from drkeeper.operations.restore.work import Kind, Unit
from drkeeper.repository.fetch import Batch

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BROKEN = frozenset({errno.EIO, errno.EROFS, errno.ENODEV, errno.EMFILE, errno.ENFILE})
_WRITABLE = stat.S_IWUSR | stat.S_IXUSR
_LEFT_OUT = frozenset({FileType.SOCKET, FileType.CHARACTER, FileType.BLOCK})
_MAX_DEPTH = 12_000
"""Each level holds a descriptor; see :func:`syscalls.allow_descriptors`."""

_MAX_PATH_BYTES = 36_000
"""Longer paths are in no snapshot of a real tree (docs/sources-files.md); every level keeps its own."""

_OTHER_DESCRIPTORS = 512
"""What else a restore holds open: files being read back, packs, the ledger."""

_WAITING_LINKS = 10_000
"""Symbolic links wait for the end of their directory, but not more than these."""

_INCOMPLETE = EntryFlag.PARENT | EntryFlag.CACHE | EntryFlag.OTHER_FILE_SYSTEM
"""Directories of which the snapshot does not have everything; nothing is deleted in them."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to treat what is there.

    Attributes:
        replaces: Files and links that are there may be replaced.
        deletes: Remove what the snapshot does not have.
        keeps_parents: Directories above what was asked for stay as they are.
        verifies: Read everything back.
    """

    replaces: bool
    deletes: bool
    keeps_parents: bool
    verifies: bool


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
    """

    path: bytes
    held: Directory | None
    unit: Unit | None = None
    made: bool = False
    plain: bool = False
    device: int = 0
    names: set[bytes] | None = None
    links: list[Unit] = field(default_factory=list)


class Tree:
    """Applies units, in path order, to a target."""

    def __init__(  # noqa: PLR0913 - the collaborators of a restore, by name
        self,
        target: Target,
        *,
        manner: Manner,
        rights: Rights,
        metadata: Metadata,
        verifier: Verifier,
        marker: Marker,
        tally: Tally,
    ) -> None:
        """Build in ``target``."""
        self._target = target
        self._manner = manner
        self._rights = rights
        self._metadata = metadata
        self._verifier = verifier
        self._marker = marker
        self._tally = tally
        self._names = target.names
        self._depth = min(_MAX_DEPTH, allow_descriptors() - _OTHER_DESCRIPTORS)
        self._deletes = manner.deletes
        status = os.fstat(target.root)
        root = Frame(b"", Directory(os.dup(target.root)), device=status.st_dev)
        root.plain = target.created or not inherits(target.root)
        if not target.fresh:
            root.names = set()
        self._stack = [root]
        self._large: nodes.LargeFile | None = None
        self._linked: dict[tuple[int, int], tuple[bytes, int, int, int]] = {}
        self.devices: dict[int, int] = {status.st_dev: os.dup(target.root)}
        self.late: list[Unit] = []

    # ------------------------------------------------------------------ in path order

    def apply(self, units: list[Unit], batch: Batch) -> None:
        """Do a batch of work.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
            DrkeeperError: As the batch says, but for damage, which is told.
        """
        for unit in units:
            try:
                self._unit(unit, batch)
            except IntegrityError as error:
                self._damaged(unit.entry.path, error)
            except OSError as error:
                self._failed(unit.entry.path, error)
            except (OverflowError, ValueError) as error:
                self._tally.add(Severity.FAILED, "impossible", unit.entry.path, str(error))

    def stop_deleting(self) -> None:
        """Delete nothing from now on: the manifest is damaged, and may have had what is there."""
        self._deletes = False

    def finish(self) -> None:
        """Leave every directory that is still open."""
        self._drop_large()
        while self._stack:
            self._leave(self._stack.pop())

    def abandon(self) -> None:
        """Close everything; nothing unfinished stays."""
        self._drop_large(told=False)
        while self._stack:
            held = self._stack.pop().held
            if held is not None:
                held.release()
        for fd in self.devices.values():
            os.close(fd)
        self.devices.clear()

    def _unit(self, unit: Unit, batch: Batch) -> None:
        entry = unit.entry
        path = entry.path
        if self._large is not None and (unit.first or path != self._large.entry.path):
            self._drop_large()
        if not unit.first:
            if unit.kind == Kind.PART and self._large is not None:
                self._part(unit, batch, self._large)
            return
        above, _, name = path.rpartition(b"/")
        frame = self._stack[-1]
        if frame.path != above:
            frame = self._frame(above)
        if frame.names is not None:
            frame.names.add(name)
        if entry.type == FileType.DIRECTORY:
            self._stack.append(self._enter(frame, name, unit))
        else:
            self._content(frame, name, unit, batch)

    def _clear(self, frame: Frame, held: Directory, name: bytes) -> None:
        """Remove a directory that is where the snapshot has something else, if that was asked."""
        if not self._deletes or frame.names is None:
            return
        found = lookup(held.fd, name)
        if found is not None and stat.S_ISDIR(found.st_mode):
            point("operations.restore.clear")
            remove_tree(held.fd, name, frame.device)
            self._tally.removed += 1

    def _content(self, frame: Frame, name: bytes, unit: Unit, batch: Batch) -> None:
        entry, held = unit.entry, frame.held
        if held is None:
            self._tally.skipped += 1
            return
        self._clear(frame, held, name)
        if unit.kind == Kind.SKIP:
            self._skip(held, name, entry)
        elif unit.kind == Kind.LINK:
            self._link(frame, held, name, entry)
        elif unit.kind == Kind.KEPT:
            self._kept(held, name, unit)
        elif unit.kind == Kind.PART:
            self._part(unit, batch, self._begin_large(frame, held, name, unit))
        elif entry.type == FileType.FILE:
            self._small(frame, held, unit, batch)
        elif entry.type == FileType.SYMLINK:
            frame.links.append(unit)
            if len(frame.links) >= _WAITING_LINKS:
                self._flush_links(frame)
        else:
            self._special(held, name, unit)

    # ------------------------------------------------------------------ directories

    def _frame(self, path: bytes) -> Frame:
        """Leave directories until ``path`` is the current one or can be entered from it."""
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
            frame = self._enter(frame, component, None, below)
            if frame.held is None:  # nothing below can be entered either, however deep it is
                frame.path = path
            self._stack.append(frame)
            if frame.held is None:
                break
        return frame

    def _enter(
        self, above: Frame, name: bytes, unit: Unit | None, path: bytes | None = None
    ) -> Frame:
        path = unit.entry.path if unit is not None else path or name
        frame = Frame(path, None, unit)
        if above.held is None:
            self._tally.skipped += 1
            return frame
        if len(self._stack) > self._depth or len(path) > _MAX_PATH_BYTES:
            self._tally.add(Severity.FAILED, "deep", path, f"below {len(self._stack)} directories")
            return frame
        try:
            self._open_directory(above, above.held.fd, name, frame)
        except OSError as error:
            self._failed(path, error)
            return frame
        if unit is None:
            self._tally.once(
                Severity.WARNING, "parent", "directories without an entry were made with mode 0700"
            )
        return frame

    def _open_directory(self, above: Frame, parent: int, name: bytes, frame: Frame) -> None:
        try:
            point("operations.restore.mkdir")
            os.mkdir(name, 0o700, dir_fd=parent)
            frame.made = True
        except FileExistsError:
            frame.made = self._make_way(parent, name)
        fd = self._open_existing(parent, name, made=frame.made)
        status = os.fstat(fd)
        if frame.made and (status.st_uid != self._rights.uid or status.st_dev != above.device):
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
        if not self._manner.replaces:
            raise OSError(errno.ENOTDIR, "is there and is no directory", name)
        os.unlink(name, dir_fd=parent)
        os.mkdir(name, 0o700, dir_fd=parent)
        return True

    def _open_existing(self, parent: int, name: bytes, *, made: bool) -> int:
        try:
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        except PermissionError:
            if made or not self._manner.replaces:
                raise
            held = os.open(name, OPEN_DIRECTORY | os.O_PATH, dir_fd=parent)
            try:
                os.chmod(f"/proc/self/fd/{held}", 0o700)
            finally:
                os.close(held)
            return os.open(name, OPEN_DIRECTORY, dir_fd=parent)
        mode = os.fstat(fd).st_mode
        # Left by an unfinished run with its final mode, which may forbid even its owner to write.
        if (
            not made
            and self._manner.replaces
            and mode & _WRITABLE != _WRITABLE
            and self._rights.uid
        ):
            with suppress(OSError):
                os.fchmod(fd, stat.S_IMODE(mode) | 0o700)
        return fd

    def _leave(self, frame: Frame) -> None:
        held = frame.held
        if held is None:
            return
        try:
            self._flush_links(frame)
            self._tidy(frame, held)
            self._verifier.flush()
            self._complete(frame, held)
        except OSError as error:
            self._failed(frame.path, error)
        finally:
            held.release()

    def _complete(self, frame: Frame, held: Directory) -> None:
        """Give a directory its own metadata, after everything inside."""
        unit = frame.unit
        if unit is None:
            return
        untouched = not frame.made and (
            not self._manner.replaces or (unit.parent and self._manner.keeps_parents)
        )
        if untouched:
            self._tally.skipped += 1
            return
        point("operations.restore.directory.leave")
        self._metadata.apply(held.fd, unit.entry, unit.owner, fresh=frame.made and frame.plain)
        if self._manner.verifies:
            self._verifier.metadata_of(os.fstat(held.fd), unit.entry, unit.owner)
            self._verifier.attributes(held.fd, unit.entry)
        self._late(unit)
        self._tally.directories += 1

    def _tidy(self, frame: Frame, held: Directory) -> None:
        """Remove temporary names of dead runs, and on request what the snapshot does not have."""
        if frame.names is None:
            return
        unit = frame.unit
        deletes = (
            self._deletes
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
            if deletes or self._marker.dead(name):
                point("operations.restore.delete")
                try:
                    remove_tree(held.fd, name, frame.device)
                except OSError as error:
                    self._failed(frame.path + b"/" + name, error)
                else:
                    self._tally.removed += 1

    # ------------------------------------------------------------------ files

    def _small(self, frame: Frame, held: Directory, unit: Unit, batch: Batch) -> None:
        entry = unit.entry
        name = entry.path.rpartition(b"/")[2]
        if not entry.digest and not has_content(entry):
            self._unreadable(entry)
            return
        extents = unit.extents
        refs = unit.refs
        content = []
        length = 0
        for at in range(0, len(extents), 3):
            start = extents[at + 1]
            count = extents[at + 2]
            content.append(batch.get(refs[extents[at]])[start : start + count])
            length += count
        if length != entry.size:
            raise IntegrityError("its extents do not add up to its size")
        made = nodes.write_small(held, name, content, self._names)
        try:
            self._metadata.apply(made.fd, entry, unit.owner, fresh=frame.plain)
            if entry.links > 1:
                self._remember(entry, os.fstat(made.fd))
        except BaseException:
            made.discard()
            raise
        made.finish()
        self._restored(held, name, unit, length)

    def _begin_large(
        self, frame: Frame, held: Directory, name: bytes, unit: Unit
    ) -> nodes.LargeFile:
        large = nodes.LargeFile(held, unit.entry, self._names)
        large.fresh = frame.plain
        if not frame.made:
            with suppress(OSError):
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                large.source = os.open(name, flags, dir_fd=held.fd)
        self._large = large
        return large

    def _part(self, unit: Unit, batch: Batch, large: nodes.LargeFile) -> None:
        try:
            self._write_part(unit, batch, large)
            if not unit.last:
                return
            large.require_whole()
        except BaseException:
            self._large = None
            large.discard()
            raise
        self._large = None
        held = large.directory.retain()
        try:
            if unit.entry.links > 1:
                self._remember(unit.entry, os.fstat(large.unfinished.fd))
            large.finish(self._metadata, unit.owner)
            self._restored(held, large.unfinished.name, unit, 0)
        finally:
            held.release()

    def _write_part(self, unit: Unit, batch: Batch, large: nodes.LargeFile) -> None:
        extents = unit.extents
        if unit.position != large.position:
            raise IntegrityError("a part of it is missing from the manifest")
        for at in range(0, len(extents), 3):
            start, count = extents[at + 1 : at + 3]
            if at // 3 in unit.local:
                large.copy(count)
                self._tally.kept_bytes += count
            else:
                large.write(batch.get(unit.refs[extents[at]])[start : start + count])
                self._tally.plain_bytes += count

    def _drop_large(self, *, told: bool = True) -> None:
        """Give up a large file whose end never came, because a piece of the manifest is damaged."""
        large, self._large = self._large, None
        if large is None:
            return
        large.discard()
        if told:
            self._damaged(large.entry.path, IntegrityError("its end is missing from the manifest"))

    def _kept(self, held: Directory, name: bytes, unit: Unit) -> None:
        """Give a file whose content is right the metadata it should have.

        Raises:
            OSError: It is another file now, or may not be changed.
        """
        entry = unit.entry
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=held.fd)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
                raise OSError(errno.EAGAIN, "was replaced while it was compared", name)
            self._metadata.apply(fd, entry, unit.owner, fresh=False)
            if self._manner.verifies:
                self._verifier.metadata_of(os.fstat(fd), entry, unit.owner)
                self._verifier.attributes(fd, entry)
            if entry.links > 1:
                self._remember(entry, found)
        finally:
            os.close(fd)
        self._tally.files += 1
        self._tally.unchanged += 1
        self._tally.kept_bytes += entry.size
        self._late(unit)

    def _skip(self, held: Directory, name: bytes, entry: Entry) -> None:
        self._tally.skipped += 1
        found = lookup(held.fd, name)
        if entry.links > 1 and found is not None and not stat.S_ISDIR(found.st_mode):
            self._remember(entry, found)

    def _restored(self, held: Directory, name: bytes, unit: Unit, written: int) -> None:
        self._tally.files += 1
        self._tally.plain_bytes += written
        if self._manner.verifies:
            self._verifier.file(held, (name, unit.entry, unit.owner))
        if unit.entry.extra.fsflags or unit.entry.extra.project:
            self._late(unit)

    def _unreadable(self, entry: Entry) -> None:
        self._tally.skipped += 1
        self._tally.add(
            Severity.WARNING, "unreadable", entry.path, "could not be read when it was backed up"
        )

    # ------------------------------------------------------------------ everything else

    def _flush_links(self, frame: Frame) -> None:
        held, links = frame.held, frame.links
        frame.links = []
        for unit in links if held is not None else ():
            try:
                self._node(held, unit.entry.path.rpartition(b"/")[2], unit)
            except OSError as error:
                self._failed(unit.entry.path, error)

    def _special(self, held: Directory, name: bytes, unit: Unit) -> None:
        entry = unit.entry
        if entry.type == FileType.SOCKET:
            self._tally.skipped += 1
            self._tally.add(Severity.NOTE, "socket", entry.path, "sockets are made by programs")
        elif entry.type != FileType.FIFO and not self._rights.privileged:
            self._tally.skipped += 1
            self._tally.add(Severity.WARNING, "device", entry.path, "device left out")
        else:
            self._node(held, name, unit)

    def _node(self, held: Directory | None, name: bytes, unit: Unit) -> None:
        if held is None:
            return
        entry = unit.entry
        point("operations.restore.node")
        made = nodes.make_node(held, name, entry, self._names)
        try:
            self._metadata.apply_by_path(made.fd, entry, unit.owner)
            status = os.fstat(made.fd)
            if self._manner.verifies:
                self._verifier.metadata_of(status, entry, unit.owner)
            if entry.links > 1:
                self._remember(entry, status)
        except BaseException:
            made.discard()
            raise
        made.finish()
        if entry.type == FileType.SYMLINK and self._manner.verifies:
            self._check_link(held, name, entry)
        self._tally.others += 1

    def _check_link(self, held: Directory, name: bytes, entry: Entry) -> None:
        if os.readlink(name, dir_fd=held.fd) != entry.extra.target:
            self._tally.add(Severity.DIFFERS, "differs", entry.path, "points somewhere else")

    def _remember(self, entry: Entry, status: os.stat_result) -> None:
        group = (entry.device, entry.inode)
        self._linked.setdefault(group, (entry.path, status.st_dev, status.st_ino, entry.links - 1))

    def _link(self, frame: Frame, held: Directory, name: bytes, entry: Entry) -> None:
        group = (entry.device, entry.inode)
        known = self._linked.get(group)
        found = lookup(held.fd, name) if frame.names is not None else None
        if entry.type == FileType.SYMLINK:
            for each in self._stack:
                self._flush_links(each)
            known = self._linked.get(group)
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
            del self._linked[group]
        else:
            self._linked[group] = (path, device, inode, left - 1)
        if found is not None and (found.st_dev, found.st_ino) == (device, inode):
            self._tally.unchanged += 1
        elif found is not None and not self._manner.replaces:
            self._tally.skipped += 1
            return
        else:
            self._make_link(held, name, path, (device, inode))
        self._tally.files += 1

    def _make_link(self, held: Directory, name: bytes, path: bytes, inode: tuple[int, int]) -> None:
        above, _, first = path.rpartition(b"/")
        if above == self._stack[-1].path or not above:
            source = held.fd if above == self._stack[-1].path else self._target.root
            nodes.make_link((source, first), (held, name), self._names, inode)
            return
        source = self._target.open_path(above, os.O_PATH | os.O_DIRECTORY)
        try:
            nodes.make_link((source, first), (held, name), self._names, inode)
        finally:
            os.close(source)

    def _late(self, unit: Unit) -> None:
        extra = unit.entry.extra
        if extra.fsflags or extra.project:
            if self._rights.privileged:
                self.late.append(unit)
            else:
                self._tally.once(Severity.NOTE, "flags", "inode flags and project ids left out")

    # ------------------------------------------------------------------ what goes wrong

    def _damaged(self, path: bytes, error: IntegrityError) -> None:
        self._tally.add(Severity.DAMAGED, "damaged", path, str(error))

    def _failed(self, path: bytes, error: OSError) -> None:
        """Tell what concerns one path, end what concerns all.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        if error.errno in _FULL:
            raise NoSpaceError(
                f"target is full: {printable(self._target.path)}",
                hint="Make room and run the same command again; it continues.",
            ) from error
        if error.errno in _BROKEN:
            raise TargetError(
                f"target failed at {printable(path)}: {error.strerror}",
                hint="Check the disk and the kernel's log.",
            ) from error
        self._tally.add(Severity.FAILED, "failed", path, error.strerror or str(error))
