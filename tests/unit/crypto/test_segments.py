"""C2SP chunked-encryption itself: published answers, layout, nonces, commitment."""

import hashlib
import hmac
import zlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from drkeeper.crypto.sealing import PREAMBLE_BYTES, Header, Kind, open_sealed
from drkeeper.crypto.segments import (
    COMMITMENT_BYTES,
    MAX_SEGMENTS,
    SALT_BYTES,
    TAG_BYTES,
    Layout,
    SegmentKey,
)
from drkeeper.errors import IntegrityError

C2SP_SEGMENT = 16 * 1024
START = SALT_BYTES + COMMITMENT_BYTES


def opened(key, context, message):
    """Open a message of C2SP's own segment size, in the order the specification asks for."""
    segment_key = SegmentKey.derive(key, message[:SALT_BYTES].ljust(SALT_BYTES), context)
    if not segment_key.commits_to(message[SALT_BYTES:START]):
        raise IntegrityError("commitment")
    layout = Layout.from_sealed(C2SP_SEGMENT, len(message) - START)
    out, view, at = bytearray(layout.plain_bytes), memoryview(message)[START:], 0
    for index in range(layout.segments):
        plain = memoryview(out)[at : at + layout.plain_length(index)]
        sealed = view[at + index * TAG_BYTES :][: len(plain) + TAG_BYTES]
        segment_key.open_segment(index, sealed, plain)
        at += len(plain)
    return bytes(out)


def published(vectors, result):
    """Yield each vector with its message."""
    for vector in vectors("c2sp-chunked-encryption.json")["vectors"]:
        if vector["result"] == result:
            yield vector, zlib.decompress(bytes.fromhex(vector["ct"]))


def test_published_messages_open_to_the_published_plaintext(vectors):
    """Every valid C2SP message opens, whatever its context and number of segments."""
    valid = list(published(vectors, "valid"))

    for vector, message in valid:
        plain = opened(bytes.fromhex(vector["key"]), bytes.fromhex(vector["ctx"]), message)
        assert len(plain) == vector["msgLength"]
        assert hashlib.sha512(plain).hexdigest() == vector["msgSha512"]
    assert len(valid) == 7


def test_published_messages_are_made_again_byte_for_byte(vectors):
    """Sealing the published plaintext under the published salt gives the published message."""
    for vector, message in published(vectors, "valid"):
        key, context = bytes.fromhex(vector["key"]), bytes.fromhex(vector["ctx"])
        plain = opened(key, context, message)
        layout = Layout(C2SP_SEGMENT, len(plain))
        out = bytearray(layout.sealed_bytes)
        segment_key = SegmentKey.derive(key, message[:SALT_BYTES], context)
        segment_key.seal_segments(layout, memoryview(plain), memoryview(out))
        assert segment_key.commitment + out == message[SALT_BYTES:]


def test_published_bad_messages_are_refused(vectors):
    """Every bad C2SP message is refused; a key of a wrong length is the caller's defect."""
    bad = list(published(vectors, "invalid"))

    for vector, message in bad:
        key = bytes.fromhex(vector["key"])
        wrong = IntegrityError if len(key) == 32 else ValueError
        with pytest.raises(wrong):
            opened(key, bytes.fromhex(vector["ctx"]), message)
    assert len(bad) == 20


def test_a_salt_or_key_of_a_wrong_length_is_a_defect():
    """Nothing is ever derived from a short key or a short salt."""
    with pytest.raises(ValueError, match="24"):
        SegmentKey.derive(bytes(32), bytes(23), b"")
    with pytest.raises(ValueError, match="32"):
        SegmentKey.derive(bytes(31), bytes(24), b"")


def test_nonces_are_base_xor_number_and_never_repeat():
    """Segment numbers up to the limit give distinct nonces of 12 bytes around the base."""
    key = SegmentKey.derive(bytes(32), bytes(24), b"context")
    base = int.from_bytes(key._nonce(0), "big")
    numbers = [0, 1, 2, 255, 256, 257, 65535, 65536, (1 << 31) + 7, MAX_SEGMENTS - 1]

    nonces = [key._nonce(number) for number in numbers]

    assert all(len(nonce) == 12 for nonce in nonces)
    assert [int.from_bytes(nonce, "big") ^ base for nonce in nonces] == numbers
    assert len({key._nonce(number) for number in range(10_000)}) == 10_000


@pytest.mark.parametrize("segment_bytes", [1 << 14, 1 << 16, 1 << 20])
def test_every_length_has_exactly_one_layout(segment_bytes):
    """Lengths that fit a layout are those of plaintexts; the others are refused."""
    step = segment_bytes + TAG_BYTES
    for full in (0, 1, 2):
        for rest in (0, 1, TAG_BYTES - 1):
            with pytest.raises(IntegrityError):
                Layout.from_sealed(segment_bytes, full * step + rest)
        for plain in (0, 1, segment_bytes - 1):
            length = full * segment_bytes + plain
            layout = Layout(segment_bytes, length)
            assert layout == Layout.from_sealed(segment_bytes, layout.sealed_bytes)
            assert layout.segments == full + 1
            assert layout.plain_length(full) == plain
    with pytest.raises(IntegrityError):
        Layout.from_sealed(segment_bytes, -1)


def test_lengths_beyond_the_counter_are_refused():
    """A store that claims more segments than are allowed is not believed, and costs nothing."""
    step = C2SP_SEGMENT + TAG_BYTES

    assert Layout.from_sealed(C2SP_SEGMENT, MAX_SEGMENTS * step - 1).segments == MAX_SEGMENTS
    with pytest.raises(IntegrityError, match="more segments"):
        Layout.from_sealed(C2SP_SEGMENT, MAX_SEGMENTS * step + TAG_BYTES)


def test_runs_are_found_in_their_segments():
    """A run of plaintext lies in exactly the segments that its borders say."""
    layout = Layout(16, 40)

    assert layout.holding(0, 40) == range(3)
    assert layout.holding(15, 1) == range(1)
    assert layout.holding(16, 1) == range(1, 2)
    assert layout.holding(15, 2) == range(2)
    assert layout.holding(40, 0) == range(0)
    for offset, length in ((-1, 1), (0, -1), (0, 41), (41, 0), (39, 2), (1 << 70, 1)):
        with pytest.raises(IntegrityError, match="outside"):
            layout.holding(offset, length)
    for index in (-1, 3):
        with pytest.raises(IntegrityError, match="no segment"):
            layout.plain_length(index)


def test_a_refused_segment_leaves_no_plaintext_behind():
    """The buffer is wiped when the tag is wrong: nothing unauthenticated can leak from it."""
    key = SegmentKey.derive(bytes(32), bytes(24), b"")
    layout = Layout(C2SP_SEGMENT, 11)
    sealed = bytearray(layout.sealed_bytes)
    key.seal_segments(layout, memoryview(b"plain words"), memoryview(sealed))
    sealed[-1] ^= 1
    into = bytearray(b"?" * 11)

    with pytest.raises(IntegrityError):
        key.open_segment(0, memoryview(sealed), memoryview(into))

    assert into == bytes(11)


# --- one ciphertext, two keys ---------------------------------------------------------------

_POLYNOMIAL = 0xE1 << 120
_ONE = 1 << 127


def multiply(x, y):
    """Multiply in GF(2^128) as GCM orders its bits (NIST SP 800-38D section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (_POLYNOMIAL if y & 1 else 0)
    return product


def power(x, exponent):
    result = _ONE
    for _ in range(exponent):
        result = multiply(result, x)
    return result


def inverse(x):
    """Return x^(2^128 - 2)."""
    result, square = _ONE, x
    for _ in range(127):
        square = multiply(square, square)
        result = multiply(result, square)
    return result


def aes(key, block):
    encryptor = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(block), "big")


def colliding_ciphertext(keys, nonces, blocks):
    """Return ciphertext and tag that AES-GCM accepts under both keys.

    The tag is linear in the ciphertext: one free block solves
    ``sum C_i (H1^e_i + H2^e_i) + L (H1 + H2) + E1 + E2 = 0``.
    """
    hashes = [aes(key, bytes(16)) for key in keys]
    masks = [aes(k, n + b"\0\0\0\1") for k, n in zip(keys, nonces, strict=True)]
    length = (len(blocks) + 1) * 128
    top = len(blocks) + 2

    def tag(which, chosen):
        sum_ = multiply(length, hashes[which]) ^ masks[which]
        for position, block in enumerate(chosen):
            sum_ ^= multiply(block, power(hashes[which], top - position))
        return sum_

    fixed = [int.from_bytes(block, "big") for block in blocks]
    gap = tag(0, [*fixed, 0]) ^ tag(1, [*fixed, 0])
    free = multiply(gap, inverse(power(hashes[0], 2) ^ power(hashes[1], 2)))
    chosen = [*fixed, free]
    assert tag(0, chosen) == tag(1, chosen)
    return b"".join(value.to_bytes(16, "big") for value in [*chosen, tag(0, chosen)])


def test_a_ciphertext_valid_under_two_keys_is_refused():
    """AES-GCM alone accepts one segment under two keys; the commitment lets only one open it.

    Without it, a hostile writer could hand out one object that two readers decrypt to different
    plaintexts.
    """
    class_keys = [b"\x11" * 32, b"\x22" * 32]
    header = Header(Kind.META, b"r" * 16, b"s" * 16, b"n" * 16)
    salt, context = b"t" * SALT_BYTES, b"drkeeper/v1\0" + header.encode()
    segment_keys = [SegmentKey.derive(key, salt, context) for key in class_keys]
    raw = [_raw_key(key, salt, context) for key in class_keys]
    sealed = colliding_ciphertext(
        [key for key, _ in raw],
        [nonce for _, nonce in raw],
        [b"sixteen bytes ..", b"of two minds .!?"],
    )

    plains = []
    for segment_key, (key, nonce) in zip(segment_keys, raw, strict=True):
        into = bytearray(len(sealed) - TAG_BYTES)
        segment_key.open_segment(0, memoryview(sealed), memoryview(into))
        assert bytes(into) == AESGCM(key).decrypt(nonce, sealed, None)
        plains.append(bytes(into))
    assert plains[0] != plains[1]

    for own, other in ((0, 1), (1, 0)):
        honest = header.encode() + salt + segment_keys[own].commitment + sealed
        assert len(honest) == PREAMBLE_BYTES + len(sealed)
        assert open_sealed(class_keys[own], header, honest) == plains[own]
        with pytest.raises(IntegrityError, match="does not belong to this key"):
            open_sealed(class_keys[other], header, honest)


def _raw_key(key, salt, context):
    """Derive key and base nonce with HMAC alone (RFC 5869 section 2.3)."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    block = hmac.digest(key, info + b"\1", "sha512")
    return block[:32], block[32:44]
