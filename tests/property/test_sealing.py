"""Laws of sealing that hold for every length, place and alteration."""

import pytest
from hypothesis import given, strategies as st

from drkeeper.crypto import age, bech32
from drkeeper.crypto.age import armor
from drkeeper.crypto.age.header import MAX_HEADER_BYTES, parse
from drkeeper.crypto.sealing import (
    PREAMBLE_BYTES,
    Header,
    Kind,
    Opener,
    open_sealed,
    seal,
    sealed_bytes,
)
from drkeeper.crypto.segments import TAG_BYTES, Layout
from drkeeper.errors import ConfigurationError, DrkeeperError, IntegrityError

SMALL_KINDS = st.sampled_from([Kind.META, Kind.REFS, Kind.LEDGER, Kind.RESCUE])
IDS = st.binary(min_size=16, max_size=16)
KEYS = st.binary(min_size=32, max_size=32)
SEGMENT = Kind.REFS.segment_bytes


@st.composite
def headers(draw, kinds=SMALL_KINDS):
    return Header(draw(kinds), draw(IDS), draw(IDS), draw(IDS))


def lengths(segment_bytes, segments=3):
    """Lengths near the borders of segments, where mistakes live, and others."""
    near = st.builds(
        lambda border, off: max(0, border * segment_bytes + off),
        st.integers(0, segments),
        st.integers(-2, 2),
    )
    return near | st.integers(0, segments * segment_bytes)


def patterned(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


@given(KEYS, headers(), st.data())
def test_what_is_sealed_opens(key, header, data):
    """Any plaintext comes back, and the length is the one that was foretold."""
    plain = patterned(data.draw(lengths(header.kind.segment_bytes)))

    sealed = seal(key, header, plain)

    assert len(sealed) == sealed_bytes(header.kind, len(plain))
    assert open_sealed(key, header, sealed) == plain


@given(KEYS, lengths(SEGMENT), st.data())
def test_ranges_equal_the_whole(key, plain_bytes, data):
    """Any run of plaintext, read through its segments alone, is that run of the whole."""
    header = Header(Kind.REFS, b"r" * 16, b"s" * 16, b"n" * 16)
    plain = patterned(plain_bytes)
    sealed = memoryview(seal(key, header, plain))
    offset = data.draw(st.integers(0, plain_bytes))
    length = data.draw(st.integers(0, plain_bytes - offset))
    opener = Opener(key, header, sealed[:PREAMBLE_BYTES], len(sealed))

    run, segment = bytearray(), bytearray(SEGMENT)
    numbers = opener.segments_for(offset, length)
    for index in numbers:
        at, size = opener.segment_span(index)
        opened = opener.open_segment_into(index, sealed[at : at + size], memoryview(segment))
        run += segment[:opened]
    start = offset - numbers.start * SEGMENT if length else 0

    assert run[start : start + length] == plain[offset : offset + length]


@given(st.integers(0, 3 * SEGMENT), st.data())
def test_no_alteration_opens(plain_bytes, data):
    """Replacing, inserting or removing any run of bytes is found, or changed nothing."""
    key, header = b"k" * 32, Header(Kind.REFS, b"r" * 16, b"s" * 16, b"n" * 16)
    sealed = seal(key, header, patterned(plain_bytes))
    start = data.draw(st.integers(0, len(sealed)))
    end = data.draw(st.integers(start, min(len(sealed), start + 40)))
    altered = sealed[:start] + data.draw(st.binary(max_size=40)) + sealed[end:]

    if altered != sealed:
        with pytest.raises(IntegrityError):
            open_sealed(key, header, altered)


@given(st.binary(max_size=400), headers(st.sampled_from(Kind)))
def test_arbitrary_bytes_never_open(found, header):
    """Whatever stands where an object should be ends in an IntegrityError."""
    for sealed in (found, header.encode() + found):
        with pytest.raises(IntegrityError):
            open_sealed(b"k" * 32, header, sealed)


@given(st.integers(1, 1 << 21), st.integers(0, 1 << 40))
def test_layouts_cover_the_message_once(segment_bytes, plain_bytes):
    """The lengths of a layout add up, invert, and leave no second reading."""
    layout = Layout(segment_bytes, plain_bytes)
    last = layout.segments - 1

    assert last * segment_bytes + layout.plain_length(last) == plain_bytes
    assert layout.plain_length(last) < segment_bytes
    assert layout.sealed_bytes == plain_bytes + layout.segments * TAG_BYTES
    if layout.segments <= 1 << 32:
        assert Layout.from_sealed(segment_bytes, layout.sealed_bytes) == layout


@given(st.integers(-1000, 1 << 72))
def test_any_claimed_length_is_judged_without_trouble(sealed_length):
    """A length from a hostile store gives a layout of that very length, or an IntegrityError."""
    try:
        layout = Layout.from_sealed(SEGMENT, sealed_length)
    except IntegrityError:
        return
    assert layout.sealed_bytes == sealed_length


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_hostile_age_files_end_in_typed_errors(head, body):
    """Nothing that a store puts where a key slot should be escapes as another exception."""
    start = b"age-encryption.org/v1\n-> "
    for file in (head, start + head, start + b"scrypt a 9\n\n--- " + body, age.armored(head)):
        for attempt in (
            lambda file=file: age.decrypt(file, []),
            lambda file=file: age.decrypt_with_passphrase(file, "p"),
        ):
            with pytest.raises(DrkeeperError):
                attempt()


@given(st.binary(max_size=MAX_HEADER_BYTES // 64), st.text(max_size=50))
def test_armor_and_bech32_come_back(payload, text):
    """Both encodings are one to one; text that is no key is a ConfigurationError."""
    assert armor.decode(age.armored(payload)) == payload
    assert bech32.decode(bech32.encode("drksign", payload)) == ("drksign", payload)
    with pytest.raises(ConfigurationError):
        bech32.decode(text)


@given(st.binary(max_size=2000))
def test_headers_are_parsed_or_refused(file):
    """The parser of unauthenticated bytes knows one way to fail."""
    with pytest.raises(IntegrityError):
        parse(b"age-encryption.org/v1\n" + file)
