"""Memory of a backup: what the options promise."""

from hypothesis import given, strategies as st

from drkeeper.repository import writer
from drkeeper.repository.chunk_store import PACK_BUFFER_BYTES
from drkeeper.repository.writer import WriterOptions

MIB = 1024 * 1024


@given(st.integers(128, 4096), st.integers(1, 64), st.integers(1, 64))
def test_buffers_stay_within_the_memory(memory, workers, uploads):
    """Whatever machine it is, buffers leave room for the rest; a page a pack is not counted."""
    options = WriterOptions(memory_bytes=memory * MIB, workers=workers, uploads=uploads)
    puts, packs, content = options.shares()

    assert 1 <= puts <= uploads
    assert packs == puts + 1
    taken = packs * (PACK_BUFFER_BYTES // MIB * MIB) + content * writer._CONTENT_BYTES
    assert taken + writer._REST_BYTES <= memory * MIB


@given(st.integers(0, 128), st.integers(1, 64))
def test_too_little_memory_is_no_deadlock(memory, workers):
    """There are always enough buffers for one that is filled while another is stored."""
    puts, packs, content = WriterOptions(memory_bytes=memory * MIB, workers=workers).shares()

    assert (puts, packs) >= (1, 2)
    assert content >= writer._LEAST_CONTENT
