"""The source port: something worth protecting, able to be read at one instant."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from os import stat_result
from typing import NamedTuple, Protocol

from drkeeper.model.entry import Entry


class Consistency(StrEnum):
    """How far the content of a snapshot describes one instant."""

    APPLICATION = "application"  # the application agreed that this is a consistent state
    CRASH = "crash"  # one instant, as after a power cut
    NONE = "none"  # read while it may have been changing


class Level(StrEnum):
    """How much a finding matters."""

    NOTE = "note"  # worth a line in the report
    WARNING = "warning"  # some data is not in the snapshot as it should be


@dataclass(frozen=True, slots=True)
class Finding:
    """Something an operator should know about one path.

    Attributes:
        level: Whether the snapshot is the worse for it.
        code: A stable word: ``unreadable``, ``changed``, ``vanished``, ``looks-like-database``...
        path: As in ``Entry.path``.
        message: One sentence without the path.
    """

    level: Level
    code: str
    path: bytes
    message: str


class Content(Protocol):
    """Content that a sink has taken; only the sink knows where it will be."""

    @property
    def digest(self) -> bytes:
        """BLAKE3 of the bytes, in the order they were given."""
        ...

    @property
    def plain_bytes(self) -> int:
        """Number of bytes given."""
        ...


class ContentStream(Protocol):
    """Takes the content of one large file, buffer by buffer, without copying."""

    def buffer(self) -> memoryview:
        """Return writable space for the next bytes, at least 64 KiB; may wait."""
        ...

    def filled(self, count: int) -> None:
        """Say how many bytes of the last ``buffer()`` now hold content."""
        ...

    def end(self) -> Content:
        """Say that the content is complete."""
        ...

    def discard(self) -> None:
        """Forget the content so far; it was not what it should be."""
        ...


class ContentSink(Protocol):
    """Where a view puts the content of files."""

    def small(self, data: bytes) -> Content:
        """Take the whole content of a file shorter than ``SMALL_BYTES``."""
        ...

    def stream(self) -> ContentStream:
        """Begin to take the content of a larger file; one stream at a time."""
        ...


SMALL_BYTES = 256 * 1024
"""Files shorter than this are read whole and packed together (docs/format.md, "Content")."""


class Candidate(NamedTuple):
    """A path that was seen and not yet read.

    Attributes:
        path: As in ``Entry.path``.
        stat: From ``lstat``.
        parent: The view's own handle for reading it; valid until the next batch is asked for.
    """

    path: bytes
    stat: stat_result
    parent: object


class Captured(NamedTuple):
    """What was read of one path.

    Attributes:
        entry: Complete but for ``extents``, which the repository fills in.
        content: ``None`` for anything without content.
    """

    entry: Entry
    content: Content | None


class View(Protocol):
    """A source held still, or as still as it can be held."""

    @property
    def consistent_at(self) -> datetime:
        """The instant the data describes, aware; the start of the walk for a live tree."""
        ...

    @property
    def consistency(self) -> Consistency:
        """What kind of instant that is."""
        ...

    @property
    def owners(self) -> "Owners":
        """Names of users and groups."""
        ...

    def walk(self) -> Iterator[list[Candidate]]:
        """Yield every path once, in the order of ``model.entry.sort_key``, in batches.

        Raises:
            SourceError: A path that the policy names is missing or cannot be read at all.
        """
        ...

    def unchanged(self, candidates: Sequence[Candidate], old: Sequence[Entry]) -> int:
        """Return how many candidates, from the first one on, need not be read.

        Each of them is still described by the entry at its place in ``old``; counting ends at the
        first that is not, and where either of the two ends. Asked of runs, since nothing else is
        done for a file that is unchanged.
        """
        ...

    def capture(self, candidate: Candidate, sink: ContentSink) -> Captured | None:
        """Read one candidate of the current batch; ``None`` when it has vanished.

        What could not be read is reported as a finding and flagged in the entry, never raised.
        """
        ...


class Owners(Protocol):
    """Names of users and groups, looked up once each."""

    def user(self, uid: int) -> str:
        """Return the user's name, or ``""`` when there is none."""
        ...

    def group(self, gid: int) -> str:
        """Return the group's name, or ``""`` when there is none."""
        ...


class Source(Protocol):
    """Something worth protecting."""

    @property
    def kind(self) -> str:
        """The word for it in policies: ``files``, ``sqlite``, ``postgresql``..."""
        ...

    def freeze(self, report: Callable[[Finding], None]) -> AbstractContextManager[View]:
        """Hold the source at one instant until the context ends.

        Leaving the context releases every descriptor, lock and snapshot, also after an exception.

        Args:
            report: Called with each finding, from the thread that walks or captures.

        Raises:
            SourceError: The source is missing or did not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class RestoredTree:
    """The files of a snapshot, back on a disk, where whoever proves them may change them.

    Attributes:
        root: Where the path ``var/lib/x`` of the snapshot is ``root/var/lib/x``; absolute, and the
            same to whoever runs programs in scratch.
        consistent_at: The instant that the snapshot was said to describe.
    """

    root: bytes
    consistent_at: datetime


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended.

    Attributes:
        status: Its exit status; negative when a signal ended it.
        out: What it wrote to standard output, as far as the runner keeps it.
        err: The same of standard error.
    """

    status: int
    out: bytes
    err: bytes


class Runner(Protocol):
    """Runs programs where a restore is proven, with whatever confinement that has."""

    def run(self, argv: Sequence[str], *, timeout: timedelta) -> Ran:
        """Run one program to its end, with nothing on standard input.

        Raises:
            DrkeeperError: It could not be started, or took longer; it is gone by then.
        """
        ...


@dataclass(frozen=True, slots=True)
class Probed:
    """One question that was put to a restored source.

    Attributes:
        name: A stable word: ``bytes``, ``schema``, ``rows``, ``integrity``...
        subject: What was asked about: a path as in ``Entry.path``, or whatever the kind has.
        passed: Whether the answer was the one that was written down beforehand.
        expected: What was written down beforehand, in words of one line.
        found: What there is, likewise.
    """

    name: str
    subject: bytes
    passed: bool
    expected: str
    found: str


class Running(Protocol):
    """A restored source that answers questions."""

    def probe(self) -> Iterator[Probed]:
        """Ask everything that this kind of source can be asked without knowing the application.

        What is wrong is a ``Probed`` that did not pass, never an error. What was expected was
        written down when the snapshot was made, not read from the source of today.

        Raises:
            DrkeeperError: The scratch environment broke, which says nothing about the snapshot.
        """
        ...

    def fingerprint(self) -> Mapping[str, object]:
        """Return what tells this state from another: counts, greatest keys, schema, digests.

        Raises:
            DrkeeperError: The scratch environment broke.
        """
        ...

    def newest_instant(self) -> datetime | None:
        """Return the instant up to which everything is in it, by its own evidence.

        ``None`` when it has no such evidence; a drill then measures from ``consistent_at``.
        """
        ...


class Recovery(Protocol):
    """How a kind of source comes back to life from its files."""

    @property
    def kind(self) -> str:
        """As in ``Source``."""
        ...

    def rebuild(self, restored: RestoredTree) -> None:
        """Make of the files what its engine can be started on; nothing, for most kinds.

        Raises:
            TargetError: What is there cannot become that.
        """
        ...

    def start(self, restored: RestoredTree, runner: Runner) -> AbstractContextManager[Running]:
        """Start it in scratch; leaving the context ends whatever was started.

        Raises:
            DrkeeperError: It did not start.
        """
        ...
