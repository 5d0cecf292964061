"""Small and large content on its way into packs; buffers and workers."""

import ctypes
import os
import random
import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from drkeeper.crypto.digests import digest
from drkeeper.errors import NoSpaceError
from drkeeper.repository.buffers import BufferPool, Failure
from drkeeper.repository.chunk_store import ChunkRef
from drkeeper.repository.chunker import Chunker
from drkeeper.repository.content import Sink, StoredContent
from drkeeper.repository.workers import Workers

MIB = 1024 * 1024
NOISE = random.Random(8).randbytes(20 * MIB)


class Chunks:
    """Takes chunks by copying them."""

    def __init__(self, pool: BufferPool) -> None:
        self.pool = pool
        self.data: dict[ChunkRef, bytes] = {}

    @property
    def handed(self) -> int:
        return len(self.data)

    def take(self, buffer, begin, end):
        ref = ChunkRef(end - begin)
        self.data[ref] = bytes(buffer.view[begin:end])
        self.pool.release(buffer)
        return ref

    def take_joined(self, buffer, length, cuts, done):
        ends = cuts(buffer.view[:length])
        self.pool.pin(buffer, len(ends))
        done([(begin, end, self.take(buffer, begin, end)) for begin, end in pairwise([0, *ends])])
        self.pool.release(buffer)

    def read(self, content: StoredContent) -> bytes:
        return b"".join(self.data[ref][at : at + n] for ref, at, n in content.extents)


def new_sink(known=lambda _name, _length: None) -> tuple[Sink, Chunks]:
    pool = BufferPool(Failure(), 8 * MIB, 4)
    chunks = Chunks(pool)
    return Sink(chunks, Chunker(7), pool, known), chunks


def stream(sink: Sink, data: bytes, step: int) -> StoredContent:
    to = sink.stream()
    at = 0
    while at < len(data):
        space = to.buffer()
        assert len(space) >= 64 * 1024
        part = data[at : at + min(step, len(space))]
        space[: len(part)] = part
        to.filled(len(part))
        at += len(part)
    return to.end()


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 3 * MIB), st.integers(0, 5 * MIB)), max_size=8
    ),
    st.integers(100_000, 4 * MIB),
)
@settings(max_examples=25, deadline=None)
def test_content_is_what_its_extents_hold(files, step):
    """However small and large files alternate, every one is found whole in its chunks."""
    sink, chunks = new_sink()
    taken = []
    for small, begin, length in files:
        data = NOISE[begin : begin + (length % 200_000 if small else length)]
        taken.append((data, sink.small(data) if small else stream(sink, data, step)))
    sink.cut_joined()
    for data, content in taken:
        assert chunks.read(content) == data
        assert content.plain_bytes == len(data)
        assert content.digest == digest(data)
    assert sink.plain_bytes == sum(len(data) for data, _ in taken)
    assert not sink.waiting


def test_equal_small_files_are_joined_once():
    """The second one is the first one."""
    sink, chunks = new_sink()
    assert sink.small(b"same") is sink.small(b"same")
    sink.cut_joined()
    assert list(chunks.data.values()) == [b"same"]


def test_known_small_files_are_not_joined():
    """What the snapshot before had is taken from there."""
    found = StoredContent(bytes(32), 4)
    found.extents = ()
    sink, chunks = new_sink(lambda _name, length: found if length == 4 else None)
    assert sink.small(b"four") is found
    sink.small(b"other")
    sink.cut_joined()
    assert list(chunks.data.values()) == [b"other"]


def test_a_discarded_file_leaves_no_trace_in_the_next():
    """A file that changed while it was read is read again from its start."""
    sink, chunks = new_sink()
    to = sink.stream()
    to.buffer()[:100_000] = NOISE[:100_000]
    to.filled(100_000)
    to.discard()
    content = stream(sink, NOISE[:300_000], 70_000)
    assert chunks.read(content) == NOISE[:300_000]


def test_a_file_longer_than_all_buffers_is_taken():
    """Memory does not grow with the length of a file."""
    sink, chunks = new_sink()
    data = NOISE * 3
    assert chunks.read(stream(sink, data, 3 * MIB)) == data


def test_what_no_buffer_holds_is_not_small():
    """A source that mistakes the two ways is told so."""
    sink, _ = new_sink()
    with pytest.raises(ValueError, match="stream"):
        sink.small(bytes(9 * MIB))


def test_an_error_in_a_thread_reaches_whoever_waits():
    """The first error is kept, waiting ends, later work is dropped, and threads end."""
    failure = Failure()
    workers = Workers(failure, "test-worker", 2, object)
    done = []

    def fail(_state: object) -> None:
        raise NoSpaceError("full")

    workers.hand(fail)
    with pytest.raises(NoSpaceError, match="full"):
        workers.wait(1)
    workers.hand(lambda _state: done.append(1))
    pool = BufferPool(failure, 4096, 1)
    with pytest.raises(NoSpaceError, match="full"):
        pool.take()
    failure.report(ValueError("later"))
    workers.close()
    assert isinstance(failure.error, NoSpaceError)
    assert not done
    assert not [t for t in threading.enumerate() if t.name.startswith("test-worker")]


def test_work_is_done_through_a_number_when_all_before_is():
    """Work that overtakes does not count before what it overtook."""
    workers = Workers(Failure(), "test-worker", 2, object)
    gate = threading.Event()
    workers.hand(lambda _state: gate.wait(10))
    later = workers.hand(lambda _state: None)
    assert workers.done_through == 0
    gate.set()
    workers.wait(later)
    assert workers.done_through == later == workers.handed
    workers.close()


def test_a_pool_makes_no_more_buffers_than_it_may():
    """A third taker waits until one of two buffers is released for the last time."""
    pool = BufferPool(Failure(), 4096, 2)
    first, second = pool.take(), pool.take()
    pool.pin(first)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(pool.take()))
    thread.start()
    pool.release(first)
    thread.join(0.05)
    assert not taken
    pool.release(first)
    thread.join(10)
    assert taken == [first]
    assert second.pins == 1


def test_buffers_are_page_aligned():
    """So that a store may write them without a copy."""
    view = BufferPool(Failure(), 65536, 1).take().view
    assert ctypes.addressof(ctypes.c_char.from_buffer(view)) % os.sysconf("SC_PAGESIZE") == 0
