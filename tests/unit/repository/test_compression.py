"""Codecs of chunks and parts."""

import os

import pytest
from hypothesis import given, strategies as st

from drkeeper.errors import IntegrityError
from drkeeper.repository.compression import Compressor, decode
from drkeeper.repository.places import Codec


@given(st.binary(max_size=300), st.integers(1, 2000))
def test_what_is_encoded_comes_back(part, times):
    """Decoding is the inverse of encoding, whatever codec was chosen."""
    data = part * times
    codec, stored = Compressor().encode(data)
    assert decode(codec, stored, len(data)) == data
    assert len(stored) <= len(data)


def test_data_that_does_not_compress_is_stored_as_it_is():
    """Neither tried in full nor copied."""
    data = os.urandom(1_000_000)
    codec, stored = Compressor().encode(data)
    assert codec == Codec.RAW
    assert stored is data


def test_data_that_compresses_is_compressed():
    """Also when a part of it does not."""
    data = os.urandom(500_000) + bytes(500_000)
    codec, stored = Compressor().encode(data)
    assert codec == Codec.ZSTD
    assert len(stored) < 510_000


@pytest.mark.parametrize("plain", [0, 1, 999, 1001, 4 * 1024 * 1024])
def test_a_wrong_length_is_refused(plain):
    """A frame that is longer or shorter than declared is no chunk, and a bomb does not go off."""
    codec, stored = Compressor().encode(bytes(1000))
    assert codec == Codec.ZSTD
    with pytest.raises(IntegrityError):
        decode(codec, stored, plain)


def test_a_bomb_is_not_unpacked():
    """Of a frame that claims little and holds much, no more than the claim is produced."""
    _, stored = Compressor().encode(bytes(200_000_000))
    with pytest.raises(IntegrityError, match="declared"):
        decode(Codec.ZSTD, stored, 10)


@pytest.mark.parametrize("stored", [b"", b"garbage", b"\x28\xb5\x2f\xfd"], ids=repr)
def test_garbage_is_refused(stored):
    """What is no frame, or an unfinished one, is an integrity violation."""
    with pytest.raises(IntegrityError):
        decode(Codec.ZSTD, stored, 5)
    with pytest.raises(IntegrityError):
        decode(Codec.RAW, stored, 5)


def test_two_frames_are_refused():
    """A chunk is one frame; anything behind it was put there by somebody else."""
    _, stored = Compressor().encode(bytes(1000))
    with pytest.raises(IntegrityError):
        decode(Codec.ZSTD, bytes(stored) + bytes(stored), 1000)


def test_an_unknown_codec_is_refused():
    """Later formats may have more; this release does not guess."""
    with pytest.raises(IntegrityError, match="unknown codec"):
        decode(2, b"", 0)
