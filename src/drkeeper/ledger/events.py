"""One event of the ledger: its exact bytes, its hash, and what may not be in it.

The byte form is normative in docs/ledger.md, "The chain"; :func:`digest` is that section in code.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec
from blake3 import blake3

from drkeeper.errors import LedgerError
from drkeeper.model.instants import exact_rfc3339

DOMAIN = b"drkeeper/v1/event\0"
"""Begins the hashed bytes. Source: docs/ledger.md, "The chain"."""

GENESIS = bytes(32)
"""What the first event names as the hash before it."""

MAX_BODY_BYTES = 1 << 20
"""Longest body. Source: ours; a list that does not fit belongs into the repository."""

REDACTED = "[redacted]"


class Kind(StrEnum):
    """What an event says happened."""

    LEDGER_CREATED = "ledger.created"
    RUN_BEGUN = "run.begun"
    RUN_CLAIMED = "run.claimed"
    RUN_ENDED = "run.ended"
    RUN_INTERRUPTED = "run.interrupted"
    POINT_RECORDED = "recovery_point.recorded"
    VERIFICATION_RECORDED = "verification.recorded"
    POLICY_SEEN = "policy.seen"
    ALARM_RAISED = "alarm.raised"
    ALARM_CLEARED = "alarm.cleared"
    NOTIFICATION_RECORDED = "notification.recorded"
    DRILL_PLANNED = "drill.planned"
    DRILL_DECLARED = "drill.declared"
    DRILL_ENDED = "drill.ended"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_CLOSED = "incident.closed"
    ACTION_OPENED = "corrective_action.opened"
    ACTION_CLOSED = "corrective_action.closed"
    KEY_DRILL_RECORDED = "key_drill.recorded"


class Event(msgspec.Struct, frozen=True):
    """One link of the chain.

    Attributes:
        seq: Position, gapless from 1.
        at: When it was written, as in :func:`drkeeper.model.instants.exact_rfc3339`.
        kind: A ``Kind``, as text: a chain may be checked without knowing every kind.
        body: Canonical JSON object.
        prev: Hash of the event before, ``GENESIS`` for the first.
        hash: BLAKE3 over all of the above.
    """

    seq: int
    at: str
    kind: str
    body: str
    prev: bytes
    hash: bytes


def link(seq: int, prev: bytes, at: str, *, kind: str, body: str) -> Event:
    """Make the event that follows the one whose hash is ``prev``."""
    return Event(seq, at, kind, body, prev, digest(seq, prev, at, kind=kind, body=body))


def hashed_bytes(event: Event) -> bytes:
    """Return the bytes whose hash an event has; they are also its leaf in the Merkle tree.

    Source:
        docs/ledger.md, "The chain".
    """
    parts = [DOMAIN, event.seq.to_bytes(8, "big"), event.prev]
    for text in (event.at, event.kind, event.body):
        raw = text.encode()
        parts += [len(raw).to_bytes(4, "big"), raw]
    return b"".join(parts)


def digest(seq: int, prev: bytes, at: str, *, kind: str, body: str) -> bytes:
    """Hash one event; every field is of fixed length or led by its length.

    Source:
        docs/ledger.md, "The chain".
    """
    hasher = blake3(DOMAIN)
    hasher.update(seq.to_bytes(8, "big"))
    hasher.update(prev)
    for text in (at, kind, body):
        raw = text.encode()
        hasher.update(len(raw).to_bytes(4, "big"))
        hasher.update(raw)
    return hasher.digest()


def canonical(body: Mapping[str, object]) -> str:
    """Spell a body in its one form: JSON, ASCII, keys sorted, no blanks, secrets left out.

    Raises:
        LedgerError: The body is too long.
        TypeError: A value is not JSON's; a defect of the caller.
    """
    text = json.dumps(
        plain(body), ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    if len(text) > MAX_BODY_BYTES:
        raise LedgerError(
            "event is too long for the ledger",
            hint="Report this as a defect.",
            body_bytes=len(text),
            limit=MAX_BODY_BYTES,
        )
    return text


_SECRET_WORDS = frozenset(
    {
        *("password", "passwords", "passwd", "passphrase", "passphrases", "secret", "secrets"),
        *("token", "tokens", "identity", "identities", "credential", "credentials"),
        *("env", "environ", "environment", "authorization", "cookie"),
    }
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_USER_INFO = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/]*@")
_FORM = "2026-11-20T02:30:00.000000Z"
_AGE_SECRET = re.compile(r"AGE-(?:SECRET-KEY|PLUGIN)-[A-Z0-9-]+", re.IGNORECASE)


def plain(value: object) -> object:
    """Return ``value`` as JSON may hold it, without anything that looks like a secret.

    A value whose key names a secret, the user part of a URL and an age identity are replaced;
    characters that no database takes (lone surrogates from file names, NUL) are spelt out.
    """
    if isinstance(value, Mapping):
        return {
            plain(str(key)): REDACTED if _names_a_secret(str(key)) else plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return exact_rfc3339(value)
    if isinstance(value, str):
        spelt = str(value).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        return _AGE_SECRET.sub(REDACTED, _USER_INFO.sub(rf"\g<scheme>{REDACTED}@", spelt))
    return value


def _names_a_secret(key: str) -> bool:
    """Whether a key, taken apart at underscores, dashes and capitals, speaks of a secret."""
    return any(word.lower() in _SECRET_WORDS for word in _WORDS.findall(key))


def instant_from_text(text: str) -> datetime:
    """Read :func:`drkeeper.model.instants.exact_rfc3339` back.

    Raises:
        ValueError: The text is not such an instant.
    """
    # A pattern would say it shorter, and take four times as long; a status reads some 10^4 of these.
    if (
        len(text) != len(_FORM)
        or text[-1] != "Z"
        or text[19] != "."
        or text[10] != "T"
        or text[7] != "-"
    ):
        raise ValueError(f"{text!r} does not match the form of instants")
    return datetime.fromisoformat(text)
