"""One journal entry: how it is spelled, signed, and read back.

Bytes become an entry only after a key in force has verified them; whatever does not pass is
*void*, which is a value (:class:`VoidEntry`), not an alarm: anyone with the right to write objects
can put junk at the next number, and it must block nobody.

Source:
    docs/format.md 3.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from drkeeper.crypto.digests import digest
from drkeeper.crypto.signing import JOURNAL_DOMAIN, SIGNATURE_BYTES, SigningKey, VerifyKey
from drkeeper.errors import ConfigurationError, IntegrityError
from drkeeper.repository.journal_body import Body, format_instant, parse_body, parse_instant
from drkeeper.repository.strict_json import MalformedError, encode, parse_object

JOURNAL_PREFIX: Final = "journal/"
FORMAT: Final = 1
NO_DIGEST: Final = bytes(32)
"""`prev` of entry 1. Source: docs/format.md 3."""

MAX_ENTRY_BYTES: Final = SIGNATURE_BYTES + 16 * 1024 * 1024
"""Source: docs/format.md 3: a payload is of at most 16 MiB."""

_DIGITS: Final = 16
_MEMBERS: Final = frozenset(
    {"format", "repository", "n", "prev", "at", "op", "signer", "body"},
)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An entry whose signature was verified, in the shape the format asks.

    Whether it is valid is decided against the state before it.

    Attributes:
        n: Its number.
        digest: BLAKE3 of the whole object.
        prev: Digest of the valid entry it follows, by its own account.
        at: When, by the signer's clock.
        op: The operation.
        signer: Public key that verified it, hex.
        body: What the operation says, typed.
    """

    n: int
    digest: bytes
    prev: bytes
    at: datetime
    op: str
    signer: str
    body: Body


@dataclass(frozen=True, slots=True)
class VoidEntry:
    """An object in the journal that counts for nothing.

    Attributes:
        n: Its number.
        reason: Why, without quoting it.
        signer: The key that did sign it, if any did.
    """

    n: int
    reason: str
    signer: str | None


class VoidError(Exception):
    """This entry is void; never leaves the repository package.

    Attributes:
        signer: The key in force that did sign it, if any did.
        unlinked: Whether it follows another entry than the newest valid one.
    """

    def __init__(self, reason: str, *, signer: str | None = None, unlinked: bool = False) -> None:
        super().__init__(reason)
        self.signer = signer
        self.unlinked = unlinked


def entry_name(n: int) -> str:
    """Name the object of entry ``n``. Source: docs/format.md 1."""
    return f"{JOURNAL_PREFIX}{n:0{_DIGITS}d}"


def entry_number(name: str) -> int | None:
    """Return the number in the name of a journal entry, or ``None`` for any other name."""
    text = name.removeprefix(JOURNAL_PREFIX)
    if len(name) != len(JOURNAL_PREFIX) + _DIGITS or len(text) != _DIGITS:
        return None
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) or None


def write_entry(  # noqa: PLR0913 - the members of an entry, by name
    *,
    repository: bytes,
    n: int,
    prev: bytes,
    at: datetime,
    op: str,
    body: Mapping[str, Any],
    signer: SigningKey,
) -> bytes:
    """Return the bytes of a signed entry."""
    payload = encode(
        {
            "format": FORMAT,
            "repository": repository.hex(),
            "n": n,
            "prev": prev.hex(),
            "at": format_instant(at),
            "op": op,
            "signer": signer.verify_key.hex,
            "body": body,
        }
    )
    return signer.sign(JOURNAL_DOMAIN, payload) + payload


def read_entry(data: bytes, *, repository: bytes, n: int, keys: Iterable[str]) -> JournalEntry:
    """Verify and parse the object found as entry ``n``.

    Args:
        data: The whole object.
        repository: Id the entry must name.
        n: Number the entry must name.
        keys: Public keys in force, hex; the likeliest first.

    Raises:
        VoidError: No key in force signed it, or it is malformed or of another place.
    """
    if not SIGNATURE_BYTES < len(data) <= MAX_ENTRY_BYTES:
        raise VoidError("its length is not that of an entry")
    signer = find_signer(data, keys)
    if signer is None:
        raise VoidError("no key in force signed it")
    try:
        return _parse(data, repository, n, signer)
    except MalformedError as error:
        raise VoidError(str(error), signer=signer) from error


def find_signer(data: bytes, keys: Iterable[str]) -> str | None:
    """Return the key of ``keys`` that signed these bytes as a journal entry, if any did."""
    signature, payload = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    for key in keys:
        try:
            VerifyKey.parse(key).verify(JOURNAL_DOMAIN, payload, signature)
        except (IntegrityError, ConfigurationError):
            continue
        return key
    return None


def _parse(data: bytes, repository: bytes, n: int, signer: str) -> JournalEntry:
    payload = parse_object(data[SIGNATURE_BYTES:])
    if payload.keys() != _MEMBERS:
        raise MalformedError("it lacks members or has unknown ones")
    prev, at, op = payload["prev"], payload["at"], payload["op"]
    if not (isinstance(prev, str) and isinstance(at, str) and isinstance(op, str)):
        raise MalformedError("a member is of the wrong type")
    if type(payload["format"]) is not int or payload["format"] != FORMAT:
        raise MalformedError("it is of another format")
    if payload["repository"] != repository.hex():
        raise MalformedError("it belongs to another repository")
    if type(payload["n"]) is not int or payload["n"] != n:
        raise MalformedError("it belongs at another number")
    if payload["signer"] != signer:
        raise MalformedError("it names another signer")
    if len(prev) != 2 * len(NO_DIGEST) or prev.strip("0123456789abcdef"):
        raise MalformedError("its link is no digest")
    return JournalEntry(
        n=n,
        digest=digest(data),
        prev=bytes.fromhex(prev),
        at=parse_instant(at),
        op=op,
        signer=signer,
        body=parse_body(op, payload["body"]),
    )
