"""BLAKE3: names chunks, finds moved files, lists objects, derives keys."""

import hmac
from typing import Protocol

from blake3 import blake3

DIGEST_BYTES = 32
"""Length of every digest and key here. Source: docs/format.md, introduction."""


class Hasher(Protocol):
    """A digest under construction."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Add the next bytes of the stream."""
        ...

    def digest(self) -> bytes:
        """Return the digest of everything added so far, 32 bytes."""
        ...


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """Return the BLAKE3 digest, 32 bytes."""
    return blake3(data).digest()


def keyed(key: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """Return the BLAKE3 digest keyed with 32 bytes: it means nothing to who lacks the key."""
    return blake3(data, key=key).digest()


def derive_key(context: str, material: bytes) -> bytes:
    """Return 32 bytes for one purpose.

    Args:
        context: A constant, globally unique: application, date, purpose.
        material: The secret; need not be uniform.

    Source: BLAKE3 paper, section 2.3, mode ``derive_key``.
    """
    return blake3(material, derive_key_context=context).digest()


def hasher() -> Hasher:
    """Return a hasher whose result equals :func:`digest` of the whole stream."""
    return blake3()


def keyed_hasher(key: bytes) -> Hasher:
    """Return a hasher whose result equals :func:`keyed` of the whole stream."""
    return blake3(key=key)


def equal(one: bytes, other: bytes) -> bool:
    """Compare in constant time; for keyed digests and everything derived from a secret."""
    return hmac.compare_digest(one, other)
