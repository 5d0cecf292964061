"""The body of an age file: ChaCha20-Poly1305 in chunks of 64 KiB, the last one marked.

Source: https://c2sp.org/age, "Payload".
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drkeeper.errors import IntegrityError

_CHUNK_BYTES: Final = 64 * 1024
_TAG_BYTES: Final = 16
_NONCE_BYTES: Final = 16
_COUNTER_BYTES: Final = 11
_KEY_BYTES: Final = 32


def encrypt(file_key: bytes, plain: bytes) -> bytes:
    """Return the payload of a new file; the file key may not be used for another."""
    nonce = os.urandom(_NONCE_BYTES)
    cipher = _cipher(file_key, nonce)
    last = max(0, len(plain) - 1) // _CHUNK_BYTES
    sealed = [
        cipher.encrypt(
            _chunk_nonce(index, last=index == last),
            plain[index * _CHUNK_BYTES : (index + 1) * _CHUNK_BYTES],
            None,
        )
        for index in range(last + 1)
    ]
    return b"".join([nonce, *sealed])


def decrypt(file_key: bytes, payload: bytes) -> bytes:
    """Return the plaintext; all of it or none.

    Raises:
        IntegrityError: The payload was altered, cut short or extended.
    """
    nonce, sealed = payload[:_NONCE_BYTES], payload[_NONCE_BYTES:]
    if len(nonce) != _NONCE_BYTES:
        raise IntegrityError("age header is not followed by a nonce")
    if not sealed:
        raise IntegrityError("age payload is cut short")
    cipher = _cipher(file_key, nonce)
    step = _CHUNK_BYTES + _TAG_BYTES
    last = (len(sealed) - 1) // step
    chunks: list[bytes] = []
    for index in range(last + 1):
        chunk = sealed[index * step : (index + 1) * step]
        try:
            chunks.append(cipher.decrypt(_chunk_nonce(index, last=index == last), chunk, None))
        except InvalidTag:
            raise IntegrityError("age payload was altered") from None
    # An empty last chunk after others would be a second spelling of the same plaintext.
    if last and not chunks[-1]:
        raise IntegrityError("age payload ends with an empty chunk")
    return b"".join(chunks)


def _cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    hkdf = HKDF(SHA256(), length=_KEY_BYTES, salt=nonce, info=b"payload")
    return ChaCha20Poly1305(hkdf.derive(file_key))


def _chunk_nonce(index: int, *, last: bool) -> bytes:
    return index.to_bytes(_COUNTER_BYTES, "big") + bytes([last])
