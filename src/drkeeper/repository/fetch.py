"""Chunks out of packs: fetched together, opened, decoded, and proven to be what they are named.

A batch of chunks is grouped by pack; of each pack the segments that hold wanted chunks are read,
neighbouring ones in one request. Every chunk's id is computed again from what came out. What is
damaged is damaged alone: the rest of the batch is delivered.

Memory: a batch holds its decoded chunks, and the spans of those that are stored as they are; the
caller decides how many batches are begun and not yet released.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Self

from drkeeper.crypto.digests import equal, keyed
from drkeeper.errors import IntegrityError
from drkeeper.repository.compression import decode
from drkeeper.repository.places import ObjectKind, object_name
from drkeeper.repository.reads import SEGMENT_BYTES, ChunkRef, PackRead, plan_reads
from drkeeper.repository.spans import ReadsPacks, Span, Spans

_KEPT_BYTES = 4 * 1024 * 1024
"""Decoded chunks kept after their batch: small files next to each other share them."""


class Batch:
    """Chunks that are being fetched; release it when the last one has been used."""

    def __init__(self, fetcher: "Fetcher", refs: Iterable[ChunkRef]) -> None:
        self._fetcher = fetcher
        self._last = b""
        self._arriving: dict[bytes, Future[None]] = {}
        self._arrived: dict[bytes, memoryview | IntegrityError] = {}
        self._spans: list[list[Span]] = []
        missing = []
        for ref in refs:
            self._last = ref.id
            known = fetcher.kept(ref.id)
            if known is None:
                missing.append(ref)
            else:
                self._arrived[ref.id] = known
        for read in plan_reads(missing):
            spans, future = fetcher.submit(self, read)
            self._spans.append(spans)
            for ref in read.chunks:
                self._arriving[ref.id] = future

    def get(self, ref: ChunkRef) -> memoryview:
        """Return the plain chunk, waiting for it; valid until the batch is released.

        Raises:
            IntegrityError: The pack is missing or damaged where the chunk is.
            KeyNotFoundError: No identity at hand opens the pack.
            StorageError: The store refused or did not answer.
        """
        found = self._arrived.get(ref.id)
        if found is None:
            self._arriving[ref.id].result()
            found = self._arrived[ref.id]
        if isinstance(found, IntegrityError):
            raise found
        if len(found) != ref.plain:
            raise IntegrityError(
                f"chunk {ref.id.hex()} is {len(found)} bytes long, not {ref.plain}"
            )
        return found

    def deliver(self, chunk: bytes, content: memoryview | IntegrityError) -> None:
        """Take what became of one chunk; called by the thread that fetched it."""
        self._arrived[chunk] = content

    def release(self) -> None:
        """Give back the memory; waits for what is still being fetched."""
        for future in set(self._arriving.values()):
            future.exception()
        self._arriving.clear()
        self._fetcher.keep(self._arrived, self._last)
        self._arrived.clear()
        for spans in self._spans:
            self._fetcher.give(spans)
        self._spans.clear()


class Fetcher:
    """Fetches batches of chunks with a few threads. A context manager; ends its threads."""

    def __init__(self, repository: ReadsPacks, chunk_key: bytes, *, workers: int) -> None:
        """Read from ``repository``; ``chunk_key`` names its chunks."""
        self._chunk_key = chunk_key
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="drkeeper-fetch")
        self._spans = Spans(repository, self._pool)
        self._lock = Lock()
        self._kept: OrderedDict[bytes, memoryview] = OrderedDict()
        self._kept_bytes = 0
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def stored_bytes(self) -> int:
        """Bytes read from the store so far."""
        return self._spans.stored_bytes

    def begin(self, refs: Iterable[ChunkRef]) -> Batch:
        """Begin to fetch chunks; returns at once."""
        return Batch(self, refs)

    def submit(self, batch: Batch, read: PackRead) -> tuple[list[Span], Future[None]]:
        """Fetch of one pack what a batch wants, in other threads.

        When the fetching is done, the spans are those in which chunks lie; give them back later.
        """
        spans = self._spans.take(read)
        return spans, self._pool.submit(self._decode, batch, read, spans)

    def give(self, spans: Iterable[Span]) -> None:
        """Take back the spans of a batch."""
        self._spans.give(spans)

    def kept(self, chunk: bytes) -> memoryview | None:
        """Return a chunk that an earlier batch left."""
        with self._lock:
            found = self._kept.get(chunk)
            if found is not None:
                self._kept.move_to_end(chunk)
            return found

    def keep(self, chunks: dict[bytes, memoryview | IntegrityError], last: bytes) -> None:
        """Keep decoded chunks for later batches, ``last`` longest: the next may begin with it.

        What was not compressed lies in a span, which may still be there by then.
        """
        with self._lock:
            for chunk in (*(each for each in chunks if each != last), last):
                content = chunks.get(chunk)
                if not isinstance(content, memoryview) or not _owned(content):
                    continue
                if chunk not in self._kept:
                    self._kept[chunk] = content
                    self._kept_bytes += len(content)
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _decode(self, batch: Batch, read: PackRead, spans: list[Span]) -> None:
        try:
            for span in spans:
                span.wait()
        except IntegrityError as error:
            for ref in read.chunks:
                batch.deliver(ref.id, error)
            return
        owned = True
        for ref in read.chunks:
            if self._ended:
                return
            chunk = self._chunk(ref, spans)
            owned = owned and (isinstance(chunk, IntegrityError) or _owned(chunk))
            batch.deliver(ref.id, chunk)
        if owned:  # nothing lies in them: another batch can have the memory now
            self._spans.give(spans)
            spans.clear()

    def _chunk(self, ref: ChunkRef, spans: Sequence[Span]) -> memoryview | IntegrityError:
        try:
            chunk = memoryview(decode(ref.codec, _stored(ref, spans), ref.plain))
        except IntegrityError as error:
            return _named(ref, error)
        if not equal(keyed(self._chunk_key, chunk), ref.id):
            return IntegrityError(f"pack {ref.pack.hex()} does not hold chunk {ref.id.hex()}")
        return chunk


def _owned(content: memoryview) -> bool:
    """Whether a chunk has memory of its own, and does not lie in a span."""
    return isinstance(content.obj, bytes)


def _stored(ref: ChunkRef, spans: Sequence[Span]) -> bytes | memoryview:
    """Return the stored bytes of a chunk: where they are, or joined when spans share them.

    Raises:
        IntegrityError: A segment that it lies in is broken.
    """
    end = ref.offset + ref.stored
    at = ref.offset
    parts = []
    while at < end:
        segment = at // SEGMENT_BYTES
        part = next(span for span in spans if segment in span.segments).part(at, end)
        parts.append(part)
        at += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _named(ref: ChunkRef, error: IntegrityError) -> IntegrityError:
    """Return the error with the name of the pack, which is what an operator can look for."""
    return IntegrityError(
        f"{object_name(ObjectKind.PACKS, ref.pack)}: {error}",
        hint="Run 'drkeeper check --read-data' to see what else is damaged.",
    )
