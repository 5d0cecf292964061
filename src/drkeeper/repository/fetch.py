"""Chunks out of packs: fetched together, opened, decoded, and proven to be what they are named.

A batch of chunks is grouped by pack; of each pack the segments that hold wanted chunks are read,
neighbouring ones in one request, and the whole pack when more than half of it is needed. Every
chunk's id is computed again from what came out. What is damaged is damaged alone: the rest of the
batch is delivered.

Memory: a batch holds its decoded chunks and the buffers they lie in; the caller decides how many
batches are begun and not yet released. Buffers are used again.
"""

import mmap
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from drkeeper.crypto.digests import equal, keyed
from drkeeper.crypto.sealing import PREAMBLE_BYTES, Header, Kind, Opener
from drkeeper.crypto.segments import TAG_BYTES
from drkeeper.errors import IntegrityError, ObjectNotFoundError
from drkeeper.faults import point
from drkeeper.repository.compression import decode
from drkeeper.repository.places import KeyClass, ObjectKind, object_name
from drkeeper.storage.base import ObjectStore

_SEGMENT = Kind.PACK.segment_bytes
_GAP_SEGMENTS = 2
"""Reading 2 MiB too much costs less than another request to a distant store."""

_KEPT_BYTES = 16 * 1024 * 1024
"""Decoded chunks kept after their batch: small files next to each other share them."""


class ChunkRef(NamedTuple):
    """Where one chunk is, and what it must be.

    Attributes:
        session: Session whose key seals the pack.
        pack: Id of the pack.
        offset: Of the stored chunk in the pack's plaintext.
        stored: Stored length.
        plain: Decoded length.
        codec: A ``Codec``, as a number.
        id: BLAKE3 of the chunk under the chunk key.
    """

    session: bytes
    pack: bytes
    offset: int
    stored: int
    plain: int
    codec: int
    id: bytes


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


@dataclass(frozen=True, slots=True)
class PackRead:
    """What is wanted of one pack.

    Attributes:
        session: Session whose key seals it.
        pack: Its id.
        chunks: What is wanted, in order of offset.
        spans: Runs of segments that hold them, ascending; each is one request.
    """

    session: bytes
    pack: bytes
    chunks: tuple[ChunkRef, ...]
    spans: tuple[range, ...]

    @property
    def requests(self) -> int:
        """Requests to the store: the length, the spans, and the preamble when no span has it."""
        return 1 + len(self.spans) + (self.spans[0].start > 0)


def plan_reads(chunks: Iterable[ChunkRef]) -> list[PackRead]:
    """Group chunks by pack, in the order in which the packs are first wanted.

    No byte is wanted twice: spans of one pack do not overlap, and every chunk lies inside one.
    """
    packs: dict[tuple[bytes, bytes], dict[bytes, ChunkRef]] = {}
    for ref in chunks:
        packs.setdefault((ref.session, ref.pack), {})[ref.id] = ref
    return [
        PackRead(session, pack, ordered, _spans(ordered))
        for (session, pack), wanted in packs.items()
        for ordered in (tuple(sorted(wanted.values(), key=_by_offset)),)
    ]


def _by_offset(ref: ChunkRef) -> tuple[int, int]:
    return ref.offset, ref.stored


def _spans(chunks: Sequence[ChunkRef]) -> tuple[range, ...]:
    spans: list[range] = []
    for ref in chunks:
        first = ref.offset // _SEGMENT
        end = (ref.offset + ref.stored - 1) // _SEGMENT + 1
        if spans and first - spans[-1].stop <= _GAP_SEGMENTS:
            spans[-1] = range(spans[-1].start, max(end, spans[-1].stop))
        else:
            spans.append(range(first, end))
    # Of a pack that is wanted for the most part, everything up to the last wanted byte.
    if sum(map(len, spans)) * 2 > spans[-1].stop:
        spans = [range(spans[-1].stop)]
    return tuple(spans)


class _Buffers:
    """Memory used again, because fresh memory costs a page fault every 4 KiB.

    It is page-aligned, so that a folder store may read past the page cache.
    """

    def __init__(self, kept: int) -> None:
        self._free: list[mmap.mmap] = []
        self._kept = kept
        self._lock = threading.Lock()

    def take(self, length: int) -> mmap.mmap:
        with self._lock:
            for at, buffer in enumerate(self._free):
                if len(buffer) >= length:
                    return self._free.pop(at)
        return mmap.mmap(-1, -(-length // _SEGMENT) * _SEGMENT)

    def give(self, buffer: mmap.mmap) -> None:
        with self._lock:
            if len(self._free) < self._kept:
                self._free.append(buffer)


class Batch:
    """Chunks that are being fetched; release it when the last one has been used."""

    def __init__(self, fetcher: "Fetcher", refs: Iterable[ChunkRef]) -> None:
        self._fetcher = fetcher
        self._last = b""
        self._arriving: dict[bytes, Future[None]] = {}
        self._arrived: dict[bytes, memoryview | IntegrityError] = {}
        self._buffers: list[mmap.mmap] = []
        missing = []
        for ref in refs:
            self._last = ref.id
            known = fetcher.kept(ref.id)
            if known is None:
                missing.append(ref)
            else:
                self._arrived[ref.id] = known
        for read in plan_reads(missing):
            future = fetcher.submit(self, read)
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

    def buffer(self, length: int) -> mmap.mmap:
        """Return memory that lives as long as the batch."""
        buffer = self._fetcher.buffers.take(length)
        self._buffers.append(buffer)
        return buffer

    def release(self) -> None:
        """Give back the memory; waits for what is still being fetched."""
        for future in set(self._arriving.values()):
            future.exception()
        self._arriving.clear()
        self._fetcher.keep(self._arrived, self._last)
        self._arrived.clear()
        for buffer in self._buffers:
            self._fetcher.buffers.give(buffer)
        self._buffers.clear()


class Fetcher:
    """Fetches batches of chunks with a few threads. A context manager; ends its threads."""

    def __init__(self, repository: ReadsPacks, chunk_key: bytes, *, workers: int) -> None:
        """Read from ``repository``; ``chunk_key`` names its chunks."""
        self._repository = repository
        self._chunk_key = chunk_key
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="drkeeper-fetch")
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, memoryview] = OrderedDict()
        self._kept_bytes = 0
        self._lengths: dict[bytes, int] = {}
        self._ended = False
        self.buffers = _Buffers(2 * workers + 4)
        self.stored_bytes = 0

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

    def begin(self, refs: Iterable[ChunkRef]) -> Batch:
        """Begin to fetch chunks; returns at once."""
        return Batch(self, refs)

    def submit(self, batch: Batch, read: PackRead) -> Future[None]:
        """Fetch of one pack what a batch wants, in another thread."""
        return self._pool.submit(self._fetch, batch, read)

    def kept(self, chunk: bytes) -> memoryview | None:
        """Return a chunk that an earlier batch left."""
        with self._lock:
            found = self._kept.get(chunk)
            if found is not None:
                self._kept.move_to_end(chunk)
            return found

    def keep(self, chunks: dict[bytes, memoryview | IntegrityError], last: bytes) -> None:
        """Keep decoded chunks for later batches, the last used ones longest.

        Chunks that lie in a buffer that is used again would have to be copied; only ``last`` is,
        the one that the next batch may begin with.
        """
        with self._lock:
            for chunk, content in chunks.items():
                if isinstance(content, IntegrityError) or chunk in self._kept:
                    continue
                if isinstance(content.obj, mmap.mmap):
                    if chunk != last:
                        continue
                    content = memoryview(bytes(content))  # noqa: PLW2901 - its own memory now
                self._kept[chunk] = content
                self._kept_bytes += len(content)
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _fetch(self, batch: Batch, read: PackRead) -> None:
        try:
            self._fetch_pack(batch, read)
        except IntegrityError as error:
            for ref in read.chunks:
                batch.deliver(ref.id, error)

    def _fetch_pack(self, batch: Batch, read: PackRead) -> None:
        repository = self._repository
        name = object_name(ObjectKind.PACKS, read.pack)
        key = repository.keys.key(read.session, KeyClass.DATA)
        try:
            point("repository.fetch.info")
            length = self._length(name, read.pack)
            header = Header(Kind.PACK, repository.id, read.session, read.pack)
            if read.spans[0].start == 0:
                opener = None
            else:
                preamble = repository.store.get(name, offset=0, length=PREAMBLE_BYTES)
                opener = Opener(key, header, preamble, length)
            for span in read.spans:
                wanted = [ref for ref in read.chunks if _inside(ref, span)]
                plain = batch.buffer(len(span) * _SEGMENT)
                opener, broken = self._read_span(
                    (name, length, span), memoryview(plain), opener, (key, header)
                )
                self._decode(batch, wanted, (memoryview(plain), span.start * _SEGMENT), broken)
        except ObjectNotFoundError as error:
            raise IntegrityError(
                f"{name} is missing from the store",
                hint="Run 'drkeeper check' to see which snapshots need it.",
            ) from error

    def _length(self, name: str, pack: bytes) -> int:
        length = self._lengths.get(pack)
        if length is None:
            length = self._repository.store.info(name).stored_bytes
            with self._lock:
                if len(self._lengths) > 100_000:  # noqa: PLR2004 - a few MB of memory, then anew
                    self._lengths.clear()
                self._lengths[pack] = length
        return length

    def _read_span(
        self,
        where: tuple[str, int, range],
        plain: memoryview,
        opener: Opener | None,
        expected: tuple[bytes, Header],
    ) -> tuple[Opener, dict[int, IntegrityError]]:
        """Read and open one run of segments; return which of them are broken.

        Raises:
            IntegrityError: The pack is another one, or too short.
        """
        name, length, span = where
        start = PREAMBLE_BYTES + span.start * (_SEGMENT + TAG_BYTES) if opener else 0
        end = min(length, PREAMBLE_BYTES + span.stop * (_SEGMENT + TAG_BYTES))
        if end - start <= TAG_BYTES:
            raise IntegrityError(f"{name} is shorter than the snapshot says")
        buffer = self.buffers.take(end - start)
        try:
            sealed = memoryview(buffer)[: end - start]
            point("repository.fetch.read")
            self._repository.store.read_into(name, sealed, offset=start)
            point("repository.fetch.was-read")
            with self._lock:
                self.stored_bytes += end - start
            if opener is None:
                opener = Opener(expected[0], expected[1], sealed[:PREAMBLE_BYTES], length)
            return opener, _open(opener, sealed, (start, span), plain)
        finally:
            self.buffers.give(buffer)

    def _decode(
        self,
        batch: Batch,
        wanted: Sequence[ChunkRef],
        plain: tuple[memoryview, int],
        broken: dict[int, IntegrityError],
    ) -> None:
        content, base = plain
        for ref in wanted:
            if self._ended:
                return
            at = ref.offset - base
            batch.deliver(ref.id, self._chunk(ref, content[at : at + ref.stored], broken))

    def _chunk(
        self, ref: ChunkRef, stored: memoryview, broken: dict[int, IntegrityError]
    ) -> memoryview | IntegrityError:
        if broken:
            last = (ref.offset + ref.stored - 1) // _SEGMENT
            for segment in range(ref.offset // _SEGMENT, last + 1):
                if segment in broken:
                    return _named(ref, broken[segment])
        try:
            chunk = memoryview(decode(ref.codec, stored, ref.plain))
        except IntegrityError as error:
            return _named(ref, error)
        if not equal(keyed(self._chunk_key, chunk), ref.id):
            return IntegrityError(f"pack {ref.pack.hex()} does not hold chunk {ref.id.hex()}")
        return chunk


def _named(ref: ChunkRef, error: IntegrityError) -> IntegrityError:
    """Return the error with the name of the pack, which is what an operator can look for."""
    return IntegrityError(
        f"{object_name(ObjectKind.PACKS, ref.pack)}: {error}",
        hint="Run 'drkeeper check --read-data' to see what else is damaged.",
    )


def _inside(ref: ChunkRef, span: range) -> bool:
    return span.start <= ref.offset // _SEGMENT < span.stop


def _open(
    opener: Opener, sealed: memoryview, where: tuple[int, range], plain: memoryview
) -> dict[int, IntegrityError]:
    """Open each segment of a span into ``plain``; return the broken ones."""
    start, span = where
    broken: dict[int, IntegrityError] = {}
    for number, segment in enumerate(span):
        try:
            offset, length = opener.segment_span(segment)
            opener.open_segment_into(
                segment,
                sealed[offset - start : offset - start + length],
                plain[number * _SEGMENT :],
            )
        except IntegrityError as error:
            broken[segment] = error
    return broken
