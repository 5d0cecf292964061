"""Recipients and identities that hold against quantum computers: X-Wing, as age uses it.

Source: https://c2sp.org/age, "The MLKEM768-X25519 … recipient type"; draft-ietf-hpke-pq-03;
https://filippo.io/hpke-pq.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from drkeeper.crypto import bech32
from drkeeper.crypto.age.header import WRAPPED_BYTES, Stanza, decode_base64, encode_base64
from drkeeper.errors import ConfigurationError, IntegrityError

SEED_BYTES: Final = 32
"""Length of an identity. Source: https://c2sp.org/age."""
PUBLIC_BYTES: Final = 1216
"""ML-KEM-768 encapsulation key (1184) and X25519 point (32). Source: draft-ietf-hpke-pq-03."""
ENC_BYTES: Final = 1120
"""ML-KEM-768 ciphertext (1088) and X25519 share (32). Source: draft-ietf-hpke-pq-03."""

_KIND: Final = "mlkem768x25519"
_INFO: Final = b"age-encryption.org/mlkem768x25519"
_RECIPIENT_PREFIX: Final = "age1pq"
_IDENTITY_PREFIX: Final = "age-secret-key-pq-"
_MLKEM_SEED_BYTES: Final = 64
_MLKEM_PUBLIC_BYTES: Final = 1184
_SHARE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Recipient:
    """The public half of an :class:`Identity`: files are encrypted to it.

    Attributes:
        raw: ML-KEM-768 encapsulation key, then X25519 point.
    """

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.raw) != PUBLIC_BYTES:
            raise ConfigurationError("recipient has a wrong length")
        try:
            self._public_key()
        except ValueError:
            raise ConfigurationError("recipient is not a valid public key") from None

    @classmethod
    def parse(cls, text: str) -> "Recipient":
        """Read ``age1pq1…``.

        Raises:
            ConfigurationError: The text is something else, or was mistyped.
        """
        prefix, raw = bech32.decode(text)
        if prefix != _RECIPIENT_PREFIX:
            raise ConfigurationError(
                "key is not a post-quantum age recipient",
                hint="Use a recipient that starts with age1pq1.",
            )
        return cls(raw)

    def __str__(self) -> str:
        return bech32.encode(_RECIPIENT_PREFIX, self.raw)

    def __repr__(self) -> str:
        return f"Recipient({str(self)[:16]}…)"

    def wrap(self, file_key: bytes) -> Stanza:
        """Return a stanza from which only the identity gets the file key."""
        sealed = _suite().encrypt(file_key, self._public_key(), info=_INFO)
        return Stanza(_KIND, (encode_base64(sealed[:ENC_BYTES]),), sealed[ENC_BYTES:])

    def _public_key(self) -> MLKEM768X25519PublicKey:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(self.raw[_MLKEM_PUBLIC_BYTES:]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A secret that opens files encrypted to its recipient.

    Attributes:
        seed: 32 random bytes; everything else follows from them.
        recipient: The public half.
    """

    seed: bytes = field(repr=False)
    recipient: Recipient = field(init=False)
    _private: MLKEM768X25519PrivateKey = field(init=False, repr=False)
    _x25519: X25519PrivateKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise ConfigurationError("an identity has 32 bytes")
        # Source: draft-ietf-hpke-pq-03 section 4 (expanded decapsulation key): SHAKE256 of the seed.
        expanded = hashlib.shake_256(self.seed).digest(_MLKEM_SEED_BYTES + _SHARE_BYTES)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        # Only a frozen instance's own __init__ may complete it.
        object.__setattr__(self, "_private", MLKEM768X25519PrivateKey(mlkem, x25519))
        object.__setattr__(self, "_x25519", x25519)
        object.__setattr__(self, "recipient", Recipient(public))

    @classmethod
    def generate(cls) -> "Identity":
        """Draw a new identity."""
        return cls(os.urandom(SEED_BYTES))

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """Read ``AGE-SECRET-KEY-PQ-1…``.

        Raises:
            ConfigurationError: It is something else; the message does not quote it.
        """
        prefix, seed = bech32.decode(text)
        if prefix != _IDENTITY_PREFIX:
            raise ConfigurationError(
                "key is not a post-quantum age identity",
                hint="Use an identity that starts with AGE-SECRET-KEY-PQ-1.",
            )
        return cls(seed)

    def secret_text(self) -> str:
        """Return the identity for a protected file; never log or print it."""
        return bech32.encode(_IDENTITY_PREFIX, self.seed).upper()

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key, or ``None`` when no stanza is for this identity.

        Raises:
            IntegrityError: A stanza of this type is malformed, whoever it is for.
        """
        # All are checked before one is tried: what is accepted must not depend on who reads.
        sealed = [_checked(stanza) for stanza in stanzas if stanza.kind == _KIND]
        for candidate in sealed:
            self._reject_low_order(candidate)
        for candidate in sealed:
            try:
                return _suite().decrypt(candidate, self._private, info=_INFO)
            except InvalidTag:
                continue
        return None

    def _reject_low_order(self, sealed: bytes) -> None:
        """Refuse a share that gives everyone the same X25519 secret.

        Raises:
            IntegrityError: It is one.

        Source: RFC 7748 section 6.1.
        """
        share = sealed[ENC_BYTES - _SHARE_BYTES : ENC_BYTES]
        try:
            self._x25519.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise IntegrityError("age header has a stanza with a low-order share") from None


def _suite() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _checked(stanza: Stanza) -> bytes:
    """Return ``enc || ciphertext`` of a stanza of this type.

    The length of the body is fixed so that a stanza cannot open under two keys unnoticed.

    Raises:
        IntegrityError: The stanza is malformed.
    """
    if len(stanza.arguments) != 1:
        raise IntegrityError("age header has a hybrid stanza with a wrong number of arguments")
    enc = decode_base64(stanza.arguments[0].encode())
    if len(enc) != ENC_BYTES or len(stanza.body) != WRAPPED_BYTES:
        raise IntegrityError("age header has a hybrid stanza of a wrong length")
    return enc + stanza.body
