"""Laws of cutting: nothing is lost, limits hold, and an edit moves only the cuts around it."""

import random

from hypothesis import given, settings, strategies as st

from drkeeper.repository.chunker import CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, Chunker

CHUNKER = Chunker(2**64 - 1)
NOISE = random.Random(5).randbytes(24 * 1024 * 1024)


def cut_in_steps(data: bytes, step: int) -> list[int]:
    """Cut a stream that arrives in buffers of ``step`` bytes, as the writer does."""
    ends: list[int] = []
    begin = fill = 0
    while fill < len(data):
        fill = min(len(data), max(fill, begin) + step)
        new = CHUNKER.cuts(memoryview(data)[begin:fill], final=fill == len(data))
        ends += [begin + end for end in new]
        begin = ends[-1] if ends else 0
    return ends


@given(st.integers(0, 8 * 1024 * 1024), st.integers(5 * 1024 * 1024, 9 * 1024 * 1024))
@settings(max_examples=15, deadline=None)
def test_cuts_do_not_depend_on_buffers(length, step):
    """Chunks cover the stream, keep the limits, and are the same however it arrives."""
    data = NOISE[:length]
    whole = CHUNKER.cuts(memoryview(data), final=True)
    assert cut_in_steps(data, step) == whole
    assert whole == sorted(set(whole))
    assert (whole[-1] if whole else 0) == length
    begins = [0, *whole[:-1]]
    lengths = [end - begin for begin, end in zip(begins, whole, strict=False)]
    assert all(CHUNK_MIN_BYTES <= each <= CHUNK_MAX_BYTES for each in lengths[:-1])
    assert all(1 <= each <= CHUNK_MAX_BYTES for each in lengths[-1:])


def test_data_without_content_is_cut_at_the_limit():
    """Zeros give no cut of their own, and a full-length chunk does not wait for more."""
    zeros = memoryview(bytes(9 * 1024 * 1024))
    assert CHUNKER.cuts(zeros, final=False) == [CHUNK_MAX_BYTES, 2 * CHUNK_MAX_BYTES]


def test_an_insertion_moves_only_the_cuts_around_it():
    """A byte put into the middle leaves most chunks as they were."""
    middle = len(NOISE) // 2
    edited = NOISE[:middle] + b"!" + NOISE[middle:]

    def chunks(data: bytes) -> set[bytes]:
        ends = CHUNKER.cuts(memoryview(data), final=True)
        return {data[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)}

    before, after = chunks(NOISE), chunks(edited)
    assert len(after - before) <= 3


def test_cuts_depend_on_the_seed():
    """Two domains cut the same data differently."""
    data = memoryview(NOISE)
    assert Chunker(1).cuts(data, final=True) != Chunker(2).cuts(data, final=True)
