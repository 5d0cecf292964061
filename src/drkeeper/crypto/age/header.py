"""The textual header of an age file: who can open it.

A header is parsed before it can be authenticated, since the key that authenticates it is in it.
So the grammar is strict, every length is bounded first, and no encoding has two spellings.

Source: https://c2sp.org/age, "Header".
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from drkeeper.errors import IntegrityError

FILE_KEY_BYTES: Final = 16
"""Source: https://c2sp.org/age, "File key"."""
WRAPPED_BYTES: Final = FILE_KEY_BYTES + 16
"""A file key and an AEAD tag: the body of every native stanza."""
MAX_STANZAS: Final = 64
"""Recipients one file may have; each costs its opener a decapsulation. Source: docs/adr/0010."""
MAX_HEADER_BYTES: Final = 128 * 1024
"""Room for ``MAX_STANZAS`` hybrid stanzas of 1.6 KB. Source: docs/adr/0010."""

_VERSION_LINE: Final = b"age-encryption.org/v1"
_STANZA_MARK: Final = b"-> "
_END_MARK: Final = b"---"
_COLUMNS: Final = 64
_COLUMN_BYTES: Final = 48
_MAC_BYTES: Final = 32
_VISIBLE: Final = range(0x21, 0x7F)


@dataclass(frozen=True, slots=True)
class Stanza:
    """One way to the file key.

    Attributes:
        kind: The recipient type.
        arguments: What follows it on the line; visible ASCII.
        body: Usually the wrapped file key.
    """

    kind: str
    arguments: tuple[str, ...]
    body: bytes

    def encode(self) -> bytes:
        """Return the stanza's lines."""
        lines = [_STANZA_MARK + " ".join((self.kind, *self.arguments)).encode()]
        # The last line is short, if need be empty: it ends the stanza.
        lines += [
            encode_base64(self.body[at : at + _COLUMN_BYTES]).encode()
            for at in range(0, len(self.body) + 1, _COLUMN_BYTES)
        ]
        return b"".join(line + b"\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header, not yet authenticated.

    Attributes:
        stanzas: At least one.
        mac: What the file says its header's MAC is.
        authenticated: The bytes the MAC is over.
    """

    stanzas: tuple[Stanza, ...]
    mac: bytes
    authenticated: bytes

    def verify(self, file_key: bytes) -> None:
        """Check the MAC, in constant time.

        Raises:
            IntegrityError: The header was not made by one who had the file key.
        """
        if not hmac.compare_digest(_mac(file_key, self.authenticated), self.mac):
            raise IntegrityError("age header authentication failed")


def write(stanzas: list[Stanza], file_key: bytes) -> bytes:
    """Return an authenticated header."""
    lines = [_VERSION_LINE + b"\n", *(stanza.encode() for stanza in stanzas), _END_MARK]
    authenticated = b"".join(lines)
    return authenticated + f" {encode_base64(_mac(file_key, authenticated))}\n".encode()


def parse(file: bytes) -> tuple[Header, int]:
    """Return the header of an age file, and where the payload starts.

    Raises:
        IntegrityError: The file does not start with a header of this version, or it is too long.
    """
    reader = _Lines(file[:MAX_HEADER_BYTES])
    if reader.take() != _VERSION_LINE:
        raise IntegrityError("age header has another version, or this is no age file")
    stanzas: list[Stanza] = []
    while (line := reader.take()).startswith(_STANZA_MARK):
        if len(stanzas) == MAX_STANZAS:
            raise IntegrityError("age header names too many recipients")
        stanzas.append(_stanza(line, reader))
    if not stanzas or not line.startswith(_END_MARK + b" "):
        raise IntegrityError("age header is malformed")
    mac = decode_base64(line[len(_END_MARK) + 1 :])
    if len(mac) != _MAC_BYTES:
        raise IntegrityError("age header has a MAC of a wrong length")
    authenticated = file[: reader.position - len(line) - 1 + len(_END_MARK)]
    return Header(tuple(stanzas), mac, authenticated), reader.position


def encode_base64(data: bytes) -> str:
    """Return canonical Base64 without padding."""
    return base64.b64encode(data).rstrip(b"=").decode()


def decode_base64(text: bytes) -> bytes:
    """Decode canonical Base64 without padding.

    Raises:
        IntegrityError: It is padded, not canonical, or no Base64.
    """
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise IntegrityError("age header is not Base64 where it must be") from None
    if encode_base64(data).encode() != text:
        raise IntegrityError("age header is not canonical Base64")
    return data


class _Lines:
    """Takes lines off the front of a file, each with its line feed."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self) -> bytes:
        """Return the next line without its line feed.

        Raises:
            IntegrityError: There is none within the limit.
        """
        end = self._data.find(b"\n", self.position)
        if end < 0:
            raise IntegrityError("age header does not end")
        line = self._data[self.position : end]
        self.position = end + 1
        return line


def _stanza(line: bytes, reader: _Lines) -> Stanza:
    words = line[len(_STANZA_MARK) :].split(b" ")
    if not all(word and all(byte in _VISIBLE for byte in word) for word in words):
        raise IntegrityError("age header has a malformed stanza")
    kind, *arguments = (word.decode("ascii") for word in words)
    parts: list[bytes] = []
    while len(part := reader.take()) == _COLUMNS:
        parts.append(decode_base64(part))
    if len(part) > _COLUMNS:
        raise IntegrityError("age header has a line that is too long")
    parts.append(decode_base64(part))
    return Stanza(kind, tuple(arguments), b"".join(parts))


def _mac(file_key: bytes, authenticated: bytes) -> bytes:
    key = HKDF(SHA256(), length=_MAC_BYTES, salt=None, info=b"header").derive(file_key)
    return hmac.digest(key, authenticated, "sha256")
