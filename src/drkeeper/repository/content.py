"""Where sources put the content of files: small files joined, large ones cut in place.

Everything here runs in the thread that reads the source, but for the cuts of joined files. Small
files are copied into a buffer one after the other and chunked together when it is full, so that a
hundred thousand small files are a few hundred chunks.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from drkeeper.crypto.digests import Hasher, digest, hasher
from drkeeper.repository.buffers import Buffer, BufferPool
from drkeeper.repository.chunk_store import ChunkRef, ChunkStore, Run
from drkeeper.repository.chunker import Chunker

STREAM_SPACE: Final = 64 * 1024
"""Least space a stream offers. Source: ``sources.base.ContentStream``."""

_MOST_WAITING: Final = 32_768
"""Joined files are cut when there are so many, however small: their entries wait in memory."""

_RECENT: Final = 65_536
"""How many small files are remembered by content, twice over: some 40 MB at most."""

Extents = tuple[tuple[ChunkRef, int, int], ...]


class StoredContent(msgspec.Struct, gc=False, eq=False):
    """Content that the sink has taken.

    A struct that the garbage collector need not look at: there are as many as files.

    Attributes:
        digest: BLAKE3 of the bytes.
        plain_bytes: How many there are.
        extents: Chunk, offset and length of each run; ``None`` until they have been cut.
    """

    digest: bytes
    plain_bytes: int
    extents: Extents | None = None


Lookup = Callable[[bytes, int], StoredContent | None]


class Sink:
    """Takes content for one session; implements ``sources.base.ContentSink``."""

    def __init__(
        self, chunks: ChunkStore, chunker: Chunker, pool: BufferPool, known: Lookup
    ) -> None:
        """Store content through ``chunks``.

        Args:
            chunks: Takes the chunks.
            chunker: Cuts them.
            pool: Buffers to fill.
            known: Finds small content of the snapshot before by its digest and length.
        """
        self._chunks = chunks
        self._chunker = chunker
        self._pool = pool
        self._known = known
        self._joined: Buffer | None = None
        self._fill = 0
        self._waiting: list[StoredContent] = []
        self._recent: dict[bytes, StoredContent] = {}
        self._older: dict[bytes, StoredContent] = {}
        self._stream: Stream | None = None
        self._plain_bytes = 0
        self._generation = 0
        self._cut_through = 0

    @property
    def cut_through(self) -> int:
        """Number of the last work that the newest cut of joined files needs."""
        return self._cut_through

    @property
    def generation(self) -> int:
        """How often joined files have been cut."""
        return self._generation

    @property
    def plain_bytes(self) -> int:
        """Bytes taken so far."""
        return self._plain_bytes

    @property
    def waiting(self) -> bool:
        """Whether small content has been taken that is not cut yet."""
        return bool(self._waiting)

    def small(self, data: bytes) -> StoredContent:
        """Take the whole content of a small file; a buffer must hold several."""
        length = len(data)
        self._plain_bytes += length
        name = digest(data)
        content = self._recent.get(name) or self._older.get(name)
        if content is not None:
            return content
        content = self._known(name, length)
        if content is None:
            content = StoredContent(name, length)
            if length:
                self._join(data, length, content)
            else:
                content.extents = ()
        recent = self._recent
        recent[name] = content
        if len(recent) >= _RECENT:
            self._older = recent
            self._recent = {}
        return content

    def stream(self) -> "Stream":
        """Begin to take the content of a larger file."""
        if self._stream is None:
            self._stream = Stream(self._chunks, self._chunker, self._pool, self._ended)
        self._stream.begin()
        return self._stream

    def cut_joined(self) -> None:
        """Have cut what small files have been joined, so that all content taken gets extents.

        They are there when the workers have done everything up to ``cut_through``.
        """
        buffer = self._joined
        if buffer is None:
            return
        self._joined = None
        waiting, self._waiting = self._waiting, []
        self._chunks.take_joined(
            buffer,
            self._fill,
            partial(self._chunker.cuts, final=True),
            partial(_spread, waiting),
        )
        self._generation += 1
        self._cut_through = self._chunks.handed

    def _join(self, data: bytes, length: int, content: StoredContent) -> None:
        if length > self._pool.length:
            raise ValueError("content of this length is for a stream")
        end = self._fill + length
        if self._joined is None or end > self._pool.length or len(self._waiting) >= _MOST_WAITING:
            self.cut_joined()
            self._joined = self._pool.take()
            self._fill = 0
            end = length
        self._joined.view[self._fill : end] = data
        self._fill = end
        self._waiting.append(content)

    def _ended(self, plain_bytes: int) -> None:
        self._plain_bytes += plain_bytes


def _spread(contents: list[StoredContent], runs: list[Run]) -> None:
    """Give each content its extents; contents and chunks both lie one after the other."""
    upcoming = iter(runs)
    begin, end, ref = next(upcoming)
    at = 0
    for content in contents:
        until = at + content.plain_bytes
        if until <= end:
            content.extents = ((ref, at - begin, content.plain_bytes),)
            at = until
            continue
        extents = []
        while at < until:
            if at == end:
                begin, end, ref = next(upcoming)
            stop = min(until, end)
            extents.append((ref, at - begin, stop - at))
            at = stop
        content.extents = tuple(extents)


class Stream:
    """Takes large files one after the other; implements ``sources.base.ContentStream``.

    Files follow each other in one buffer. When it is full, what has been cut goes to the workers
    and the rest, less than one chunk, moves to the start of the next buffer.
    """

    def __init__(
        self,
        chunks: ChunkStore,
        chunker: Chunker,
        pool: BufferPool,
        ended: Callable[[int], None],
    ) -> None:
        """Cut by ``chunker``, store through ``chunks`` and tell ``ended`` the lengths."""
        self._chunks = chunks
        self._chunker = chunker
        self._pool = pool
        self._ended = ended
        self._buffer: Buffer | None = None
        self._begin = 0  # of what has not been cut
        self._fill = 0
        self._hashed = 0
        self._length = 0
        self._hasher: Hasher = hasher()
        self._extents: list[tuple[ChunkRef, int, int]] = []

    def begin(self) -> None:
        """Begin the next file; what was not ended is forgotten."""
        self._begin = self._hashed = self._fill
        self._length = 0
        self._hasher = hasher()
        self._extents = []

    def buffer(self) -> memoryview:
        """Return writable space, at least 64 KiB; may wait for others to free it."""
        buffer = self._buffer
        if buffer is None or self._pool.length - self._fill < STREAM_SPACE:
            buffer = self._next_buffer()
        return buffer.view[self._fill :]

    def filled(self, count: int) -> None:
        """Take ``count`` bytes more."""
        self._fill += count
        self._length += count

    def end(self) -> StoredContent:
        """Cut the rest and describe the whole."""
        self._hash()
        if self._fill > self._begin:
            self._cut(final=True)
        content = StoredContent(self._hasher.digest(), self._length)
        content.extents = tuple(self._extents)
        self._ended(self._length)
        self.begin()
        return content

    def discard(self) -> None:
        """Forget the file; chunks of it that were stored may serve another."""
        self._fill = self._begin
        self.begin()

    def _next_buffer(self) -> Buffer:
        self._hash()
        if self._fill > self._begin:
            self._cut(final=False)
        following = self._pool.take()
        rest = self._fill - self._begin
        if self._buffer is not None:
            following.view[:rest] = self._buffer.view[self._begin : self._fill]
            self._pool.release(self._buffer)
        self._buffer = following
        self._begin = 0
        self._fill = self._hashed = rest
        return following

    def _hash(self) -> None:
        if self._buffer is not None and self._fill > self._hashed:
            self._hasher.update(self._buffer.view[self._hashed : self._fill])
        self._hashed = self._fill

    def _cut(self, *, final: bool) -> None:
        buffer = self._buffer
        if buffer is None:
            raise AssertionError("what is cut is in a buffer")
        base = self._begin
        ends = self._chunker.cuts(buffer.view[base : self._fill], final=final)
        self._pool.pin(buffer, len(ends))
        for end in ends:
            begin, stop = self._begin, base + end
            ref = self._chunks.take(buffer, begin, stop)
            self._extents.append((ref, 0, stop - begin))
            self._begin = stop
