"""Ed25519 signatures over ``domain || payload``.

A domain ends with its only NUL byte, so no signature made for one purpose holds for another.

Source: RFC 8032; docs/format.md sections 2 and 3.
"""

import os
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from drkeeper.crypto import bech32
from drkeeper.errors import ConfigurationError, IntegrityError

KEY_BYTES: Final = 32
"""Length of a seed and of a public key. Source: RFC 8032 section 5.1."""
SIGNATURE_BYTES: Final = 64
"""Source: RFC 8032 section 5.1."""
JOURNAL_DOMAIN: Final = b"drkeeper/v1/journal\0"
"""Source: docs/format.md section 3."""
RECORD_DOMAIN: Final = b"drkeeper/v1/record\0"
"""Source: docs/format.md section 11."""

_PUBLIC_PREFIX: Final = "drksign"
_PRIVATE_PREFIX: Final = "drk-signing-key-"
_HEX_LENGTH: Final = 2 * KEY_BYTES


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """The public half of a :class:`SigningKey`; says who signed.

    Attributes:
        raw: 32 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_BYTES:
            raise ConfigurationError("a signer's key has 32 bytes")

    @classmethod
    def parse(cls, text: str) -> "VerifyKey":
        """Read 64 lower-case hex digits, or ``drksign1…``.

        Raises:
            ConfigurationError: The text is neither.
        """
        if len(text) == _HEX_LENGTH and not text.strip("0123456789abcdef"):
            return cls(bytes.fromhex(text))
        prefix, raw = bech32.decode(text)
        if prefix != _PUBLIC_PREFIX:
            raise ConfigurationError("key is not a signer's public key")
        return cls(raw)

    @property
    def hex(self) -> str:
        """The key as the journal writes it."""
        return self.raw.hex()

    def __str__(self) -> str:
        return bech32.encode(_PUBLIC_PREFIX, self.raw)

    def verify(
        self, domain: bytes, payload: bytes | memoryview, signature: bytes | memoryview
    ) -> None:
        """Return when this key signed ``payload`` for ``domain``.

        Raises:
            IntegrityError: It did not, or nobody can tell.
        """
        message = _message(domain, payload)  # outside: a wrong domain is no wrong signature
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(bytes(signature), message)
        except (InvalidSignature, ValueError):
            raise IntegrityError("signature is not by this key", signer=self.hex) from None

    def verify_text(self, text: str, signature: bytes) -> None:
        """Return when this key signed ``text``, as :meth:`SigningKey.sign_text` does.

        Raises:
            IntegrityError: It did not, or nobody can tell.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, _plain_text(text))
        except (InvalidSignature, ValueError):
            raise IntegrityError("signature is not by this key", signer=self.hex) from None


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """Signs; whoever has it can write in its owner's name.

    Attributes:
        seed: 32 random bytes.
        verify_key: What others need to check the signatures.
    """

    seed: bytes = field(repr=False)
    verify_key: VerifyKey = field(init=False)
    _key: Ed25519PrivateKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != KEY_BYTES:
            raise ConfigurationError("a signing key has 32 bytes")
        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        # Only a frozen instance's own __init__ may complete it.
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "verify_key", VerifyKey(key.public_key().public_bytes_raw()))

    @classmethod
    def generate(cls) -> "SigningKey":
        """Draw a new key."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """Read ``DRK-SIGNING-KEY-1…``.

        Raises:
            ConfigurationError: It is something else; the message does not quote it.
        """
        prefix, seed = bech32.decode(text)
        if prefix != _PRIVATE_PREFIX:
            raise ConfigurationError("key is not a signing key")
        return cls(seed)

    def secret_text(self) -> str:
        """Return the key for a protected file; never log or print it."""
        return bech32.encode(_PRIVATE_PREFIX, self.seed).upper()

    def sign(self, domain: bytes, payload: bytes | memoryview) -> bytes:
        """Return the 64-byte signature over ``domain || payload``."""
        return self._key.sign(_message(domain, payload))

    def sign_text(self, text: str) -> bytes:
        """Return the 64-byte signature over a text without a domain, for forms that know none.

        Such a text holds no NUL byte and every domain does, so neither signature holds for the other.
        """
        return self._key.sign(_plain_text(text))


def _message(domain: bytes, payload: bytes | memoryview) -> bytes:
    """Join domain and payload.

    Raises:
        ValueError: Another domain could begin with this one; a defect of the caller.
    """
    if domain.find(b"\0") != len(domain) - 1 or len(domain) < len(b"x\0"):
        raise ValueError("a signature domain ends with its only NUL byte")
    return b"".join((domain, payload))


def _plain_text(text: str) -> bytes:
    """Spell a text that is signed without a domain.

    Raises:
        ValueError: It holds a NUL byte, as only domains may, or characters that UTF-8 lacks.
    """
    if "\0" in text:
        raise ValueError("a text that is signed without a domain holds no NUL byte")
    return text.encode()
