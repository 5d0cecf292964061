"""Merging what a source holds now with the manifest before: the inner loop of every backup.

Two streams in the same order. Runs of unchanged entries are taken over as runs, so that an
unchanged file costs one comparison; whatever is new or changed is captured.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from drkeeper.model.entry import Entry, EntryFlag, FileType, sort_key
from drkeeper.repository.content import StoredContent
from drkeeper.repository.previous import PreviousPiece
from drkeeper.repository.writer import SnapshotWriter
from drkeeper.sources.base import Candidate, ContentSink, View

_CONTINUED = int(EntryFlag.CONTINUED)
_UNREADABLE = int(EntryFlag.UNREADABLE)
_CHANGED = int(EntryFlag.CHANGED)
_PARENT = int(EntryFlag.PARENT)
_FILE = int(FileType.FILE)
_DIRECTORY = int(FileType.DIRECTORY)

_RUN: Final = 64
"""Candidates compared at once: so many that asking costs nothing, and few enough to cut out."""


@dataclass(slots=True)
class Tally:
    """What a backup has met so far.

    Attributes:
        files_new: Regular files that were not there before.
        files_changed: Regular files that were read because something about them changed.
        files_unchanged: Regular files that were not read.
        directories: Directories, without those above the source.
        others: Links, devices and the like.
        vanished: Paths that were gone before they could be read.
        unreadable: Paths whose content could not be read.
        changing: Files that kept changing while they were read.
        plain_bytes: Bytes of all regular files.
    """

    files_new: int = 0
    files_changed: int = 0
    files_unchanged: int = 0
    directories: int = 0
    others: int = 0
    vanished: int = 0
    unreadable: int = 0
    changing: int = 0
    plain_bytes: int = 0

    @property
    def files(self) -> int:
        """Regular files."""
        return self.files_new + self.files_changed + self.files_unchanged

    @property
    def entries(self) -> int:
        """Everything that has a path."""
        return self.files + self.directories + self.others


def _nothing(path: bytes) -> None:
    del path


class Merge:
    """One backup's merge."""

    def __init__(
        self,
        view: View,
        writer: SnapshotWriter,
        previous: Iterator[PreviousPiece],
        *,
        hurried: Callable[[], bool] = lambda: False,
        sink: ContentSink | None = None,
    ) -> None:
        """Write what ``view`` holds to ``writer``, building on ``previous``.

        ``hurried`` says whether ``after_batch`` is to be called after each file that is read.
        ``sink`` takes content for the writer; what it raises ends the merge before that file.
        """
        self.tally = Tally()
        self._hurried = hurried
        self._after_batch: Callable[[bytes], None] = _nothing
        self._view = view
        self._writer = writer
        self._sink = writer if sink is None else sink
        self._pieces = previous
        self._piece: PreviousPiece | None = None
        self._old: list[Entry] = []
        self._at = 0
        self._begin = 0

    def run(self, after_batch: Callable[[bytes], None]) -> None:
        """Merge to the end; ``after_batch`` is called between batches with the last path.

        Raises:
            SourceError: What the policy names is missing or cannot be read.
        """
        self._next_piece()
        self._after_batch = after_batch
        for batch in self._view.walk():
            self._merge(batch)
            if batch:
                after_batch(batch[-1].path)
        self._flush()

    def flush(self) -> None:
        """Hand over the run of unchanged entries met so far."""
        self._flush()

    def _merge(self, batch: list[Candidate]) -> None:
        unchanged = self._view.unchanged
        begin = 0
        while begin < len(batch):
            old, at = self._old, self._at
            if at < len(old):
                count = unchanged(batch[begin : begin + _RUN], old[at : at + _RUN])
                if count:
                    begin += count
                    self._pass(count, kept=True)
                    continue
            candidate = batch[begin]
            if at < len(old) and old[at].path == candidate.path:
                self._flush()
                self._pass(1, kept=False)
                self._capture(candidate, was_there=old[at].type == _FILE)
            elif old and self._found(candidate.path):
                continue  # now it is beside its entry
            else:
                self._capture(candidate, was_there=False)
            begin += 1
            if self._hurried():
                self._after_batch(candidate.path)

    def _pass(self, count: int, *, kept: bool) -> None:
        """Go past entries that belong to what was met, into the next piece if need be."""
        self._at += count
        if not kept:
            self._begin = self._at
        # Only the last one can be continued: what follows it then has no candidate of its own.
        entry = self._old[self._at - 1]
        if entry.extra.flags & _CONTINUED:
            self._pass_continued(entry.path, kept=kept)
        if self._at == len(self._old):
            self._next_piece()

    def _found(self, path: bytes) -> bool:
        """Go on to ``path`` in the manifest before; whether it is there."""
        self._flush()
        key = sort_key(path)
        while True:
            old, at, end = self._old, self._at, len(self._old)
            while at < end and sort_key(old[at].path) < key:
                at += 1
            self._at = self._begin = at
            if at < end or self._piece is None:
                return at < end and old[at].path == path
            self._next_piece()

    def _next_piece(self) -> None:
        self._flush()
        self._piece = next(self._pieces, None)
        self._old = [] if self._piece is None else self._piece.entries
        self._at = self._begin = 0

    def _flush(self) -> None:
        piece, begin, at = self._piece, self._begin, self._at
        if piece is None or begin >= at:
            return
        self._begin = at
        tally = self.tally
        files = directories = plain_bytes = parents = 0
        for entry in self._old[begin:at]:
            kind = entry.type
            if kind == _FILE:
                files += 1
                plain_bytes += entry.size
            elif kind == _DIRECTORY:
                directories += 1
                if entry.extra.flags & _PARENT:
                    parents += 1
        tally.files_unchanged += files
        tally.directories += directories - parents
        tally.others += at - begin - files - directories
        tally.plain_bytes += plain_bytes
        self._writer.keep(piece, begin, at)

    def _pass_continued(self, path: bytes, *, kept: bool) -> None:
        """Go past the further entries of a huge file, into the next pieces if need be."""
        tally = self.tally
        while True:
            if self._at == len(self._old):
                self._next_piece()
                if self._piece is None:
                    return
            entry = self._old[self._at]
            if entry.path != path:
                return
            self._at += 1
            if kept:
                # The file counts once.
                tally.files_unchanged -= 1
                tally.plain_bytes -= entry.size
            else:
                self._begin = self._at
            if not entry.extra.flags & _CONTINUED:
                return

    def _capture(self, candidate: Candidate, *, was_there: bool) -> None:
        tally = self.tally
        captured = self._view.capture(candidate, self._sink)
        if captured is None:
            tally.vanished += 1
            return
        entry, content = captured
        kind = entry.type
        if kind == _FILE:
            if was_there:
                tally.files_changed += 1
            else:
                tally.files_new += 1
            tally.plain_bytes += entry.size
        elif kind == _DIRECTORY:
            if not entry.extra.flags & _PARENT:
                tally.directories += 1
        else:
            tally.others += 1
        flags = entry.extra.flags
        if flags & (_UNREADABLE | _CHANGED):
            tally.unreadable += bool(flags & _UNREADABLE)
            tally.changing += bool(flags & _CHANGED)
        if content is not None and not isinstance(content, StoredContent):
            raise TypeError("a source returned content that its sink has not taken")
        self._writer.add(entry, content)
