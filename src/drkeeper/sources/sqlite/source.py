"""The ``sqlite`` source and its view."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, cast

from drkeeper import faults
from drkeeper.clock import Clock
from drkeeper.errors import SourceError
from drkeeper.model.entry import NO_EXTRA, Entry, EntryFlag, FileType, sort_key
from drkeeper.model.instants import exact_rfc3339
from drkeeper.sources.base import (
    SMALL_BYTES,
    Candidate,
    Captured,
    Consistency,
    Content,
    ContentSink,
    Finding,
    Level,
)
from drkeeper.sources.files.entries import entry_of, extra_of
from drkeeper.sources.files.extras import KEPT_FLAGS
from drkeeper.sources.files.owners import SystemOwners
from drkeeper.sources.files.spec import Roots
from drkeeper.sources.sqlite.copying import Copied, Copier
from drkeeper.sources.sqlite.places import Found, Place, check_places, found
from drkeeper.sources.sqlite.spec import EMPTY, FINGERPRINT, SqliteSpec, roots_of_databases

FORM: Final = "drkeeper.sqlite.1"
"""What the file with a fingerprint says it is."""

_PARENT: Final = int(EntryFlag.PARENT)


class _Part(Enum):
    """What a candidate is."""

    DIRECTORY = "directory"
    DATABASE = "database"
    EMPTY = "empty"
    FINGERPRINT = "fingerprint"


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is to be read for a candidate.

    Attributes:
        part: What it is.
        place: The directory, or the database that it belongs to.
    """

    part: _Part
    place: Place


class SqliteSource:
    """Databases that programs may be writing to.

    Args:
        spec: Which ones.
        clock: Says when each was locked.

    Raises:
        ConfigurationError: A path of ``spec`` is malformed.
    """

    def __init__(self, spec: SqliteSpec, *, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._roots = roots_of_databases(spec.databases)

    @property
    def kind(self) -> str:
        """The word for it in policies."""
        return "sqlite"

    @contextmanager
    def freeze(self, report: Callable[[Finding], None]) -> Iterator["SqliteView"]:
        """Begin; each database is held still by itself while it is copied.

        Raises:
            SourceError: A database is missing or reached through a link.
            ConfigurationError: There is no directory for copies.
        """
        faults.point("sources.sqlite.freeze.begin")
        consistent_at = self._clock.now()
        copier = Copier(self._spec.spool, busy_timeout=self._spec.busy_timeout, clock=self._clock)
        check_places(self._roots)
        copier.prepare()
        with ExitStack() as stack:
            stack.callback(faults.point, "sources.sqlite.freeze.end")
            yield SqliteView(self._roots, copier, report, consistent_at=consistent_at)


class SqliteView:
    """Databases, each as it was at one instant not earlier than ``consistent_at``.

    A database is copied when it is captured, and only then locked, so that there is never more than
    one copy and none of them waits for the upload of another.
    """

    def __init__(
        self,
        roots: Roots,
        copier: Copier,
        report: Callable[[Finding], None],
        *,
        consistent_at: datetime,
    ) -> None:
        self._roots = roots
        self._copier = copier
        self._report = report
        self._consistent_at = consistent_at
        self._owners = SystemOwners()
        self._fingerprints: dict[bytes, bytes] = {}

    @property
    def consistent_at(self) -> datetime:
        """Before the first lock was taken: whatever was committed by then is in the snapshot."""
        return self._consistent_at

    @property
    def consistency(self) -> Consistency:
        """Every database holds whole transactions."""
        return Consistency.APPLICATION

    @property
    def owners(self) -> SystemOwners:
        """Names of users and groups on this machine."""
        return self._owners

    def walk(self) -> Iterator[list[Candidate]]:
        """Yield the databases, what goes with them, and the directories that lead to them.

        Raises:
            SourceError: A database is missing.
        """
        pieces: dict[bytes, _Piece] = {}
        for path in self._roots.named:
            with found(path) as one:
                for above in one.above:
                    pieces[above.path] = _Piece(_Part.DIRECTORY, above)
                pieces[path] = _Piece(_Part.DATABASE, one.place)
                for suffix in EMPTY:
                    pieces[path + suffix] = _Piece(_Part.EMPTY, one.place)
                pieces[path + FINGERPRINT] = _Piece(_Part.FINGERPRINT, one.place)
        yield [
            Candidate(path, _sized(piece), piece)
            for path, piece in sorted(pieces.items(), key=lambda item: sort_key(item[0]))
        ]

    def unchanged(self, candidates: Sequence[Candidate], old: Sequence[Entry]) -> int:
        """Return 0: no time of a file says whether something was committed beside it."""
        del candidates, old
        return 0

    def capture(self, candidate: Candidate, sink: ContentSink) -> Captured:
        """Copy and read a database, or say what goes with one that was read before.

        Raises:
            SourceBusyError: It stayed locked.
            SourceError: It is no database, is damaged, or cannot be opened.
            NoSpaceError: There is no room for its copy.
        """
        piece = cast("_Piece", candidate.parent)
        place = piece.place
        match piece.part:
            case _Part.DIRECTORY:
                extra = extra_of(place.status, place.extras, _PARENT)
                return Captured(entry_of(place.path, place.status, extra), None)
            case _Part.DATABASE:
                return self._database(place.path, sink)
            case _Part.EMPTY:
                return _beside(candidate.path, place.status, b"", sink)
            case _Part.FINGERPRINT:
                data = self._fingerprints.pop(place.path)
                return _beside(candidate.path, place.status, data, sink)

    def _database(self, path: bytes, sink: ContentSink) -> Captured:
        with found(path) as one, self._copier.copied(one) as copied:
            self._tell_of(one, copied)
            faults.point("sources.sqlite.capture.read")
            size = os.fstat(copied.descriptor).st_size
            content = _content(copied.descriptor, size, sink, int(_page_bytes(copied)))
            self._fingerprints[path] = _fingerprint(path, copied)
            status, extras = one.place.status, one.place.extras
        extras = extras._replace(fsflags=int(copied.answer["fsflags"]) & KEPT_FLAGS)
        entry = entry_of(path, status, extra_of(status, extras, 0), content.digest, size=size)
        entry.links = 1  # further names are no part of the snapshot
        return Captured(entry, content)

    def _tell_of(self, one: Found, copied: Copied) -> None:
        """Report what an operator should know about a database.

        Raises:
            SourceError: It is damaged.
        """
        path, answer = one.place.path, copied.answer
        if os.fstat(copied.descriptor).st_size != answer["bytes"]:
            raise SourceError(
                f"the copy of database /{path.decode(errors='replace')} was changed",
                hint="Look who else may write in the cache directory.",
            )
        if one.place.status.st_nlink > 1:
            text = "It has several names; programs that use different ones damage it."
            self._report(Finding(Level.WARNING, "several-names", path, text))
        if answer["empty"]:
            text = "It is empty."
            self._report(Finding(Level.WARNING, "empty", path, text))
        if answer["quick_check"] is None:
            text = "It needs functions of its program, so that its structure was not checked."
            self._report(Finding(Level.NOTE, "unchecked", path, text))
        if broken := [text for text in answer["quick_check"] or () if not is_about_values(text)]:
            raise SourceError(
                f"database /{path.decode(errors='replace')} is damaged: {broken[0]}",
                hint="Repair it, or restore it from an earlier snapshot.",
            )
        if answer["quick_check"]:
            text = f"Its rows break its own rules: {answer['quick_check'][0]}."
            self._report(Finding(Level.WARNING, "rules-broken", path, text))
        if answer["foreign_keys"]:
            count = sum(int(row[3]) for row in answer["foreign_keys"])
            text = f"Rows that point nowhere, against its foreign keys: {count}."
            self._report(Finding(Level.NOTE, "foreign-keys", path, text))


def is_about_values(text: str) -> bool:
    """Whether a message of ``quick_check`` is about what a program wrote, not about structure."""
    return " value in " in text


def _page_bytes(copied: Copied) -> int:
    return int(copied.answer["facts"]["page_size"])


def _content(descriptor: int, size: int, sink: ContentSink, page_bytes: int) -> Content:
    """Give a copy to the sink, in whole pages."""
    if size < SMALL_BYTES:
        return sink.small(os.pread(descriptor, size, 0))
    stream = sink.stream()
    offset = 0
    while offset < size:
        view = stream.buffer()
        whole = len(view) - len(view) % page_bytes
        count = os.preadv(descriptor, [view[: min(whole, size - offset)]], offset)
        stream.filled(count)
        offset += count
    return stream.end()


def _fingerprint(path: bytes, copied: Copied) -> bytes:
    """Return the file that tells, after a restore, whether everything is there."""
    answer: dict[str, Any] = {
        "form": FORM,
        "database": "/" + path.decode("utf-8", "surrogateescape"),
        "locked_at": exact_rfc3339(copied.locked_at),
        **{name: copied.answer[name] for name in _RECORDED},
    }
    return json.dumps(answer, indent=1, sort_keys=True).encode() + b"\n"


_RECORDED: Final = (
    "bytes",
    "content",
    "facts",
    "foreign_keys",
    "quick_check",
    "sha256",
    "sqlite",
)


def _beside(path: bytes, status: os.stat_result, data: bytes, sink: ContentSink) -> Captured:
    """Return a small file of the owner and mode of the database that it lies beside."""
    content = sink.small(data) if len(data) < SMALL_BYTES else _streamed(data, sink)
    entry = Entry(
        path,
        int(FileType.FILE),
        status.st_mode & 0o666,
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        status.st_ctime_ns,
        0,
        0,
        1,
        len(data),
        content.digest,
        (),
        NO_EXTRA,
    )
    return Captured(entry, content)


def _streamed(data: bytes, sink: ContentSink) -> Content:
    stream = sink.stream()
    offset = 0
    while offset < len(data):
        view = stream.buffer()
        part = data[offset : offset + len(view)]
        view[: len(part)] = part
        stream.filled(len(part))
        offset += len(part)
    return stream.end()


def _sized(piece: _Piece) -> os.stat_result:
    """Return the ``stat`` of a candidate; what goes with a database counts as nothing."""
    status = piece.place.status
    if piece.part in {_Part.DIRECTORY, _Part.DATABASE}:
        return status
    fields = list(status)
    fields[6] = 0
    return os.stat_result(fields)
