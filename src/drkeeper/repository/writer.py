"""Writing one snapshot: from the first byte of content to the acknowledged commit.

Write order (docs/format.md, 3.3): key slots and ``open`` are there when a session is; then packs
and meta, refs, inventory, and only when all of it is durable the commit. Nothing a commit needs is
ever put after it, and the local cache learns of it last.
"""

import os
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from drkeeper.crypto.derive import Domain
from drkeeper.crypto.sealing import Kind
from drkeeper.model.entry import Entry
from drkeeper.repository.buffers import BufferPool, Failure
from drkeeper.repository.cache import Cache
from drkeeper.repository.chunk_store import (
    PACK_BUFFER_BYTES,
    ChunkStore,
    SealingContext,
    meta_emitter,
)
from drkeeper.repository.chunker import Chunker
from drkeeper.repository.commit import Commit, Counts
from drkeeper.repository.committing import Committer, Facts
from drkeeper.repository.compression import DEFAULT_LEVEL, Compressor
from drkeeper.repository.content import Sink, StoredContent, Stream
from drkeeper.repository.inventory import NewObjects, StoredObject
from drkeeper.repository.manifest import ManifestWriter, OwnerNames
from drkeeper.repository.packs import PACK_BYTES
from drkeeper.repository.parts import PartWriter
from drkeeper.repository.previous import Previous, PreviousPiece
from drkeeper.repository.session import Session
from drkeeper.repository.workers import Workers

_MIB: Final = 1024 * 1024
_CONTENT_BYTES: Final = 8 * _MIB
"""Buffers that sources fill: two longest chunks, so that little is moved between them."""

_LEAST_CONTENT: Final = 4
"""One for joined files, one being filled, one that takes over its rest, one being worked on."""

_REST_BYTES: Final = 64 * _MIB
"""Of the memory, what buffers leave to everything else: the interpreter, compressors, entries."""


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """How much of the machine a writer takes.

    Attributes:
        memory_bytes: What a backup should get by with; less than 128 MiB are too few.
        workers: Threads that digest and compress; the processors there are by default.
        uploads: Objects on their way to the store at once.
        level: zstd level.
    """

    memory_bytes: int = 256 * _MIB
    workers: int = field(default_factory=lambda: min(8, max(2, os.cpu_count() or 2)))
    uploads: int = 3
    level: int = DEFAULT_LEVEL

    def shares(self) -> tuple[int, int, int]:
        """Return how many uploads, pack buffers and content buffers the memory allows."""
        budget = self.memory_bytes - _REST_BYTES
        # At most half of it for packs: one for each upload, and the one that is being filled.
        uploads = max(1, min(self.uploads, budget // 2 // PACK_BYTES - 1))
        packs = uploads + 1
        left = (budget - packs * PACK_BYTES) // _CONTENT_BYTES
        # One for each worker, one that is being filled, and one that takes over.
        return uploads, packs, max(_LEAST_CONTENT, min(self.workers + 2, left))


class SnapshotWriter:
    """Writes the snapshots of one session; implements ``sources.base.ContentSink``.

    For one thread. Leaving the context ends all threads, also after an error; the session is the
    caller's.
    """

    def __init__(
        self,
        session: Session,
        cache: Cache,
        domain: Domain,
        *,
        owners: OwnerNames,
        previous: Previous,
        options: WriterOptions | None = None,
    ) -> None:
        """Begin the threads.

        Args:
            session: An open session of this process.
            cache: Begun with the commits that the session may reuse.
            domain: Names chunks and pieces.
            owners: Names of users and groups at the source.
            previous: The manifest whose pieces may be kept.
            options: How much of the machine to take.
        """
        options = options or WriterOptions()
        session.check_process()
        self._new = NewObjects()
        context = SealingContext(
            session.repository.id, session.id, session.repository.store, self._new
        )
        uploads, packs, content = options.shares()
        self._failure = failure = Failure()
        self._uploads = Workers(failure, "drkeeper-put", uploads, lambda: None)
        self._workers = Workers(
            failure, "drkeeper-pack", options.workers, lambda: Compressor(options.level)
        )
        pool = BufferPool(failure, _CONTENT_BYTES, content)
        self._chunks = ChunkStore(
            context,
            cache,
            keys=(session.keys.data, domain.chunk_key),
            threads=(self._workers, self._uploads),
            pools=(pool, BufferPool(failure, PACK_BUFFER_BYTES, packs)),
        )
        self._sink = Sink(self._chunks, Chunker(domain.chunker_seed), pool, previous.find)
        meta = PartWriter(
            session.id, meta_emitter(context, Kind.META, session.keys.meta, self._uploads)
        )
        self._manifest = ManifestWriter(
            owners,
            self._sink,
            self._workers,
            meta,
            piece_key=domain.piece_key,
            remember=lambda parts: cache.keep_parts(session.lineage, parts),
        )
        self._committer = Committer(
            session,
            cache,
            domain,
            uploads=self._uploads,
            context=context,
            meta=meta,
            earlier_refs=previous.refs,
        )
        for slot in session.slots.values():
            self._new.add(StoredObject(slot.digest, slot.stored_bytes, slot.name))

    @property
    def taken_bytes(self) -> int:
        """Plain bytes read so far."""
        return self._sink.plain_bytes

    @property
    def stored_bytes(self) -> int:
        """Bytes put into the store so far."""
        return self._new.stored_bytes

    @property
    def new_bytes(self) -> int:
        """Plain bytes of the chunks that were new."""
        return self._chunks.new_bytes

    def small(self, data: bytes) -> StoredContent:
        """Take the whole content of a file shorter than ``SMALL_BYTES``."""
        return self._sink.small(data)

    def stream(self) -> Stream:
        """Begin to take the content of a larger file; one stream at a time."""
        return self._sink.stream()

    def add(self, entry: Entry, content: StoredContent | None) -> None:
        """Add an entry that was read, with what this sink returned for its content."""
        self._manifest.add(entry, content)

    def keep(self, piece: PreviousPiece, begin: int, end: int) -> None:
        """Take over unchanged entries of the manifest before."""
        self._manifest.keep(piece, begin, end)

    def commit_partial(self, facts: Facts, *, last: bool = False) -> Commit | None:
        """Commit what is complete so far, a prefix of the source; ``None`` when that is nothing.

        Args:
            facts: What the snapshot says of itself.
            last: Nothing is written after it: then everything that was added is in it, not only
                the pieces of the manifest that are full.

        Raises:
            FencedError: Somebody ended the session, or what it needs is condemned.
            StorageError: The store did not answer as it should.
        """
        if last:
            self._manifest.finish()
        else:
            self._manifest.settle()
        return self._commit(facts, complete=False) if self._manifest.tables.pieces else None

    def commit_complete(self, facts: Facts) -> Commit:
        """Commit the whole snapshot.

        Raises:
            FencedError: Somebody ended the session, or what it needs is condemned.
            StorageError: The store did not answer as it should.
        """
        self._manifest.finish()
        return self._commit(facts, complete=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the threads; after an error, without doing what is still queued."""
        if error is not None:
            self._failure.report(error)
        self._workers.close()
        self._uploads.close()

    def _commit(self, facts: Facts, *, complete: bool) -> Commit:
        tables = self._manifest.tables
        pieces = self._manifest.finished()
        self._chunks.flush()
        counts = Counts(
            entries=facts.stats.get("entries", 0),
            plain_bytes=facts.stats.get("plain_bytes", 0),
            new_bytes=self._chunks.new_bytes,
        )
        commit = self._committer.commit(facts, pieces, tables.packs, counts, complete=complete)
        needed = {pack for _, pack in tables.packs}
        fresh = [ref.at() for ref in self._chunks.taken_fresh(needed)]
        parts, tables.cached = tables.cached, []
        self._committer.remember(commit, pieces, tables.packs, fresh=fresh, parts=parts)
        return commit
