"""From plain chunks to packs in the store: digest, look up, compress, append, seal, put.

The hot path of every backup. Native calls that release the interpreter lock do all work on bytes;
a chunk is copied once, into the pack that takes it. Packs are sealed and put by threads of their
own, so that a slow store holds up the rest only when every pack buffer is waiting for it.
"""

import os
from collections.abc import Callable, Container
from dataclasses import dataclass
from threading import Lock
from typing import Final, Protocol

import msgspec

from drkeeper.crypto.digests import digest, keyed
from drkeeper.crypto.sealing import Draft, Header, Kind, seal_into, sealed_bytes
from drkeeper.faults import point
from drkeeper.repository.buffers import Buffer, BufferPool, pages
from drkeeper.repository.cache import ChunkAt
from drkeeper.repository.compression import Compressor
from drkeeper.repository.inventory import NewObjects, StoredObject
from drkeeper.repository.packs import PACK_BYTES, PackBuilder
from drkeeper.repository.places import ObjectKind, object_name
from drkeeper.repository.workers import Workers
from drkeeper.storage.base import ObjectStore

_ID_BYTES: Final = 16

PACK_BUFFER_BYTES: Final = sealed_bytes(Kind.PACK, PACK_BYTES)
"""Memory of a pack, in which it grows and is sealed."""


class KnownChunks(Protocol):
    """Chunks that live snapshots hold."""

    def find(self, chunk_id: bytes, /) -> ChunkAt | None:
        """Return where a chunk is, ``None`` when it is not known."""
        ...


class ChunkRef(msgspec.Struct, gc=False, eq=False):
    """A chunk on its way into the repository; its location becomes known when it has one.

    Attributes:
        plain: Length of the chunk.
        same: Another reference to the same chunk, which has the location.
        id: BLAKE3 of the chunk under the chunk key, once it has been looked at.
        session: Session of the pack.
        pack: Id of the pack; empty until the chunk has a place.
        offset: Of the stored chunk in the pack's plaintext.
        stored: Stored length.
        codec: How it is stored.
    """

    plain: int
    same: "ChunkRef | None" = None
    id: bytes = b""
    session: bytes = b""
    pack: bytes = b""
    offset: int = 0
    stored: int = 0
    codec: int = 0

    def settle(self, at: ChunkAt) -> None:
        """Take the location of a chunk that is stored already."""
        self.id = at.id
        self.session = at.session
        self.pack = at.pack
        self.offset = at.offset
        self.stored = at.stored
        self.codec = at.codec

    def at(self) -> ChunkAt:
        """Return the location."""
        return ChunkAt(
            self.id, self.session, self.pack, self.offset, self.stored, self.plain, self.codec
        )


Run = tuple[int, int, ChunkRef]
"""Where a chunk begins and ends in a buffer."""


@dataclass(frozen=True, slots=True)
class SealingContext:
    """What packs and parts are sealed with.

    Attributes:
        repository: Id of the repository.
        session: Id of the session.
        store: Where objects go.
        new: Takes note of what was stored.
    """

    repository: bytes
    session: bytes
    store: ObjectStore
    new: NewObjects

    def header(self, kind: Kind, object_id: bytes) -> Header:
        """Return the header of an object of the session."""
        return Header(kind, self.repository, self.session, object_id)

    def put(self, header: Header, sealed: memoryview) -> None:
        """Store a sealed object; durable on return."""
        name = object_name(_OBJECT_KINDS[header.kind], header.name)
        point("repository.writer.put")
        self.store.put(name, sealed)
        point("repository.writer.stored")
        self.new.add(StoredObject(digest(sealed), len(sealed), name))


_OBJECT_KINDS: Final = {
    Kind.PACK: ObjectKind.PACKS,
    Kind.META: ObjectKind.META,
    Kind.REFS: ObjectKind.REFS,
}


class _OpenPack:
    __slots__ = ("buffer", "builder", "draft", "id")

    def __init__(self, buffer: Buffer) -> None:
        self.id = os.urandom(_ID_BYTES)
        self.buffer = buffer
        self.draft = Draft(Kind.PACK, buffer.view)
        self.builder = PackBuilder(self.draft.write, PACK_BYTES)


class ChunkStore:
    """Takes plain chunks and stores those that are new."""

    def __init__(
        self,
        context: SealingContext,
        known: KnownChunks,
        *,
        keys: tuple[bytes, bytes],
        threads: tuple[Workers[Compressor], Workers[None]],
        pools: tuple[BufferPool, BufferPool],
    ) -> None:
        """Store chunks that ``known`` does not have.

        Args:
            context: Of the session.
            known: Chunks that need not be stored.
            keys: The session's data key and the domain's chunk key.
            threads: Those that look at chunks, and those that seal and put packs.
            pools: Buffers of plain content, and of packs.
        """
        self._context = context
        self._data_key, self._chunk_key = keys
        self._known = known
        self._workers, self._uploads = threads
        self._plain, self._packs = pools
        self._lock = Lock()
        self._pack_lock = Lock()
        self._open: _OpenPack | None = None
        self._claimed: dict[bytes, ChunkRef] = {}
        self._fresh: list[ChunkRef] = []
        self._new_bytes = 0

    @property
    def new_bytes(self) -> int:
        """Plain bytes of the chunks stored so far."""
        return self._new_bytes

    @property
    def handed(self) -> int:
        """Number of the last work handed to the workers."""
        return self._workers.handed

    def take(self, buffer: Buffer, begin: int, end: int) -> ChunkRef:
        """Take the chunk in ``buffer[begin:end]``, releasing one pin of the buffer when done."""
        ref = ChunkRef(end - begin)
        view = buffer.view[begin:end]

        def work(compressor: Compressor) -> None:
            try:
                self._store(ref, view, compressor)
            finally:
                self._plain.release(buffer)

        self._workers.hand(work)
        return ref

    def take_joined(
        self,
        buffer: Buffer,
        length: int,
        cuts: Callable[[memoryview], list[int]],
        done: Callable[[list[Run]], None],
    ) -> None:
        """Take ``buffer[:length]`` cut by ``cuts``, releasing one pin of the buffer when done.

        ``done`` is told where each chunk begins and ends, by the thread that did the work.
        """
        view = buffer.view[:length]

        def work(compressor: Compressor) -> None:
            try:
                begin = 0
                runs: list[Run] = []
                for end in cuts(view):
                    ref = ChunkRef(end - begin)
                    self._store(ref, view[begin:end], compressor)
                    runs.append((begin, end, ref))
                    begin = end
                done(runs)
            finally:
                self._plain.release(buffer)

        self._workers.hand(work)

    def flush(self) -> None:
        """Hand the open pack over to be stored; call when no chunk is on its way."""
        with self._pack_lock:
            opened, self._open = self._open, None
            if opened is not None:
                self._upload(opened)

    def taken_fresh(self, packs: Container[bytes]) -> list[ChunkRef]:
        """Return the chunks stored since the last call that lie in these packs; forget them.

        From now on they are looked up in what is known, which must have learned them. Chunks in
        other packs belong to entries that are still to be committed, and are kept. Call when no
        chunk is on its way.
        """
        with self._lock:
            taken = [ref for ref in self._fresh if ref.pack in packs]
            self._fresh = [ref for ref in self._fresh if ref.pack not in packs]
            self._claimed = {ref.id: ref for ref in self._fresh}
            return taken

    def _store(self, ref: ChunkRef, view: memoryview, compressor: Compressor) -> None:
        ref.id = chunk_id = keyed(self._chunk_key, view)
        with self._lock:
            claimed = self._claimed.setdefault(chunk_id, ref)
        if claimed is not ref:
            ref.same = claimed
            return
        if (at := self._known.find(chunk_id)) is not None and at.plain == ref.plain:
            ref.settle(at)
            return
        codec, encoded = compressor.encode(view)
        self._append(ref, codec, encoded)
        with self._lock:
            self._fresh.append(ref)
            self._new_bytes += ref.plain

    def _append(self, ref: ChunkRef, codec: int, encoded: bytes | memoryview) -> None:
        with self._pack_lock:
            opened = self._open
            if opened is not None and not opened.builder.fits(len(encoded)):
                self._upload(opened)
                self._open = opened = None
            if opened is None:
                # Waits when the store is slow, and everyone behind the lock with it.
                self._open = opened = _OpenPack(self._packs.take())
            row = opened.builder.append(ref.id, encoded, plain=ref.plain, codec=codec)
            ref.session = self._context.session
            ref.offset, ref.stored, ref.codec = row.offset, row.stored, row.codec
            ref.pack = opened.id

    def _upload(self, opened: _OpenPack) -> None:
        def work(_: None) -> None:
            try:
                opened.builder.finish()
                header = self._context.header(Kind.PACK, opened.id)
                self._context.put(header, opened.draft.seal(self._data_key, header))
            finally:
                self._packs.release(opened.buffer)

        self._uploads.hand(work)


def meta_emitter(
    context: SealingContext, kind: Kind, key: bytes, uploads: Workers[None]
) -> Callable[[bytes, bytearray], None]:
    """Return what stores the finished objects of a ``PartWriter`` in the background."""

    def emit(object_id: bytes, plain: bytearray) -> None:
        def work(_: None) -> None:
            header = context.header(kind, object_id)
            # Pages go back to the system at once; a thread's heap would keep its longest object.
            sealed = memoryview(pages(sealed_bytes(kind, len(plain))))
            seal_into(key, header, memoryview(plain), sealed)
            context.put(header, sealed)

        uploads.hand(work)

    return emit
