"""BLAKE3 in its three modes, and what is derived with it."""

import pytest

from drkeeper.crypto import digests
from drkeeper.crypto.derive import Domain

# BLAKE3 test_vectors.json: input lengths 0 and 1, first 32 bytes.
OFFICIAL_KEY = b"whats the Elvish word for friend"  # codespell:ignore whats
OFFICIAL_CONTEXT = "BLAKE3 2019-12-27 16:29:52 test vectors context"


def test_published_digests():
    """Plain, keyed and derived values of the official vectors."""
    assert digests.digest(b"").hex() == (
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    )
    assert digests.digest(b"\0").hex() == (
        "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"
    )
    assert digests.keyed(OFFICIAL_KEY, b"").hex() == (
        "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"
    )
    assert digests.derive_key(OFFICIAL_CONTEXT, b"").hex() == (
        "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d"
    )


def test_streams_give_the_digest_of_the_whole():
    """Hashers fed in pieces, also with views, agree with one call."""
    data = bytes(range(256)) * 1000
    plain, keyed = digests.hasher(), digests.keyed_hasher(OFFICIAL_KEY)
    for start in range(0, len(data), 7001):
        plain.update(memoryview(data)[start : start + 7001])
        keyed.update(bytearray(data[start : start + 7001]))

    assert plain.digest() == digests.digest(data)
    assert keyed.digest() == digests.keyed(OFFICIAL_KEY, memoryview(data))
    assert digests.equal(plain.digest(), digests.digest(data))
    assert not digests.equal(plain.digest(), keyed.digest())


def test_a_key_of_a_wrong_length_is_a_defect():
    """Nothing is keyed with less than 32 bytes."""
    with pytest.raises(ValueError, match="32"):
        digests.keyed(b"short", b"")


def test_frozen_derivations(vectors):
    """Chunk names, cuts and lineages of format 1 stay as they are, or nothing deduplicates."""
    frozen = vectors("keys.json")["domain"]
    domain = Domain(bytes.fromhex(frozen["secret"]))

    assert domain.chunk_key.hex() == frozen["chunk_key"]
    assert domain.piece_key.hex() == frozen["piece_key"]
    assert domain.chunker_seed == frozen["chunker_seed"]
    for lineage in frozen["lineages"]:
        found = domain.lineage_id(lineage["policy"], lineage["source_kind"])
        assert found.hex() == lineage["id"]


def test_domains_share_nothing():
    """Another secret gives other keys, another cut and other lineages, each its own."""
    one, other = Domain(bytes(32)), Domain(bytes(31) + b"\1")
    derived = [
        (d.chunk_key, d.piece_key, d.chunker_seed, d.lineage_id("a", "files")) for d in (one, other)
    ]

    assert len(set(derived[0]) | set(derived[1])) == 8
    assert one == Domain(bytes(32))
    assert one.lineage_id("a", "files") != one.lineage_id("a", "sqlite")
    assert 0 < one.chunker_seed < 1 << 64


def test_domain_secrets_are_32_bytes_and_never_shown():
    """A short secret is a defect; the repr has no secret and nothing derived from it."""
    domain = Domain(b"canary secret of thirty-two byte")

    assert repr(domain) == str(domain) == "Domain()"
    with pytest.raises(ValueError, match="32"):
        Domain(b"short")
