"""Building the tree: each unit of the manifest, in path order, as what it is."""

import errno
import os
import stat
from concurrent.futures import Future
from contextlib import suppress

from drkeeper.errors import IntegrityError
from drkeeper.faults import point
from drkeeper.model.entry import Entry, FileType
from drkeeper.operations.restore import nodes
from drkeeper.operations.restore.directories import Directories, Frame
from drkeeper.operations.restore.flags import Flags
from drkeeper.operations.restore.layout import has_content
from drkeeper.operations.restore.links import HardLinks
from drkeeper.operations.restore.means import Means
from drkeeper.operations.restore.report import Severity
from drkeeper.operations.restore.small import Group, Place, Ready, Writers, Written
from drkeeper.operations.restore.target import OPEN_FILE, Directory, lookup
from drkeeper.operations.restore.work import Kind, Unit
from drkeeper.repository.fetch import Batch

_WAITING_LINKS = 10_000
"""Symbolic links wait for the end of their directory, but not more than these."""


class Tree:
    """Applies units, in path order, to a target.

    Attributes:
        flags: Inode flags, to be set when everything else is done.
    """

    def __init__(self, means: Means) -> None:
        """Build in the target of ``means``."""
        self._means = means
        self._tally = means.tally
        self._names = means.target.names
        self._writers = Writers(means)
        self.flags = Flags(means)
        self._directories = Directories(means, flush_links=self._flush_links, flags=self.flags)
        self._links = HardLinks(means, self._directories)
        self._group: Group | None = None
        self._group_frame: Frame | None = None
        self._handed: list[Future[Written]] = []
        self._large: nodes.LargeFile | None = None

    @property
    def devices(self) -> dict[int, int]:
        """A descriptor on every file system that was entered, by device."""
        return self._directories.devices

    def apply(self, units: list[Unit], batch: Batch) -> list[Future[Written]]:
        """Do a batch of work; return what other threads still do with its chunks.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
            DrkeeperError: As the batch says, but for damage, which is told.
        """
        means = self._means
        for unit in units:
            try:
                self._unit(unit, batch)
            except IntegrityError as error:
                means.damaged(unit.entry.path, error)
            except OSError as error:
                means.failed(unit.entry.path, error)
            except (OverflowError, ValueError) as error:
                means.impossible(unit.entry.path, error)
        self._hand_over()
        handed, self._handed = self._handed, []
        return handed

    def settle(self, handed: list[Future[Written]]) -> None:
        """Wait for what other threads do, and count it.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        for each in handed:
            written = each.result()
            self._tally.files += written.files
            self._tally.plain_bytes += written.plain_bytes

    def finish(self) -> None:
        """Leave every directory that is still open.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        self._drop_large()
        self._directories.finish()

    def abandon(self) -> None:
        """Close everything; nothing unfinished stays."""
        self._writers.close()
        self._drop_large(told=False)
        self._directories.abandon()

    # ------------------------------------------------------------------ in path order

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
        frame = self._directories.current
        if frame.path != above:
            self._hand_over()
            frame = self._directories.at(above)
        if frame.names is not None:
            frame.names.add(name)
        if entry.type == FileType.DIRECTORY:
            self._directories.enter(frame, name, unit)
        else:
            self._content(frame, name, unit, batch)

    def _content(self, frame: Frame, name: bytes, unit: Unit, batch: Batch) -> None:
        entry, held = unit.entry, frame.held
        if held is None:
            self._tally.skipped += 1
            return
        if frame.names is not None:
            self._directories.clear(frame, held, name)
        if unit.kind == Kind.SKIP:
            self._skip(held, name, entry)
        elif unit.kind == Kind.LINK:
            self._links.make(frame, held, name, entry)
        elif unit.kind == Kind.KEPT:
            self._kept(held, name, unit)
        elif unit.kind == Kind.PART:
            self._part(unit, batch, self._begin_large(frame, held, name, unit))
        elif entry.type == FileType.FILE:
            self._small(frame, frame.place(held), unit, batch)
        elif entry.type == FileType.SYMLINK:
            frame.links.append(unit)
            if len(frame.links) >= _WAITING_LINKS:
                self._flush_links(frame)
        else:
            self._special(held, name, unit)

    # ------------------------------------------------------------------ files

    def _small(self, frame: Frame, place: Place, unit: Unit, batch: Batch) -> None:
        entry = unit.entry
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
        file = Ready(entry.path.rpartition(b"/")[2], unit, content)
        extra = entry.extra
        if entry.links > 1 or extra.fsflags or extra.project:
            self._write_now(place, file)
            return
        group = self._group
        if group is None or self._group_frame is not frame or group.full:
            self._hand_over()
            group = self._group = Group(place)
            self._group_frame = frame
        group.files.append(file)

    def _write_now(self, place: Place, file: Ready) -> None:
        """Write a file that something later depends on."""
        entry = file.unit.entry
        status = self._writers.write(place, file)
        if status is None:
            return
        self._tally.files += 1
        self._tally.plain_bytes += entry.size
        if entry.links > 1:
            self._links.remember(entry, status)
        self.flags.add(entry)

    def _hand_over(self) -> None:
        """Let another thread write the files that were gathered."""
        group, self._group = self._group, None
        frame, self._group_frame = self._group_frame, None
        if group is not None and frame is not None:
            future = self._writers.submit(group)
            frame.begun(future)
            self._handed.append(future)

    def _begin_large(
        self, frame: Frame, held: Directory, name: bytes, unit: Unit
    ) -> nodes.LargeFile:
        large = nodes.LargeFile(held, unit.entry, self._names)
        large.fresh = frame.plain
        if not frame.made:
            with suppress(OSError):
                large.source = os.open(name, OPEN_FILE, dir_fd=held.fd)
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
                self._links.remember(unit.entry, os.fstat(large.unfinished.fd))
            large.finish(self._means.metadata, unit.owner)
            self._restored(held, large.unfinished.name, unit)
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

    def _restored(self, held: Directory, name: bytes, unit: Unit) -> None:
        """Count a large file, and have it read back before its directory is left."""
        self._tally.files += 1
        if self._means.manner.verifies:
            written = (name, unit.entry, unit.owner)
            self._directories.current.begun(self._means.verifier.begin(held, written))
        self.flags.add(unit.entry)

    def _drop_large(self, *, told: bool = True) -> None:
        """Give up a large file whose end never came, because a piece of the manifest is damaged."""
        large, self._large = self._large, None
        if large is None:
            return
        large.discard()
        if told:
            error = IntegrityError("its end is missing from the manifest")
            self._means.damaged(large.entry.path, error)

    def _kept(self, held: Directory, name: bytes, unit: Unit) -> None:
        """Give a file whose content is right the metadata it should have.

        Raises:
            OSError: It is another file now, or may not be changed.
        """
        entry = unit.entry
        fd = os.open(name, OPEN_FILE, dir_fd=held.fd)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
                raise OSError(errno.EAGAIN, "was replaced while it was compared", name)
            self._means.metadata.apply(fd, entry, unit.owner, fresh=False)
            if self._means.manner.verifies:
                self._means.verifier.metadata_of(os.fstat(fd), entry, unit.owner)
                self._means.verifier.attributes(fd, entry)
            if entry.links > 1:
                self._links.remember(entry, found)
        finally:
            os.close(fd)
        self._tally.files += 1
        self._tally.unchanged += 1
        self._tally.kept_bytes += entry.size
        self.flags.add(entry)

    def _skip(self, held: Directory, name: bytes, entry: Entry) -> None:
        self._tally.skipped += 1
        found = lookup(held.fd, name)
        if entry.links > 1 and found is not None and not stat.S_ISDIR(found.st_mode):
            self._links.remember(entry, found)

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
                self._means.failed(unit.entry.path, error)

    def _special(self, held: Directory, name: bytes, unit: Unit) -> None:
        entry = unit.entry
        if entry.type == FileType.SOCKET:
            self._tally.skipped += 1
            self._tally.add(Severity.NOTE, "socket", entry.path, "sockets are made by programs")
        elif entry.type != FileType.FIFO and not self._means.rights.privileged:
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
            self._means.metadata.apply_by_path(made.fd, entry, unit.owner)
            status = os.fstat(made.fd)
            if self._means.manner.verifies:
                self._means.verifier.metadata_of(status, entry, unit.owner)
            if entry.links > 1:
                self._links.remember(entry, status)
        except BaseException:
            made.discard()
            raise
        made.finish()
        if entry.type == FileType.SYMLINK and self._means.manner.verifies:
            self._check_link(held, name, entry)
        self._tally.others += 1

    def _check_link(self, held: Directory, name: bytes, entry: Entry) -> None:
        if os.readlink(name, dir_fd=held.fd) != entry.extra.target:
            self._tally.add(Severity.DIFFERS, "differs", entry.path, "points somewhere else")
