"""Whole age files: encrypt and decrypt, for recipients or under a passphrase.

A tampered file is an ``IntegrityError``; a sound one that is not for the reader is a
``KeyNotFoundError``. Whoever has a recipient can write a file for it: age does not say who did.

Source: https://c2sp.org/age.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from drkeeper.crypto.age import armor, header, passphrase as scrypt, payload
from drkeeper.crypto.age.header import FILE_KEY_BYTES, MAX_STANZAS, Header, Stanza
from drkeeper.crypto.age.hybrid import Recipient
from drkeeper.crypto.age.passphrase import DEFAULT_WORK_FACTOR
from drkeeper.errors import ConfigurationError, IntegrityError, KeyNotFoundError


class Unwraps(Protocol):
    """What decryption needs of an identity."""

    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Return the file key, or ``None`` when no stanza is for this identity.

        Raises:
            IntegrityError: A stanza of the identity's type is malformed.
        """
        ...


def encrypt(plain: bytes, recipients: Iterable[Recipient]) -> bytes:
    """Return a binary age file that each of the recipients can open alone.

    Raises:
        ConfigurationError: There are no recipients, or more than a reader accepts.
    """
    chosen = list(recipients)
    if not 1 <= len(chosen) <= MAX_STANZAS:
        raise ConfigurationError(
            "an age file needs recipients",
            hint=f"Name at least one and at most {MAX_STANZAS} recipients.",
        )
    file_key = os.urandom(FILE_KEY_BYTES)
    stanzas = [recipient.wrap(file_key) for recipient in chosen]
    return header.write(stanzas, file_key) + payload.encrypt(file_key, plain)


def decrypt(file: bytes, identities: Sequence[Unwraps]) -> bytes:
    """Return the plaintext of a binary or armored age file.

    Raises:
        KeyNotFoundError: It is for none of these identities.
        IntegrityError: It is malformed or was altered.
    """

    def file_key_in(stanzas: Sequence[Stanza]) -> bytes | None:
        found = (identity.unwrap(stanzas) for identity in identities)
        return next((file_key for file_key in found if file_key is not None), None)

    return _opened(file, file_key_in, "no identity at hand opens this file")


def encrypt_with_passphrase(
    plain: bytes, passphrase: str, *, work_factor: int = DEFAULT_WORK_FACTOR
) -> bytes:
    """Return a binary age file that opens with a passphrase.

    Args:
        plain: Usually an identity.
        passphrase: Used as UTF-8, unchanged.
        work_factor: Base-two logarithm of scrypt's N; memory is 1 KiB times N.

    Raises:
        ConfigurationError: The passphrase is empty, or the work factor out of range.
    """
    file_key = os.urandom(FILE_KEY_BYTES)
    stanza = scrypt.wrap(file_key, passphrase, work_factor)
    return header.write([stanza], file_key) + payload.encrypt(file_key, plain)


def decrypt_with_passphrase(file: bytes, passphrase: str) -> bytes:
    """Return the plaintext of a binary or armored age file that a passphrase protects.

    Raises:
        KeyNotFoundError: The passphrase is wrong, or the file has none.
        IntegrityError: The file is malformed, was altered, or asks for too much work.
        ConfigurationError: This machine has not the memory that the file asks for.
    """

    def file_key_in(stanzas: Sequence[Stanza]) -> bytes | None:
        if stanzas[0].kind != scrypt.KIND:
            return None
        return scrypt.unwrap(stanzas[0], passphrase)

    return _opened(file, file_key_in, "passphrase is wrong, or this file has none")


def is_passphrase_file(file: bytes) -> bool:
    """Tell whether ``file`` is an age file under a passphrase; ``False`` for anything else."""
    try:
        parsed, _, _ = _parsed(file)
    except IntegrityError:
        return False
    return parsed.stanzas[0].kind == scrypt.KIND


def _opened(
    file: bytes, file_key_in: Callable[[Sequence[Stanza]], bytes | None], refusal: str
) -> bytes:
    """Unwrap, authenticate the header, then decrypt: in this order and no other.

    Raises:
        KeyNotFoundError: There is no file key for the reader.
    """
    parsed, binary, start = _parsed(file)
    file_key = file_key_in(parsed.stanzas)
    if file_key is None:
        raise KeyNotFoundError(refusal)
    parsed.verify(file_key)
    return payload.decrypt(file_key, binary[start:])


def _parsed(file: bytes) -> tuple[Header, bytes, int]:
    """Return header, binary form, and where in it the payload starts.

    Raises:
        IntegrityError: There is no sound header.
    """
    binary = armor.decode(file) if armor.is_armored(file) else file
    parsed, start = header.parse(binary)
    # A passphrase vouches for who wrote the file; another stanza would let someone else in.
    if len(parsed.stanzas) > 1 and any(stanza.kind == scrypt.KIND for stanza in parsed.stanzas):
        raise IntegrityError("age header mixes a passphrase with other recipients")
    return parsed, binary, start
