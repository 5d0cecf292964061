"""Chunks out of packs: what is read, and what is believed."""

import os

import pytest
from hypothesis import given, strategies as st

from doubles.crafted import Crafter
from drkeeper.crypto.sealing import PREAMBLE_BYTES
from drkeeper.errors import IntegrityError
from drkeeper.repository.fetch import ChunkRef, Fetcher, plan_reads
from drkeeper.repository.places import ObjectKind, object_name

MIB = 1024 * 1024


def _ref(pack: int, offset: int, stored: int, number: int) -> ChunkRef:
    return ChunkRef(b"s" * 16, bytes([pack]) * 16, offset, stored, stored, 0, bytes([number]) * 32)


REFS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 15 * MIB), st.integers(1, 2 * MIB)), max_size=12
)


@given(REFS)
def test_reads_hold_every_chunk_and_nothing_twice(wanted):
    """Every chunk lies inside one span of its pack; spans ascend and do not overlap."""
    refs = [_ref(pack, at, length, n) for n, (pack, at, length) in enumerate(wanted)]
    reads = plan_reads(refs)
    assert len({read.pack for read in reads}) == len(reads)
    assert sum(len(read.chunks) for read in reads) == len(refs)
    for read in reads:
        for before, after in zip(read.spans, read.spans[1:], strict=False):
            assert before.stop < after.start
        for ref in read.chunks:
            first, last = ref.offset // MIB, (ref.offset + ref.stored - 1) // MIB
            assert any(span.start <= first and last < span.stop for span in read.spans)


def test_a_pack_wanted_for_the_most_part_is_read_at_once():
    """One request is cheaper than several when more than half is needed anyway."""
    (read,) = plan_reads([_ref(1, n * MIB, MIB, n) for n in range(16) if n % 4 != 1])
    assert read.spans == (range(16),)


def test_distant_chunks_are_read_apart():
    """Of a pack of which little is wanted, little is read."""
    (read,) = plan_reads([_ref(1, 0, 100, 0), _ref(1, 14 * MIB, 100, 1)])
    assert read.spans == (range(1), range(14, 15))


@pytest.fixture
def made(tmp_path):
    crafter = Crafter(tmp_path / "repository")
    chunks = [os.urandom(MIB) for _ in range(8)] + [b"text " * 10_000]
    return crafter, chunks, crafter.pack(chunks)


def _fetcher(crafter: Crafter) -> Fetcher:
    return Fetcher(crafter.repository, crafter.domain.chunk_key, workers=2)


def test_chunks_come_back(made):
    """Raw and compressed chunks come back, also from the middle of a pack."""
    crafter, chunks, refs = made
    with _fetcher(crafter) as fetcher:
        for wanted in ([0, 8], [5], list(range(9))):
            batch = fetcher.begin([refs[n] for n in wanted])
            assert [bytes(batch.get(refs[n])) for n in wanted] == [chunks[n] for n in wanted]
            batch.release()


def test_little_is_fetched_for_little(made):
    """One chunk out of many costs the segments that hold it, not the pack."""
    crafter, _, refs = made
    with _fetcher(crafter) as fetcher:
        batch = fetcher.begin([refs[6]])
        batch.get(refs[6])
        batch.release()
        assert fetcher.stored_bytes < 2 * MIB


@pytest.mark.parametrize("at", [0, 20, 60, 70, 100, PREAMBLE_BYTES, PREAMBLE_BYTES + 3 * MIB])
def test_a_flipped_byte_is_found(made, at, tmp_path):
    """A changed byte in the header, salt, commitment or a segment is damage that names the pack."""
    crafter, chunks, refs = made
    path = tmp_path / "repository" / object_name(ObjectKind.PACKS, refs[0].pack)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    told = []
    with _fetcher(crafter) as fetcher:
        batch = fetcher.begin(refs)
        for ref, chunk in zip(refs, chunks, strict=True):
            try:
                assert bytes(batch.get(ref)) == chunk
            except IntegrityError as error:
                told.append(str(error))
        batch.release()
    assert all(refs[0].pack.hex() in message for message in told)
    assert len(told) == 9 if at < PREAMBLE_BYTES else 1 <= len(told) <= 2


def test_a_shorter_pack_is_found(made, tmp_path):
    """A pack cut short gives damage, not short content."""
    crafter, _, refs = made
    path = tmp_path / "repository" / object_name(ObjectKind.PACKS, refs[0].pack)
    path.chmod(0o600)
    os.truncate(path, 3 * MIB)
    with _fetcher(crafter) as fetcher:
        batch = fetcher.begin(refs)
        with pytest.raises(IntegrityError):
            batch.get(refs[7])
        batch.release()
