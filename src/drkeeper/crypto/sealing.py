"""Sealed objects: everything in the repository that is secret goes through here.

A sealed object is ``header (64) || salt (24) || commitment (32) || segments``. The header is in
the derivation of the key, so an object opens only as the kind, in the repository, for the session
and under the name it was sealed for. There is no other suite, no "off", and no downgrade: a reader
knows the header before it reads, and compares.

Source: docs/format.md section 4.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from drkeeper.crypto.digests import digest
from drkeeper.crypto.segments import COMMITMENT_BYTES, SALT_BYTES, TAG_BYTES, Layout, SegmentKey
from drkeeper.errors import IntegrityError

MAGIC: Final = b"drkeeper"
"""First bytes of every sealed object. Source: docs/format.md section 4."""
FORMAT_VERSION: Final = 1
"""Source: docs/format.md section 4."""
SUITE: Final = 1
"""HKDF-Expand-SHA-512 with AES-256-GCM. Source: docs/format.md section 4."""
ID_BYTES: Final = 16
"""Length of repository, session and object ids. Source: docs/format.md, introduction."""
HEADER_BYTES: Final = 64
"""Source: docs/format.md section 4."""
PREAMBLE_BYTES: Final = HEADER_BYTES + SALT_BYTES + COMMITMENT_BYTES
"""Where segment 0 starts: 120."""

_CONTEXT: Final = b"drkeeper/v1\0"
_COMMITMENT_AT: Final = HEADER_BYTES + SALT_BYTES


class Kind(IntEnum):
    """What a sealed object holds.

    Source: docs/format.md section 1.
    """

    PACK = 1
    META = 2
    REFS = 3
    LOG = 4
    LEDGER = 5
    RESCUE = 6

    @property
    def segment_bytes(self) -> int:
        """Plaintext length of every segment but the last."""
        return 1 << SEGMENT_LOG2[self]


SEGMENT_LOG2: Final[Mapping[Kind, int]] = MappingProxyType(
    {
        Kind.PACK: 20,
        Kind.META: 16,
        Kind.REFS: 14,
        Kind.LOG: 20,
        Kind.LEDGER: 14,
        Kind.RESCUE: 14,
    }
)
"""Large segments keep threads out of the interpreter; small ones make range reads cheap.

Source: docs/format.md section 4.
"""


@dataclass(frozen=True, slots=True)
class Header:
    """Says what an object is; authenticated, because keys are derived from it.

    Attributes:
        kind: What it holds.
        repository: Id of the repository, 16 bytes.
        session: Id of the session whose class key seals it, 16 bytes.
        name: Id of the object, 16 bytes: random, or :func:`id_of_name`.
        suite: Which algorithms; there is one.
    """

    kind: Kind
    repository: bytes
    session: bytes
    name: bytes
    suite: int = SUITE

    def __post_init__(self) -> None:
        if any(len(part) != ID_BYTES for part in (self.repository, self.session, self.name)):
            raise ValueError("repository, session and name are ids of 16 bytes")
        if self.suite != SUITE:
            raise ValueError("there is no such suite")

    def encode(self) -> bytes:
        """Return the 64 bytes at the start of the object."""
        fixed = bytes((FORMAT_VERSION, self.kind, self.suite, SEGMENT_LOG2[self.kind], 0, 0, 0, 0))
        return MAGIC + fixed + self.repository + self.session + self.name


def id_of_name(object_name: str) -> bytes:
    """Return the id of an object whose name is not random: logs, ledger exports, rescue objects.

    Source: docs/format.md section 4.
    """
    return digest(object_name.encode())[:ID_BYTES]


def sealed_bytes(kind: Kind, plain_bytes: int) -> int:
    """Return the length of the sealed object for ``plain_bytes`` bytes of plaintext."""
    return PREAMBLE_BYTES + Layout(kind.segment_bytes, plain_bytes).sealed_bytes


def seal(key: bytes, header: Header, plain: bytes | bytearray | memoryview) -> bytes:
    """Return ``plain`` as a sealed object; the same plaintext never gives the same bytes."""
    out = bytearray(sealed_bytes(header.kind, len(plain)))
    seal_into(key, header, memoryview(plain), memoryview(out))
    return bytes(out)


def seal_into(key: bytes, header: Header, plain: memoryview, out: memoryview) -> int:
    """Write the sealed object for ``plain`` to the start of ``out``; return its length.

    Nothing is copied on the way. A salt is drawn on every call: to send an object again, send
    the same bytes again, and never seal twice under one name.

    Args:
        key: The session's key of the object's class, 32 uniformly random bytes.
        header: Becomes part of the key derivation.
        plain: Contiguous bytes; may not overlap ``out``.
        out: At least ``sealed_bytes(header.kind, len(plain))`` bytes; a longer buffer may be reused.

    Raises:
        ValueError: ``out`` is too short, or the key is not one.
    """
    return _seal_with_salt(key, header, plain, out, salt=os.urandom(SALT_BYTES))


def _seal_with_salt(
    key: bytes, header: Header, plain: memoryview, out: memoryview, *, salt: bytes
) -> int:
    """Seal under a given salt; apart from :func:`seal_into` only known answers may use it.

    Raises:
        ValueError: ``out`` is too short, or the key is not one.
    """
    layout = Layout(header.kind.segment_bytes, len(plain))
    end = PREAMBLE_BYTES + layout.sealed_bytes
    if len(out) < end:
        raise ValueError("the buffer is shorter than the sealed object")
    segment_key = _begin(key, header, out, salt)
    segment_key.seal_segments(layout, plain, out[PREAMBLE_BYTES:end])
    return end


def _begin(key: bytes, header: Header, out: memoryview, salt: bytes) -> SegmentKey:
    """Write the preamble of an object to ``out`` and return what its segments are sealed with."""
    encoded = header.encode()
    segment_key = SegmentKey.derive(key, salt, _CONTEXT + encoded)
    out[:PREAMBLE_BYTES] = encoded + salt + segment_key.commitment
    return segment_key


class Draft:
    """A plaintext that is written where its sealed form will be; for one thread at a time.

    Takes half the memory of :func:`seal_into`, which counts for objects of many megabytes.
    """

    __slots__ = ("_kind", "_memory", "_plain_bytes", "_sealed")

    def __init__(self, kind: Kind, memory: memoryview) -> None:
        """Write to ``memory``, which may be longer than the object, and may have held another."""
        self._kind = kind
        self._memory = memory
        self._plain_bytes = 0
        self._sealed = False

    def write(self, data: bytes | memoryview) -> None:
        """Add ``data`` behind what is there.

        Raises:
            ValueError: The memory is too short, or the object was sealed already.
        """
        view, step, at = memoryview(data), self._kind.segment_bytes, self._plain_bytes
        end = at + len(view)
        if self._sealed or sealed_bytes(self._kind, end) > len(self._memory):
            raise ValueError("the buffer is sealed, or shorter than the sealed object")
        taken = 0
        while at < end:
            index, inside = divmod(at, step)
            count = min(step - inside, end - at)
            place = PREAMBLE_BYTES + at + index * TAG_BYTES
            self._memory[place : place + count] = view[taken : taken + count]
            at += count
            taken += count
        self._plain_bytes = end

    def seal(self, key: bytes, header: Header) -> memoryview:
        """Seal what was written, once, and return the sealed object: the start of the memory.

        Args:
            key: As for :func:`seal_into`.
            header: As for :func:`seal_into`; of the kind of this draft.

        Raises:
            ValueError: It was sealed already, the kind is another, or the key is not one.
        """
        if self._sealed or header.kind is not self._kind:
            raise ValueError("the buffer is sealed, or holds an object of another kind")
        self._sealed = True
        layout = Layout(self._kind.segment_bytes, self._plain_bytes)
        sealed = self._memory[: PREAMBLE_BYTES + layout.sealed_bytes]
        segment_key = _begin(key, header, sealed, os.urandom(SALT_BYTES))
        segment_key.seal_in_place(layout, sealed[PREAMBLE_BYTES:])
        return sealed


class Opener:
    """Opens one sealed object, whole or in ranges; may be shared by threads.

    Making one proves the header and the key, but not the length: a store can hide the end. Every
    segment that opens is what was sealed at that place. That nothing follows the last one is
    proven when the last one has been opened, by :meth:`verify_length` or otherwise; until then
    ``plain_bytes`` and ``segments`` are what the store claims.
    """

    __slots__ = ("_key", "_layout", "_name")

    def __init__(
        self, key: bytes, expected: Header, preamble: bytes | memoryview, sealed_length: int
    ) -> None:
        """Check what can be checked before a segment is there.

        Args:
            key: The session's key of the object's class.
            expected: What the caller is about to read, from an authenticated place.
            preamble: The first ``PREAMBLE_BYTES`` bytes of the object.
            sealed_length: Length of the whole object, as the store says.

        Raises:
            IntegrityError: The object is another one, or was altered, or no object has this
                length, or it was sealed under another key.
        """
        self._name = f"{expected.kind.name.lower()} {expected.name.hex()}"
        if len(preamble) != PREAMBLE_BYTES:
            raise self._broken("is cut short")
        encoded = expected.encode()
        if bytes(preamble[:HEADER_BYTES]) != encoded:
            raise self._broken("has another header than expected")
        self._layout = Layout.from_sealed(
            expected.kind.segment_bytes, sealed_length - PREAMBLE_BYTES
        )
        salt = bytes(preamble[HEADER_BYTES:_COMMITMENT_AT])
        self._key = SegmentKey.derive(key, salt, _CONTEXT + encoded)
        if not self._key.commits_to(preamble[_COMMITMENT_AT:]):
            raise self._broken("does not belong to this key")

    @property
    def plain_bytes(self) -> int:
        """Length of the plaintext; a claim until the last segment has been opened."""
        return self._layout.plain_bytes

    @property
    def segments(self) -> int:
        """Number of segments; a claim until the last one has been opened."""
        return self._layout.segments

    @property
    def sealed_bytes(self) -> int:
        """Length of the whole object, preamble included; what the store said."""
        return PREAMBLE_BYTES + self._layout.sealed_bytes

    def segment_span(self, index: int) -> tuple[int, int]:
        """Return offset and length of a sealed segment within the object.

        Raises:
            IntegrityError: There is no such segment.
        """
        length = self._layout.plain_length(index) + TAG_BYTES
        return PREAMBLE_BYTES + index * (self._layout.segment_bytes + TAG_BYTES), length

    def segments_for(self, plain_offset: int, length: int) -> range:
        """Return the numbers of the segments that hold a run of plaintext.

        Segment ``i`` holds the plaintext from ``i * kind.segment_bytes`` on.

        Raises:
            IntegrityError: The run is not inside the object.
        """
        return self._layout.holding(plain_offset, length)

    def open_segment_into(self, index: int, sealed: memoryview, into: memoryview) -> int:
        """Open a segment to the start of ``into``; return the length of its plaintext.

        Args:
            index: Number of the segment.
            sealed: Exactly the bytes of :meth:`segment_span`.
            into: At least as long as the plaintext; no memory of ``sealed``. Wiped on failure.

        Raises:
            IntegrityError: There is no such segment, or it was altered.
            ValueError: ``into`` is too short.
        """
        plain_length = self._layout.plain_length(index)
        if len(sealed) != plain_length + TAG_BYTES:
            raise self._broken("has a segment of a wrong length")
        if len(into) < plain_length:
            raise ValueError("the buffer is shorter than the segment")
        self._key.open_segment(index, sealed, into[:plain_length])
        return plain_length

    def verify_length(self, last_segment: bytes | memoryview) -> None:
        """Prove that the object is as long as the store said, from its last sealed segment.

        Raises:
            IntegrityError: It is not, or the segment was altered.
        """
        index = self._layout.segments - 1
        scratch = bytearray(self._layout.plain_length(index))
        self.open_segment_into(index, memoryview(last_segment), memoryview(scratch))

    def _broken(self, what: str) -> IntegrityError:
        return IntegrityError(
            f"{self._name} {what}",
            hint="Run 'drkeeper check --read-data' to see what else is damaged.",
        )


def open_sealed(key: bytes, expected: Header, sealed: bytes | bytearray | memoryview) -> bytes:
    """Return the plaintext of a whole object.

    Raises:
        IntegrityError: These are not the bytes that were sealed as ``expected``.
    """
    opener, view = _opener_of(key, expected, sealed)
    out = bytearray(opener.plain_bytes)
    _open_all(opener, view, memoryview(out))
    return bytes(out)


def open_sealed_into(
    key: bytes, expected: Header, sealed: bytes | bytearray | memoryview, into: memoryview
) -> int:
    """Write the plaintext of a whole object to the start of ``into``; return its length.

    On failure ``into`` may hold the segments before the broken one, never unauthenticated bytes.

    Raises:
        IntegrityError: These are not the bytes that were sealed as ``expected``.
        ValueError: ``into`` is too short.
    """
    opener, view = _opener_of(key, expected, sealed)
    if len(into) < opener.plain_bytes:
        raise ValueError("the buffer is shorter than the plaintext")
    _open_all(opener, view, into)
    return opener.plain_bytes


def _opener_of(
    key: bytes, expected: Header, sealed: bytes | bytearray | memoryview
) -> tuple[Opener, memoryview]:
    view = memoryview(sealed)
    return Opener(key, expected, view[:PREAMBLE_BYTES], len(view)), view


def _open_all(opener: Opener, view: memoryview, into: memoryview) -> None:
    written = 0
    for index in range(opener.segments):
        offset, length = opener.segment_span(index)
        written += opener.open_segment_into(index, view[offset : offset + length], into[written:])
