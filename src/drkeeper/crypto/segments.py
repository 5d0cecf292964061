"""C2SP chunked-encryption with the segment size as a parameter.

Nothing here knows what an object of the repository is; :mod:`drkeeper.crypto.sealing` does.
Arithmetic about segments lives in :class:`Layout`, everything with a key in :class:`SegmentKey`.

Source: https://c2sp.org/chunked-encryption, docs/format.md section 4.
"""

import hmac
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from drkeeper.errors import IntegrityError

KEY_BYTES = 32
"""Length of an input key and of an AES-256 key. Source: c2sp.org/chunked-encryption."""
SALT_BYTES = 24
"""Source: c2sp.org/chunked-encryption, "Key derivation"."""
COMMITMENT_BYTES = 32
"""Source: c2sp.org/chunked-encryption, "Key derivation"."""
TAG_BYTES = 16
"""What AES-GCM adds to every segment. Source: RFC 5116 section 5.2."""
MAX_SEGMENTS = 1 << 32
"""The least a limit may be. Source: c2sp.org/chunked-encryption, "Message chunking"."""

_NONCE_BYTES = 12
_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the segments of a message of known length are.

    The last segment is always shorter than the others, and empty when the length is a multiple,
    so there is exactly one way to cut a message, and a cut message never looks whole.

    Attributes:
        segment_bytes: Plaintext length of every segment but the last.
        plain_bytes: Plaintext length of the message.
    """

    segment_bytes: int
    plain_bytes: int

    @classmethod
    def from_sealed(cls, segment_bytes: int, sealed_bytes: int) -> "Layout":
        """Return the only layout whose segments fill ``sealed_bytes`` bytes.

        Raises:
            IntegrityError: No message has that length.
        """
        full, rest = divmod(sealed_bytes, segment_bytes + TAG_BYTES)
        if sealed_bytes < TAG_BYTES or rest < TAG_BYTES:
            raise IntegrityError("sealed object has a length that no writer produces")
        if full >= MAX_SEGMENTS:
            raise IntegrityError("sealed object has more segments than are allowed")
        return cls(segment_bytes, full * segment_bytes + rest - TAG_BYTES)

    @property
    def segments(self) -> int:
        """Number of segments, at least one."""
        return self.plain_bytes // self.segment_bytes + 1

    @property
    def sealed_bytes(self) -> int:
        """Length of all segments together, tags included."""
        return self.plain_bytes + self.segments * TAG_BYTES

    def plain_length(self, index: int) -> int:
        """Return the plaintext length of a segment.

        Raises:
            IntegrityError: There is no such segment.
        """
        last = self.plain_bytes // self.segment_bytes
        if not 0 <= index <= last:
            raise IntegrityError("sealed object has no segment of that number", segment=index)
        return self.segment_bytes if index < last else self.plain_bytes % self.segment_bytes

    def holding(self, offset: int, length: int) -> range:
        """Return the numbers of the segments that hold a run of plaintext.

        Raises:
            IntegrityError: The run is not inside the message.
        """
        if offset < 0 or length < 0 or offset + length > self.plain_bytes:
            raise IntegrityError(
                "a range lies outside its sealed object", offset=offset, length=length
            )
        if length == 0:
            return range(0)
        return range(offset // self.segment_bytes, (offset + length - 1) // self.segment_bytes + 1)


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """The key, base nonce and commitment of one message; may be shared by threads.

    Attributes:
        commitment: Binds the ciphertext to one key; stored in the open.
    """

    commitment: bytes
    _cipher: AESGCM = field(repr=False)
    _base_nonce: int = field(repr=False)

    @classmethod
    def derive(cls, key: bytes, salt: bytes, context: bytes) -> "SegmentKey":
        """Derive from an input key, uniformly random, and a salt never used with it before.

        Raises:
            ValueError: The key or the salt has a wrong length.

        Source: c2sp.org/chunked-encryption, "Key derivation", with SHA-512 and AES-256-GCM.
        """
        if len(key) != KEY_BYTES or len(salt) != SALT_BYTES:
            raise ValueError("a sealing key has 32 bytes, a salt 24")
        okm = HKDFExpand(
            SHA512(), KEY_BYTES + _NONCE_BYTES + COMMITMENT_BYTES, _INFO + salt + context
        ).derive(key)
        return cls(
            commitment=okm[KEY_BYTES + _NONCE_BYTES :],
            _cipher=AESGCM(okm[:KEY_BYTES]),
            _base_nonce=int.from_bytes(okm[KEY_BYTES : KEY_BYTES + _NONCE_BYTES], "big"),
        )

    def commits_to(self, commitment: bytes | memoryview) -> bool:
        """Compare with a commitment from outside, in constant time."""
        return hmac.compare_digest(self.commitment, bytes(commitment))

    def seal_segments(self, layout: Layout, plain: memoryview, out: memoryview) -> None:
        """Seal a whole message into ``out``, which has exactly ``layout.sealed_bytes`` bytes.

        Each segment is one native call that does not hold the interpreter lock.
        """
        step = layout.segment_bytes
        for index in range(layout.segments):
            start = index * step
            segment = plain[start : start + step]
            at = start + index * TAG_BYTES
            self._cipher.encrypt_into(
                self._nonce(index), segment, None, out[at : at + len(segment) + TAG_BYTES]
            )

    def seal_in_place(self, layout: Layout, memory: memoryview) -> None:
        """Seal a whole message whose segments lie where their sealed form will be.

        Args:
            layout: Of the message.
            memory: Exactly ``layout.sealed_bytes`` bytes: each segment, and ``TAG_BYTES`` of room.
        """
        # The library promises nothing about input and output that share memory, and where they
        # overlap by part it has made wrong ciphertexts with right tags.
        # See github.com/pyca/cryptography, pull request 15656.
        scratch = memoryview(bytearray(min(layout.segment_bytes, len(memory))))
        step = layout.segment_bytes + TAG_BYTES
        for index in range(layout.segments):
            at = index * step
            length = layout.plain_length(index)
            scratch[:length] = memory[at : at + length]
            self._cipher.encrypt_into(
                self._nonce(index), scratch[:length], None, memory[at : at + length + TAG_BYTES]
            )

    def open_segment(self, index: int, sealed: memoryview, into: memoryview) -> None:
        """Open one segment into other memory, ``TAG_BYTES`` shorter than ``sealed``.

        The cipher writes before it has checked: on failure ``into`` is wiped, so that nothing
        unauthenticated stays behind for a caller that swallows the error.

        Raises:
            IntegrityError: These are not the bytes that were sealed as this segment.
        """
        try:
            self._cipher.decrypt_into(self._nonce(index), sealed, None, into)
        except InvalidTag:
            into[:] = bytes(len(into))
            raise IntegrityError("sealed object was altered", segment=index) from None

    def _nonce(self, index: int) -> bytes:
        """Return base nonce XOR segment number, as wide as the base nonce."""
        return (self._base_nonce ^ index).to_bytes(_NONCE_BYTES, "big")
