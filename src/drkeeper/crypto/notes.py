"""Signed notes and checkpoints: text that people can read and machines can verify.

A note is a text, an empty line, and signatures; a checkpoint is a note whose text names a log, its
size and the root of its Merkle tree. Nothing of a note is parsed further before a known key has been
found to sign it.

A note is signed without a domain before it, as the specification asks. It still cannot pass for a
signature of another purpose: those begin with a domain that ends with a NUL byte, which no note may
hold.

Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from drkeeper.crypto.merkle import HASH_BYTES
from drkeeper.crypto.signing import SigningKey, VerifyKey
from drkeeper.errors import ConfigurationError, IntegrityError

_ED25519: Final = b"\x01"
"""Signature type. Source: c2sp.org/signed-note, "Signature types"."""
_ID_BYTES: Final = 4
"""Source: c2sp.org/signed-note, "Format"."""
MOST_BYTES: Final = 1 << 20
"""Longest note that is looked at. Source: ours; checkpoints have some 200 bytes."""
MOST_SIGNATURES: Final = 64
"""Source: ours; c2sp.org/signed-note asks for at least 16."""

_DASH: Final = "\N{EM DASH} "
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME: Final = re.compile(r"[^\s+]+")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_KEY: Final = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", re.ASCII)
_LEAST_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key under the name that its notes bear.

    Attributes:
        name: Name of the key.
        key: The key.
    """

    name: str
    key: VerifyKey

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or _CONTROL.search(self.name):
            raise ConfigurationError("name of a note's key holds blanks or a plus sign")

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read ``name+id+key``, as other tools for such notes write it.

        Raises:
            ConfigurationError: The text is something else, or does not agree with itself.
        """
        match = _KEY.fullmatch(text)
        raw = _decoded(match[3]) if match else None
        if match is None or raw is None or raw[:1] != _ED25519:
            raise ConfigurationError("key of a note is not an Ed25519 key as name+id+key")
        verifier = cls(match[1], VerifyKey(raw[1:]))
        if verifier.id.hex() != match[2]:
            raise ConfigurationError("key of a note does not have the id it claims")
        return verifier

    @property
    def id(self) -> bytes:
        """Which key of this name; an abbreviation, not a proof."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key.raw).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_encoded(_ED25519 + self.key.raw)}"


def sign_note(text: str, name: str, key: SigningKey) -> str:
    """Return ``text`` as a note, signed under ``name``.

    Raises:
        ValueError: No note may hold such a text; a defect of the caller.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ValueError("the text of a note has whole lines and no control characters")
    verifier = Verifier(name, key.verify_key)
    signature = _encoded(verifier.id + key.sign_text(text))
    return f"{text}\n{_DASH}{name} {signature}\n"


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note that somebody known has signed.

    Attributes:
        text: What was signed.
        signers: The known keys that did, in the order of their signatures.
    """

    text: str
    signers: tuple[Verifier, ...]


def open_note(note: str, known: Sequence[Verifier]) -> OpenedNote:
    """Return what a note says, once a known key has been found to sign it.

    Raises:
        IntegrityError: It is no note, no known key has signed it, or a known key's signature is
            wrong.
    """
    text, signatures = _parts(note)
    by_id = {(verifier.name, verifier.id): verifier for verifier in known}
    signers: list[Verifier] = []
    for line in signatures:
        name, key_id, signature = _signature(line)
        verifier = by_id.get((name, key_id))
        if verifier is None:
            continue
        verifier.key.verify_text(text, signature)
        if verifier not in signers:
            signers.append(verifier)
    if not signers:
        raise IntegrityError("note is not signed by a known key")
    return OpenedNote(text, tuple(signers))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log was at one instant.

    Attributes:
        origin: Names the log.
        size: Number of its entries.
        root: Root of the Merkle tree over them.
    """

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Spell the checkpoint as the text of a note."""
        return f"{self.origin}\n{self.size}\n{_encoded(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a checkpoint's text, which has been found to be signed.

        Raises:
            IntegrityError: It is no checkpoint.
        """
        lines = text.split("\n")[:-1]
        if len(lines) >= _LEAST_LINES and all(lines) and _SIZE.fullmatch(lines[1]):
            root = _decoded(lines[2])
            if root is not None and len(root) == HASH_BYTES:
                return cls(lines[0], int(lines[1]), root)
        raise IntegrityError("signed text is not a checkpoint")


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return a checkpoint as a note, signed under the log's own name."""
    return sign_note(checkpoint.text(), checkpoint.origin, key)


def open_checkpoint(note: str, origin: str, keys: Sequence[VerifyKey]) -> Checkpoint:
    """Return what a checkpoint of the log ``origin`` says.

    Raises:
        IntegrityError: None of ``keys`` has signed it, or it is another log's.
    """
    opened = open_note(note, [Verifier(origin, key) for key in keys])
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin != origin:
        raise IntegrityError("checkpoint is of another log", origin=checkpoint.origin)
    return checkpoint


def _parts(note: str) -> tuple[str, list[str]]:
    """Split a note into its text and its lines of signatures.

    Raises:
        IntegrityError: It is no note.
    """
    text, gap, rest = note.rpartition("\n\n")
    lines = rest.split("\n")
    if (
        len(note) > MOST_BYTES
        or _CONTROL.search(note)
        or not gap
        or not text
        or lines.pop()
        or not 0 < len(lines) <= MOST_SIGNATURES
    ):
        raise IntegrityError("text is not a signed note")
    return text + "\n", lines


def _signature(line: str) -> tuple[str, bytes, bytes]:
    """Take a line of a signature apart.

    Raises:
        IntegrityError: It is none.
    """
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _decoded(encoded)
    if not line.startswith(_DASH) or not _NAME.fullmatch(name) or raw is None:
        raise IntegrityError("text is not a signed note")
    if len(raw) <= _ID_BYTES:
        raise IntegrityError("text is not a signed note")
    return name, raw[:_ID_BYTES], raw[_ID_BYTES:]


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decoded(text: str) -> bytes | None:
    """Read Base 64 in its one spelling; ``None`` for any other text."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _encoded(raw) == text else None
