"""Runs of opened segments in memory, shared by everyone who needs them at the same time.

Neighbouring batches need the segment between them, and batches of small files the same packs; no
segment is read and opened twice for that.
"""

import mmap
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, Future
from typing import Protocol

from drkeeper.crypto.sealing import PREAMBLE_BYTES, Header, Kind, Opener
from drkeeper.crypto.segments import TAG_BYTES
from drkeeper.errors import IntegrityError, ObjectNotFoundError
from drkeeper.faults import point
from drkeeper.repository.buffers import pages
from drkeeper.repository.places import KeyClass, ObjectKind, object_name
from drkeeper.repository.reads import SEGMENT_BYTES, PackRead, covered, segments_of
from drkeeper.storage.base import ObjectStore

_SEALED = SEGMENT_BYTES + TAG_BYTES

_ALIGNMENT = 4096
"""Reads begin at multiples of this, so that a folder can read past the page cache."""

_KNOWN_PACKS = 4096
"""Packs whose length and key are remembered: about 4 MB."""

_IDLE_SPANS = 2
"""Spans that nobody uses are kept until their memory is needed: the next may begin there."""


class _Keys(Protocol):
    def key(self, session: bytes, cls: KeyClass) -> bytes: ...


class ReadsPacks(Protocol):
    """The part of a repository that holds packs."""

    @property
    def id(self) -> bytes:
        """Id of the repository."""
        ...

    @property
    def store(self) -> ObjectStore:
        """Where its objects are."""
        ...

    @property
    def keys(self) -> _Keys:
        """Its key slots."""
        ...


class _Pack:
    """What is known of one pack."""

    __slots__ = ("first", "id", "name", "opener", "session", "spans")

    def __init__(self, session: bytes, pack: bytes) -> None:
        self.session = session
        self.id = pack
        self.name = object_name(ObjectKind.PACKS, pack)
        self.opener: Opener | None = None
        self.first: Future[None] | None = None
        self.spans: list[Span] = []


class Span:
    """A run of segments of one pack: being read, or in memory.

    Attributes:
        pack: The pack.
        segments: Their numbers.
        broken: What is wrong with those that could not be opened.
    """

    __slots__ = ("broken", "memory", "pack", "plain", "read", "segments", "users")

    def __init__(self, pack: _Pack, segments: range) -> None:
        self.pack = pack
        self.segments = segments
        self.users = 0
        self.broken: dict[int, IntegrityError] = {}
        self.memory: mmap.mmap | None = None
        self.plain = memoryview(b"")
        self.read: Future[None] | None = None

    def wait(self) -> None:
        """Wait until it is in memory.

        Raises:
            IntegrityError: The pack is missing, another one, or too short.
            KeyNotFoundError: No identity at hand opens the pack.
            StorageError: The store refused or did not answer.
        """
        if self.read is not None:
            self.read.result()

    def part(self, start: int, end: int) -> memoryview:
        """Return the pack's plaintext from ``start`` to ``end``, or to where this span ends.

        Raises:
            IntegrityError: A segment that it lies in is broken, or the pack ends before.
        """
        end = min(end, self.segments.stop * SEGMENT_BYTES)
        for segment in self.broken:
            if start // SEGMENT_BYTES <= segment <= (end - 1) // SEGMENT_BYTES:
                raise self.broken[segment]
        base = self.segments.start * SEGMENT_BYTES
        part = self.plain[start - base : end - base]
        if len(part) != end - start:
            raise IntegrityError("the pack ends before the chunk does")
        return part


class Spans:
    """Reads, opens and shares spans; reading is done by the threads of ``pool``.

    Tasks of ``pool`` must be begun in the order in which they were submitted: a later one may wait
    for an earlier one.
    """

    def __init__(self, repository: ReadsPacks, pool: Executor) -> None:
        """Read from ``repository``."""
        self._repository = repository
        self._pool = pool
        self._lock = threading.Lock()
        self._packs: OrderedDict[bytes, _Pack] = OrderedDict()
        self._idle: list[Span] = []
        self.stored_bytes = 0

    def take(self, read: PackRead) -> list[Span]:
        """Return spans that hold every chunk of ``read``; give each back when it was used."""
        with self._lock:
            pack = self._pack(read.session, read.pack)
            needed = covered(segments_of(ref) for ref in read.chunks)
            spans = [span for span in pack.spans if not needed.isdisjoint(span.segments)]
            held = covered(span.segments for span in spans)
            runs = read.runs(held, whole=pack.first is None)
            new = [Span(pack, run) for run in runs]
            if new:
                task = self._pool.submit(self._fill, pack, new, pack.first)
                pack.first = pack.first or task
                for span in new:
                    span.read = task
                pack.spans += new
            spans += new
            for span in spans:
                span.users += 1
                if span.users == 1 and span in self._idle:
                    self._idle.remove(span)
            return spans

    def give(self, spans: Iterable[Span]) -> None:
        """Give spans back; what was taken from them is not valid any more."""
        with self._lock:
            for span in spans:
                span.users -= 1
                if span.users:
                    continue
                if span.memory is None:  # it could not be read, and may be tried again
                    self._forget(span)
                    continue
                self._idle.append(span)
                if len(self._idle) > _IDLE_SPANS:
                    self._forget(self._idle.pop(0))

    def _forget(self, span: Span) -> None:
        pack = span.pack
        pack.spans.remove(span)
        if pack.first is span.read and span.memory is None:
            pack.first = None

    def _pack(self, session: bytes, pack: bytes) -> _Pack:
        known = self._packs.get(pack)
        if known is None or known.session != session:
            known = self._packs[pack] = _Pack(session, pack)
            if len(self._packs) > _KNOWN_PACKS:
                self._packs.popitem(last=False)
        self._packs.move_to_end(pack)
        return known

    def _memory(self, length: int) -> mmap.mmap:
        """Return memory of a span that nobody uses, or new."""
        with self._lock:
            for at, span in enumerate(self._idle):
                if span.memory is not None and len(span.memory) >= length:
                    self._forget(self._idle.pop(at))
                    memory, span.memory = span.memory, None
                    span.plain = memoryview(b"")
                    return memory
        return pages(-(-length // SEGMENT_BYTES) * SEGMENT_BYTES)

    def _fill(self, pack: _Pack, spans: Sequence[Span], first: Future[None] | None) -> None:
        """Read and open spans of one pack, one after the other.

        Raises:
            IntegrityError: The pack is missing, another one, or too short.
        """
        if pack.opener is None and first is not None:
            first.exception()  # whoever read of this pack before has its length and its preamble
        try:
            for span in spans:
                self._read(pack, span)
        except ObjectNotFoundError as error:
            raise IntegrityError(
                f"{pack.name} is missing from the store",
                hint="Run 'drkeeper check' to see which snapshots need it.",
            ) from error

    def _read(self, pack: _Pack, span: Span) -> None:
        """Read one span.

        Raises:
            IntegrityError: The pack is another one, or too short.
        """
        store = self._repository.store
        opener = pack.opener
        from_start = opener is None and span.segments.start == 0
        if opener is None:
            point("repository.fetch.info")
            length = store.info(pack.name).stored_bytes
            if not from_start:
                preamble = store.get(pack.name, offset=0, length=PREAMBLE_BYTES)
                opener = pack.opener = self._opener(pack, preamble, length)
        else:
            length = opener.sealed_bytes
        start = 0 if from_start else PREAMBLE_BYTES + span.segments.start * _SEALED
        end = min(length, PREAMBLE_BYTES + span.segments.stop * _SEALED)
        if end - start <= TAG_BYTES:
            raise IntegrityError(f"{pack.name} is shorter than the snapshot says")
        lead = start % _ALIGNMENT
        memory = self._memory(lead + end - start)
        view = memoryview(memory)
        point("repository.fetch.read")
        store.read_into(pack.name, view[: lead + end - start], offset=start - lead)
        point("repository.fetch.was-read")
        with self._lock:
            self.stored_bytes += lead + end - start
        if opener is None:
            opener = pack.opener = self._opener(pack, view[:PREAMBLE_BYTES], length)
        _open(opener, span, view, start - lead)
        span.memory = memory

    def _opener(self, pack: _Pack, preamble: bytes | memoryview, length: int) -> Opener:
        repository = self._repository
        key = repository.keys.key(pack.session, KeyClass.DATA)
        header = Header(Kind.PACK, repository.id, pack.session, pack.id)
        return Opener(key, header, preamble, length)


def _open(opener: Opener, span: Span, view: memoryview, start: int) -> None:
    """Open the segments of a span, and put their plaintexts next to each other where they were.

    ``view`` begins at ``start`` in the object.
    """
    end = 0
    scratch = memoryview(bytearray(min(SEGMENT_BYTES, len(view))))
    for number, segment in enumerate(span.segments):
        at = number * SEGMENT_BYTES
        try:
            offset, length = opener.segment_span(segment)
            sealed = view[offset - start : offset - start + length]
            count = opener.open_segment_into(segment, sealed, scratch)
        except IntegrityError as error:
            span.broken[segment] = error
        else:
            view[at : at + count] = scratch[:count]
            end = at + count
    span.plain = view[:end]
