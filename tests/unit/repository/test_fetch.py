"""Chunks out of packs: what is read, and what is believed."""

import os
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from doubles.crafted import Crafter
from drkeeper.crypto.sealing import PREAMBLE_BYTES
from drkeeper.errors import IntegrityError
from drkeeper.repository.fetch import Fetcher
from drkeeper.repository.places import ObjectKind, object_name
from drkeeper.repository.reads import ChunkRef, covered, plan_reads, segments_of

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
        runs = read.runs()
        for before, after in pairwise(runs):
            assert before.stop < after.start
        for ref in read.chunks:
            first, last = ref.offset // MIB, (ref.offset + ref.stored - 1) // MIB
            assert any(run.start <= first and last < run.stop for run in runs)


@given(REFS, st.sets(st.integers(0, 17)))
def test_what_is_held_is_not_asked_for(wanted, held):
    """Together with what is in memory, the runs have every segment; no run begins or ends in it."""
    for read in plan_reads([_ref(0, at, length, n) for n, (_, at, length) in enumerate(wanted)]):
        runs = read.runs(held, whole=False)
        needed = covered(segments_of(ref) for ref in read.chunks)
        assert needed <= covered(runs) | held
        assert all(run[0] not in held and run[-1] not in held for run in runs)


def test_a_pack_wanted_for_the_most_part_is_read_at_once():
    """One request is cheaper than several when more than half is needed anyway."""
    (read,) = plan_reads([_ref(1, n * MIB, MIB, n) for n in range(16) if n % 4 != 1])
    assert read.runs() == (range(16),)


def test_distant_chunks_are_read_apart():
    """Of a pack of which little is wanted, little is read."""
    (read,) = plan_reads([_ref(1, 0, 100, 0), _ref(1, 14 * MIB, 100, 1)])
    assert read.runs() == (range(1), range(14, 15))


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


def test_no_segment_is_read_twice_for_batches_side_by_side(made):
    """Batches that share a segment, and a batch after them, have it read once."""
    crafter, chunks, refs = made
    with _fetcher(crafter) as fetcher:
        first, second = fetcher.begin(refs[:4]), fetcher.begin(refs[3:])
        assert [bytes(second.get(ref)) for ref in refs[3:]] == chunks[3:]
        assert [bytes(first.get(ref)) for ref in refs[:4]] == chunks[:4]
        once = fetcher.stored_bytes
        assert once < sum(map(len, chunks)) + MIB
        first.release()
        second.release()
        again = fetcher.begin([refs[4]])
        assert bytes(again.get(refs[4])) == chunks[4]
        again.release()
        assert fetcher.stored_bytes == once


def test_memory_is_used_again_only_after_its_last_user(made):
    """A chunk stays right while its batch lives, however many batches come and go meanwhile."""
    crafter, chunks, refs = made
    with _fetcher(crafter) as fetcher:
        held = fetcher.begin([refs[2]])
        content = held.get(refs[2])
        for _ in range(4):
            for ref, chunk in zip(refs, chunks, strict=True):
                batch = fetcher.begin([ref])
                assert bytes(batch.get(ref)) == chunk
                batch.release()
        assert bytes(content) == chunks[2]
        held.release()


def test_a_pack_that_was_missing_is_looked_for_again(made, tmp_path):
    """A failure is told, and is not remembered as if it were the pack."""
    crafter, chunks, refs = made
    path = tmp_path / "repository" / object_name(ObjectKind.PACKS, refs[0].pack)
    away = path.rename(tmp_path / "away")
    with _fetcher(crafter) as fetcher:
        batch = fetcher.begin(refs[:2])
        with pytest.raises(IntegrityError, match="missing from the store"):
            batch.get(refs[1])
        batch.release()
        away.rename(path)
        batch = fetcher.begin(refs[:2])
        assert bytes(batch.get(refs[1])) == chunks[1]
        batch.release()
