"""File keys under a passphrase, stretched by scrypt.

Source: https://c2sp.org/age, "The scrypt recipient type"; RFC 7914.
"""

import os
import re
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from drkeeper.crypto.age.header import WRAPPED_BYTES, Stanza, decode_base64, encode_base64
from drkeeper.errors import ConfigurationError, IntegrityError

KIND: Final = "scrypt"
"""First word of the stanza. Source: https://c2sp.org/age."""
DEFAULT_WORK_FACTOR: Final = 18
"""256 MiB and about a second; age's own default. Source: https://c2sp.org/age, example."""
MAX_WORK_FACTOR: Final = 20
"""1 GiB: a hostile file may cost no more. Source: docs/adr/0010."""

_SALT_LABEL: Final = b"age-encryption.org/v1/scrypt"
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32
_BLOCK_SIZE: Final = 8
_PARALLELISM: Final = 1
_NONCE: Final = bytes(12)
# The limit on digits keeps int() from working on a hostile megabyte.
_WORK_FACTOR: Final = re.compile(r"[1-9][0-9]{0,3}")


def wrap(file_key: bytes, passphrase: str, work_factor: int) -> Stanza:
    """Return a stanza from which only the passphrase gets the file key.

    Raises:
        ConfigurationError: The passphrase is empty, or no reader would accept the work factor.
    """
    if not passphrase:
        raise ConfigurationError("passphrase is empty")
    if not 1 <= work_factor <= MAX_WORK_FACTOR:
        raise ConfigurationError(
            "scrypt work factor is out of range",
            hint=f"Choose a work factor from 1 to {MAX_WORK_FACTOR}.",
        )
    salt = os.urandom(_SALT_BYTES)
    body = _cipher(passphrase, salt, work_factor).encrypt(_NONCE, file_key, None)
    return Stanza(KIND, (encode_base64(salt), str(work_factor)), body)


def unwrap(stanza: Stanza, passphrase: str) -> bytes | None:
    """Return the file key, or ``None`` when the passphrase is wrong.

    Raises:
        IntegrityError: The stanza is malformed, or asks for more work than is allowed.
        ConfigurationError: This machine has not the memory that the file asks for.
    """
    match stanza.arguments:
        case (salt_text, factor_text) if _WORK_FACTOR.fullmatch(factor_text):
            salt, work_factor = decode_base64(salt_text.encode()), int(factor_text)
        case _:
            raise IntegrityError("age header has a malformed scrypt stanza")
    if len(salt) != _SALT_BYTES or len(stanza.body) != WRAPPED_BYTES:
        raise IntegrityError("age header has a scrypt stanza of a wrong length")
    if work_factor > MAX_WORK_FACTOR:
        raise IntegrityError(
            "age header asks for more scrypt work than is allowed", work_factor=work_factor
        )
    try:
        return _cipher(passphrase, salt, work_factor).decrypt(_NONCE, stanza.body, None)
    except InvalidTag:
        return None


def _cipher(passphrase: str, salt: bytes, work_factor: int) -> ChaCha20Poly1305:
    try:
        scrypt = Scrypt(
            salt=_SALT_LABEL + salt,
            length=_KEY_BYTES,
            n=1 << work_factor,
            r=_BLOCK_SIZE,
            p=_PARALLELISM,
        )
        # Bytes that are no UTF-8 reach Python as surrogates, and go out as the same bytes.
        return ChaCha20Poly1305(scrypt.derive(passphrase.encode(errors="surrogateescape")))
    except MemoryError:
        raise ConfigurationError(
            "too little memory to stretch the passphrase",
            hint="Free memory, or protect the file with a lower work factor.",
            work_factor=work_factor,
        ) from None
