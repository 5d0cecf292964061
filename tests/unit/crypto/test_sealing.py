"""Sealed objects: known answers, and nothing altered, moved or cut ever opens."""

import hashlib
import threading
from dataclasses import replace

import pytest

from drkeeper.crypto.sealing import (
    HEADER_BYTES,
    PREAMBLE_BYTES,
    SEGMENT_LOG2,
    Draft,
    Header,
    Kind,
    Opener,
    _seal_with_salt,
    id_of_name,
    open_sealed,
    open_sealed_into,
    seal,
    seal_into,
    sealed_bytes,
)
from drkeeper.errors import IntegrityError

KEY = hashlib.sha256(b"a class key").digest()
SMALL = 1 << 14
STEP = SMALL + 16


def header_of(kind, **changes):
    return replace(
        Header(kind, b"repository.....1", b"session........1", b"name...........1"), **changes
    )


def plain_of(length, label=""):
    return hashlib.shake_128(f"plain {label}".encode()).digest(length)


def refused(expected, sealed, key=KEY):
    """Tell whether opening ends in an IntegrityError; anything else is raised or False."""
    try:
        open_sealed(key, expected, sealed)
    except IntegrityError:
        return True
    return False


def test_frozen_objects_open(vectors):
    """What the format page says, made by other code, opens: forever."""
    for vector in vectors("sealing.json")["vectors"]:
        header, key, plain, sealed = _frozen(vector)
        assert sealed[:PREAMBLE_BYTES].hex() == vector["preamble"]
        assert sealed[PREAMBLE_BYTES:].hex() == vector.get(
            "segments", sealed[PREAMBLE_BYTES:].hex()
        )
        assert len(sealed) == vector["sealed_bytes"] == sealed_bytes(header.kind, len(plain))
        assert hashlib.sha256(sealed).hexdigest() == vector["sealed_sha256"]
        assert open_sealed(key, header, sealed) == plain


def _frozen(vector):
    """Return header, key, plaintext and our own sealing under the frozen salt."""
    ids = (bytes.fromhex(vector[part]) for part in ("repository", "session", "name"))
    header, key = Header(Kind(vector["kind"]), *ids), bytes.fromhex(vector["key"])
    label = vector["label"] + "plain"
    plain = hashlib.shake_128(label.encode()).digest(vector["plain_bytes"])
    out = bytearray(vector["sealed_bytes"])
    salt = bytes.fromhex(vector["salt"])
    assert _seal_with_salt(key, header, memoryview(plain), memoryview(out), salt=salt) == len(out)
    return header, key, plain, bytes(out)


def test_the_header_has_the_bytes_of_the_format_page():
    """Magic, version, kind, suite, log2 of the segment, zeros, three ids."""
    encoded = header_of(Kind.LOG).encode()

    assert encoded[:16] == b"drkeeper\x01\x04\x01\x14\0\0\0\0"
    assert encoded[16:] == b"repository.....1session........1name...........1"
    assert len(encoded) == HEADER_BYTES == 64
    assert PREAMBLE_BYTES == 120
    assert [SEGMENT_LOG2[kind] for kind in Kind] == [20, 16, 14, 20, 14, 14]


def test_malformed_headers_cannot_be_made():
    """Ids have 16 bytes and there is one suite: anything else is the caller's defect."""
    with pytest.raises(ValueError, match="16 bytes"):
        header_of(Kind.PACK, name=b"short")
    with pytest.raises(ValueError, match="suite"):
        header_of(Kind.PACK, suite=2)


def test_ids_of_names_that_are_not_random_come_from_the_name():
    """Logs, ledger exports and rescue objects are bound to their whole name."""
    assert len(id_of_name("rescue/000001")) == 16
    assert id_of_name("rescue/000001") != id_of_name("rescue/000002")


def test_identical_plaintexts_never_give_the_same_ciphertext():
    """A hundred thousand seals of one plaintext under one name share nothing but the header."""
    header, plain = header_of(Kind.META), b"the same secret every time"

    sealed = [seal(KEY, header, plain) for _ in range(100_000)]

    assert len({one[HEADER_BYTES : HEADER_BYTES + 24] for one in sealed}) == 100_000
    assert len({one[HEADER_BYTES + 24 : PREAMBLE_BYTES] for one in sealed}) == 100_000
    assert len({one[PREAMBLE_BYTES:] for one in sealed}) == 100_000


def test_reused_buffers_hold_nothing_of_the_object_before():
    """Sealing and opening write in place, at the start, and say how much."""
    header = header_of(Kind.REFS)
    out, into = bytearray(b"\xee" * 4 * STEP), bytearray(b"\xee" * 4 * SMALL)
    for length in (3 * SMALL, 0, 5, SMALL):
        plain = plain_of(length)
        end = seal_into(KEY, header, memoryview(plain), memoryview(out))
        assert end == sealed_bytes(Kind.REFS, length)
        assert open_sealed_into(KEY, header, memoryview(out)[:end], memoryview(into)) == length
        assert into[:length] == plain
    assert out[-100:] == into[-100:] == b"\xee" * 100


@pytest.mark.parametrize("length", [0, 1, SMALL - 1, SMALL, SMALL + 1, 5 * SMALL, 5 * SMALL + 7])
@pytest.mark.parametrize("step", [1_000, SMALL - 1, SMALL, 3 * SMALL + 5, 9 * SMALL])
def test_an_object_sealed_where_it_was_written_is_like_any_other(length, step):
    """However the plaintext is cut, it opens, and nothing behind the object is touched."""
    header, plain = header_of(Kind.REFS), plain_of(length)
    memory = bytearray(b"\xee" * 10 * STEP)
    draft = Draft(Kind.REFS, memoryview(memory))
    for at in range(0, length, step):
        draft.write(plain[at : at + step])

    sealed = draft.seal(KEY, header)

    end = sealed_bytes(Kind.REFS, length)
    assert len(sealed) == end
    assert open_sealed(KEY, header, sealed) == plain
    assert sealed == memory[:end]
    assert set(memory[end:]) == {0xEE}


def test_a_draft_is_sealed_once_and_as_what_it_is():
    """Ciphertext is never sealed again as if it were plaintext, nor cut as another kind."""
    draft = Draft(Kind.REFS, memoryview(bytearray(STEP)))
    draft.write(b"all of it")
    with pytest.raises(ValueError, match="another kind"):
        draft.seal(KEY, header_of(Kind.PACK))
    draft.seal(KEY, header_of(Kind.REFS))

    with pytest.raises(ValueError, match="sealed"):
        draft.write(b"more")
    with pytest.raises(ValueError, match="sealed"):
        draft.seal(KEY, header_of(Kind.REFS))


def test_buffers_that_are_too_short_are_defects():
    """No buffer is overrun or silently cut; the message names no content."""
    header = header_of(Kind.REFS)
    sealed = seal(KEY, header, b"12345")
    opener = Opener(KEY, header, sealed[:PREAMBLE_BYTES], len(sealed))

    with pytest.raises(ValueError, match="buffer"):
        seal_into(KEY, header, memoryview(b"12345"), memoryview(bytearray(len(sealed) - 1)))
    with pytest.raises(ValueError, match="buffer"):
        Draft(Kind.REFS, memoryview(bytearray(len(sealed) - 1))).write(b"12345")
    with pytest.raises(ValueError, match="buffer"):
        open_sealed_into(KEY, header, sealed, memoryview(bytearray(4)))
    with pytest.raises(ValueError, match="buffer"):
        opener.open_segment_into(0, memoryview(sealed)[PREAMBLE_BYTES:], memoryview(bytearray(4)))


@pytest.mark.parametrize("kind", Kind)
def test_every_changed_bit_of_a_small_object_is_found(kind):
    """Each bit of header, salt, commitment, ciphertext and tag is authenticated."""
    header = header_of(kind)
    sealed = bytearray(seal(KEY, header, plain_of(40)))
    assert not refused(header, sealed)

    for position in range(len(sealed)):
        for bit in range(8):
            sealed[position] ^= 1 << bit
            assert refused(header, sealed), (position, bit)
            sealed[position] ^= 1 << bit


def test_every_changed_byte_of_several_segments_is_found():
    """In an object of a full, a full and a short segment no byte is left out."""
    header = header_of(Kind.REFS)
    sealed = bytearray(seal(KEY, header, plain_of(2 * SMALL + 33)))

    for position in range(len(sealed)):
        sealed[position] ^= 0x80
        assert refused(header, sealed), position
        sealed[position] ^= 0x80


@pytest.mark.parametrize("kind", Kind)
def test_every_truncation_and_extension_is_found(kind):
    """No prefix of an object is an object, nor is an object with something after it."""
    header = header_of(kind)
    sealed = seal(KEY, header, plain_of(40))

    for length in range(len(sealed)):
        assert refused(header, sealed[:length]), length
    for more in (1, 15, 16, 17, 200, SMALL, kind.segment_bytes + 16):
        assert refused(header, sealed + bytes(more)), more


def test_every_truncation_of_several_segments_is_found():
    """Cutting between segments is found too: the last segment is authenticated as the last."""
    header = header_of(Kind.LEDGER)
    for plain_bytes in (SMALL, SMALL + 5):
        sealed = memoryview(seal(KEY, header, plain_of(plain_bytes)))
        for length in range(PREAMBLE_BYTES, len(sealed)):
            assert refused(header, sealed[:length]), length


def test_segments_cannot_be_moved_dropped_or_repeated():
    """Every other arrangement of an object's own segments is refused."""
    header = header_of(Kind.RESCUE)
    sealed = seal(KEY, header, plain_of(3 * SMALL + 7))
    start, body = sealed[:PREAMBLE_BYTES], sealed[PREAMBLE_BYTES:]
    one, two, three, last = (body[at * STEP : (at + 1) * STEP] for at in range(4))
    assert not refused(header, b"".join((start, one, two, three, last)))

    others = [
        (two, one, three, last),
        (one, three, two, last),
        (one, two, last),
        (one, two, three),
        (one, two, three, three, last),
        (one, one, two, three, last),
        (last,),
        (one, two, three, last, last),
    ]

    assert all(refused(header, start + b"".join(other)) for other in others)


def test_segments_and_preambles_cannot_be_spliced():
    """Two seals of one plaintext, even under one name, exchange no part."""
    header = header_of(Kind.REFS)
    one, other = (seal(KEY, header, plain_of(SMALL + 9)) for _ in range(2))
    borders = (HEADER_BYTES, HEADER_BYTES + 24, PREAMBLE_BYTES, PREAMBLE_BYTES + STEP)

    for border in borders[1:]:
        assert refused(header, one[:border] + other[border:]), border
    salt_only = one[:HEADER_BYTES] + other[HEADER_BYTES : HEADER_BYTES + 24] + one[88:]
    assert refused(header, salt_only)
    assert one[: borders[0]] == other[: borders[0]]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": Kind.LEDGER},
        {"kind": Kind.PACK},
        {"repository": b"repository.....2"},
        {"session": b"session........2"},
        {"name": b"name...........2"},
    ],
)
def test_an_object_opens_only_as_what_it_was_sealed_for(changes):
    """Neither a reader that expects another object nor a store that rewrites the header wins."""
    header = header_of(Kind.REFS)
    other = replace(header, **changes)
    sealed = seal(KEY, header, plain_of(100))

    with pytest.raises(IntegrityError, match="header"):
        open_sealed(KEY, other, sealed)
    with pytest.raises(IntegrityError, match="does not belong to this key"):
        open_sealed(KEY, other, other.encode() + sealed[HEADER_BYTES:])


@pytest.mark.parametrize(
    "position",
    [
        pytest.param(8, id="version"),
        pytest.param(10, id="suite"),
        pytest.param(11, id="segment"),
        pytest.param(12, id="reserved"),
    ],
)
def test_there_is_no_downgrade(position):
    """A header with another version, suite, segment size or reserved byte is refused unread."""
    header = header_of(Kind.PACK)
    sealed = bytearray(seal(KEY, header, b"x"))
    sealed[position] += 1

    with pytest.raises(IntegrityError, match="another header"):
        open_sealed(KEY, header, sealed)


def test_another_key_is_refused_by_the_commitment():
    """The wrong key is noticed before a byte is decrypted."""
    header = header_of(Kind.PACK)

    with pytest.raises(IntegrityError, match="does not belong to this key"):
        open_sealed(bytes(32), header, seal(KEY, header, b"x"))


def test_the_header_is_compared_before_key_and_length():
    """A foreign object is called foreign, whatever else is wrong with it."""
    with pytest.raises(IntegrityError, match="another header"):
        Opener(b"no key at all", header_of(Kind.PACK), bytes(PREAMBLE_BYTES), -5)
    with pytest.raises(IntegrityError, match="cut short"):
        Opener(KEY, header_of(Kind.PACK), bytes(PREAMBLE_BYTES - 1), 1000)


@pytest.mark.parametrize("plain_bytes", [0, 1, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL + 100])
def test_ranges_open_without_the_rest(plain_bytes):
    """Each segment opens alone, from its span, to its part of the plaintext."""
    header, plain = header_of(Kind.REFS), plain_of(plain_bytes)
    sealed = seal(KEY, header, plain)
    opener = Opener(KEY, header, sealed[:PREAMBLE_BYTES], len(sealed))
    into = bytearray(SMALL)

    assert opener.plain_bytes == plain_bytes
    for index in range(opener.segments):
        offset, length = opener.segment_span(index)
        opened = opener.open_segment_into(
            index, memoryview(sealed)[offset : offset + length], memoryview(into)
        )
        assert into[:opened] == plain[index * SMALL : (index + 1) * SMALL]
    assert opener.segment_span(opener.segments - 1)[0] + length == len(sealed)
    opener.verify_length(sealed[offset:])


def test_ranges_outside_the_object_are_refused():
    """An offset from hostile metadata ends in an IntegrityError, never in an IndexError."""
    header = header_of(Kind.REFS)
    sealed = seal(KEY, header, plain_of(SMALL + 1))
    opener = Opener(KEY, header, sealed[:PREAMBLE_BYTES], len(sealed))

    for index in (-1, 2, 1 << 40):
        with pytest.raises(IntegrityError):
            opener.segment_span(index)
        with pytest.raises(IntegrityError):
            opener.open_segment_into(index, memoryview(b""), memoryview(bytearray(SMALL)))
    for offset, length in ((SMALL, 2), (-1, 1), (1 << 60, 1)):
        with pytest.raises(IntegrityError):
            opener.segments_for(offset, length)
    assert opener.segments_for(SMALL - 1, 2) == range(2)
    for wrong in (b"", sealed[PREAMBLE_BYTES:], bytes(15)):
        with pytest.raises(IntegrityError, match="wrong length"):
            opener.open_segment_into(0, memoryview(wrong), memoryview(bytearray(SMALL)))


def test_a_false_length_is_never_proven():
    """Whatever length a store claims, no bytes of the object prove it but those at the true end."""
    header = header_of(Kind.REFS)
    sealed = seal(KEY, header, plain_of(2 * SMALL + 20))
    claims = [PREAMBLE_BYTES + 16, PREAMBLE_BYTES + STEP + 36, len(sealed) - 1, len(sealed) + 1]
    claims += [len(sealed) + STEP, len(sealed) - STEP, PREAMBLE_BYTES + 2 * STEP + 16, 1 << 40]

    for claimed in claims:
        opener = Opener(KEY, header, sealed[:PREAMBLE_BYTES], claimed)
        _, length = opener.segment_span(opener.segments - 1)
        candidates = [sealed[at : at + length] for at in range(PREAMBLE_BYTES, len(sealed), 4)]
        for candidate in [*candidates, bytes(length), b""]:
            with pytest.raises(IntegrityError):
                opener.verify_length(candidate)


def test_true_segments_open_under_a_false_length():
    """What opens is authentic even before the length is proven; what is missing is noticed."""
    header, plain = header_of(Kind.REFS), plain_of(2 * SMALL + 20)
    sealed = seal(KEY, header, plain)
    opener = Opener(KEY, header, sealed[:PREAMBLE_BYTES], len(sealed) + 10 * STEP)
    into = bytearray(SMALL)

    opener.open_segment_into(
        1, memoryview(sealed)[PREAMBLE_BYTES + STEP : PREAMBLE_BYTES + 2 * STEP], memoryview(into)
    )

    assert into == plain[SMALL : 2 * SMALL]
    with pytest.raises(IntegrityError):
        opener.open_segment_into(
            2, memoryview(sealed[PREAMBLE_BYTES + 2 * STEP :].ljust(STEP)), memoryview(into)
        )


def test_a_claimed_length_costs_no_memory():
    """An object said to hold 2^50 bytes is opened in ranges without allocating for the claim."""
    header = header_of(Kind.PACK)
    sealed = seal(KEY, header, b"tiny")

    opener = Opener(KEY, header, sealed[:PREAMBLE_BYTES], PREAMBLE_BYTES + (1 << 50))

    assert opener.segments > 1 << 29
    with pytest.raises(IntegrityError):
        opener.verify_length(sealed[PREAMBLE_BYTES:])
    with pytest.raises(IntegrityError, match="more segments"):
        Opener(KEY, header, sealed[:PREAMBLE_BYTES], 1 << 62)


def test_refused_ranges_leave_no_plaintext_behind():
    """After a refusal the caller's buffer holds zeros where the plaintext would have been."""
    header = header_of(Kind.REFS)
    sealed = bytearray(seal(KEY, header, b"secret words"))
    sealed[-1] ^= 1
    into = bytearray(b"?" * 20)

    with pytest.raises(IntegrityError):
        open_sealed_into(KEY, header, sealed, memoryview(into))

    assert into == bytes(12) + b"?" * 8


def test_one_opener_serves_many_threads():
    """Threads that share an opener get their own segments, every time."""
    header, plain = header_of(Kind.REFS), plain_of(8 * SMALL)
    sealed = seal(KEY, header, plain)
    opener = Opener(KEY, header, sealed[:PREAMBLE_BYTES], len(sealed))
    wrong = []

    def read(index):
        into = bytearray(SMALL)
        offset, length = opener.segment_span(index)
        for _ in range(200):
            opener.open_segment_into(
                index, memoryview(sealed)[offset : offset + length], memoryview(into)
            )
            if into != plain[index * SMALL : (index + 1) * SMALL]:
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


def test_errors_and_texts_show_no_secret():
    """Neither the key nor the plaintext stands in an error, a repr or its context."""
    header = header_of(Kind.META)
    sealed = seal(KEY, header, b"canary plaintext")
    opener = Opener(KEY, header, sealed[:PREAMBLE_BYTES], len(sealed))
    with pytest.raises(IntegrityError) as caught:
        open_sealed(KEY, header, sealed[:-1] + bytes([sealed[-1] ^ 1]))

    shown = repr((opener, opener._key, caught.value, caught.value.context, caught.value.hint))

    assert KEY.hex() not in shown
    assert repr(KEY) not in shown
    assert "canary" not in shown
