"""The ``files`` source and its view."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import cast

from drkeeper import faults
from drkeeper.clock import Clock
from drkeeper.model.entry import Entry, EntryFlag, FileType
from drkeeper.sources.base import Candidate, Captured, Consistency, ContentSink, Finding
from drkeeper.sources.files.capture import Capture
from drkeeper.sources.files.directories import Directory
from drkeeper.sources.files.entries import FORMAT, TYPES
from drkeeper.sources.files.excludes import Excludes
from drkeeper.sources.files.owners import SystemOwners
from drkeeper.sources.files.reach import check_reach
from drkeeper.sources.files.spec import FilesSpec, roots_of
from drkeeper.sources.files.tally import Tally
from drkeeper.sources.files.walk import Walk

RACY = timedelta(seconds=60)
"""How long a write through a memory map may go without moving the times of the file.

Source:
    docs/sources-files.md, "Changes": dirty pages are written back after 30 s, looked for every 5 s
    (Linux, ``vm.dirty_expire_centisecs`` and ``vm.dirty_writeback_centisecs``); then some.
"""

_DAY_NS = 86_400_000_000_000
_FILE = int(FileType.FILE)
_DIRECTORY = int(FileType.DIRECTORY)
_UNSURE = int(
    EntryFlag.CHANGED | EntryFlag.UNREADABLE | EntryFlag.RACY | EntryFlag.EXTRAS_UNREADABLE
)
_OF_DIRECTORIES = int(
    EntryFlag.UNREADABLE | EntryFlag.PARENT | EntryFlag.CACHE | EntryFlag.OTHER_FILE_SYSTEM
)


class FilesSource:
    """Trees of files, read while they may be changing.

    Args:
        spec: Which files.
        clock: Dates the walk and tells young files from old ones.

    Raises:
        ConfigurationError: A path or a pattern of ``spec`` is malformed.
    """

    def __init__(self, spec: FilesSpec, *, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._roots = roots_of(spec)
        self._excludes = Excludes.of(spec.exclude, self._roots.named)

    @property
    def kind(self) -> str:
        """The word for it in policies."""
        return "files"

    @contextmanager
    def freeze(self, report: Callable[[Finding], None]) -> Iterator["FilesView"]:
        """Begin to read the trees; nothing can hold them still.

        Raises:
            SourceError: A named path is missing, unreadable or reached through a link.
        """
        consistent_at = self._clock.now()
        faults.point("sources.files.freeze.begin")
        check_reach(self._roots)
        walk = Walk(self._spec, self._roots, self._excludes, report)
        view = FilesView(
            walk,
            Capture(report),
            clock=self._clock,
            consistent_at=consistent_at,
            reread_days=self._spec.reread_days,
        )
        try:
            yield view
        finally:
            walk.close()
            faults.point("sources.files.freeze.end")


class FilesView:
    """One walk over the trees of a spec.

    Candidates may be judged and captured by several threads; ``walk`` belongs to one.
    """

    def __init__(
        self,
        walk: Walk,
        capture: Capture,
        *,
        clock: Clock,
        consistent_at: datetime,
        reread_days: int,
    ) -> None:
        self._walk = walk
        self._capture = capture
        self._clock = clock
        self._consistent_at = consistent_at
        self._owners = SystemOwners()
        self._reread_days = reread_days
        self._day = _nanoseconds(consistent_at) // _DAY_NS

    @property
    def consistent_at(self) -> datetime:
        """When the walk began."""
        return self._consistent_at

    @property
    def consistency(self) -> Consistency:
        """A tree that is read where it lies was never like this at any one instant."""
        return Consistency.NONE

    @property
    def owners(self) -> SystemOwners:
        """Names of users and groups on this machine."""
        return self._owners

    @property
    def tally(self) -> Tally:
        """What the walk has met so far."""
        return self._walk.tally

    def walk(self) -> Iterator[list[Candidate]]:
        """Yield every path once, in the order of ``model.entry.sort_key``, in batches.

        Raises:
            SourceError: A named path is missing or cannot be read.
        """
        for batch in self._walk.batches():
            # Asked once a batch, before any of it is read: a file may then seem younger than it
            # was when it was read, never older.
            self._capture.racy_ns = _nanoseconds(self._clock.now() - RACY)
            yield batch

    def unchanged(self, candidates: Sequence[Candidate], old: Sequence[Entry]) -> int:
        """Return how many candidates, from the first one on, ``old`` still describes.

        The device number is compared only where it tells files with several names apart: it may
        be another after a restart, and then nothing else has changed.
        """
        count = 0
        for (path, status, parent), entry in zip(candidates, old, strict=False):
            mode = status.st_mode
            flags = entry.extra.flags
            if (
                entry.path != path
                or entry.ctime_ns != status.st_ctime_ns
                or entry.mtime_ns != status.st_mtime_ns
                or entry.inode != status.st_ino
                or entry.mode != mode & 0o7777
                or entry.uid != status.st_uid
                or entry.gid != status.st_gid
                or entry.links != status.st_nlink
                or entry.type != TYPES[mode & FORMAT]
                or flags & _UNSURE
            ):
                break
            if entry.type == _DIRECTORY:
                if flags & _OF_DIRECTORIES != cast("Directory", parent).flags:
                    break
            elif (entry.links != 1 and entry.device != status.st_dev) or (
                entry.type == _FILE
                and (
                    entry.size != status.st_size
                    or not entry.digest
                    or (self._reread_days and self._is_due(path))
                )
            ):
                break
            count += 1
        return count

    def capture(self, candidate: Candidate, sink: ContentSink) -> Captured | None:
        """Read one candidate of the current batch; ``None`` when it has vanished.

        Raises:
            SourceError: The process is out of descriptors or memory.
        """
        return self._capture.capture(candidate, sink)

    def _is_due(self, path: bytes) -> bool:
        """Whether today is the day on which this file is read anyway."""
        return zlib.crc32(path) % self._reread_days == self._day % self._reread_days


def _nanoseconds(instant: datetime) -> int:
    """Return nanoseconds since the epoch, exact to the microsecond."""
    return round(instant.timestamp() * 1_000_000) * 1000
