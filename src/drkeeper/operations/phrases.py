"""Pieces of what is told: whom it is told to, what is wrong in how many words, within which bounds."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from drkeeper.model.alarm import AlarmKind, Condition
from drkeeper.model.instants import local_text, rfc3339
from drkeeper.notify.base import LONGEST_TEXT

_LONGEST_LINE: Final = 500
MOST_LINES: Final = 60
"""Lines of a message about many things. Source: ours; the rest is counted."""

_PLAIN: Final = {
    AlarmKind.WARNINGS: "the newest run could not read everything",
    AlarmKind.FAILING: "the newest run failed",
    AlarmKind.STORAGE_UNREACHABLE: "the store does not answer, or refuses us",
    AlarmKind.CONFIGURATION_INVALID: "files were changed and are wrong; what they said before goes on",
    AlarmKind.LEDGER_TROUBLE: "the ledger is full, busy, damaged or out of reach",
    AlarmKind.LEDGER_UNSTORED: "what is new in the ledger cannot be stored there",
    AlarmKind.NOTIFIER_FAILING: "the channel could not deliver what it was given",
    AlarmKind.EMPTY: "the newest snapshot holds nothing",
    AlarmKind.SHRUNK: "the newest snapshot holds far less than the one before",
    AlarmKind.DRILL_NOT_PROVEN: "the newest drill did not prove that it comes back",
    AlarmKind.DRILL_INCONCLUSIVE: "the newest drills say nothing: what they restore to failed",
}
"""Instead of a condition's message, which repeats an error, and with it perhaps names of files."""

_PLAIN_OF: Final = {
    (AlarmKind.FAILING, "repository"): "its newest check found damage",
    (AlarmKind.CONFIGURATION_INVALID, "setting"): "what it names cannot be used",
}
"""The same where the subject is not the usual one."""

NOTHING: Final = "Nothing needs to be done."
"""Ends a message that asks for nothing."""

ASK_STATUS: Final = "Run drkeeper status on {host} to see why."
"""What to do where the message must not say why."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How one channel is spoken to about one thing.

    Attributes:
        host: Name of this machine.
        zone: In which times are shown.
        zone_name: Its IANA name.
        details: Whether words from outside may be repeated.
        affects: Policies that the thing touches, if it is none itself.
    """

    host: str
    zone: tzinfo
    zone_name: str
    details: bool = False
    affects: tuple[str, ...] = ()

    def instant(self, at: datetime) -> str:
        """Write an instant in the zone and in UTC."""
        return f"{local_text(at, self.zone)} ({rfc3339(at.replace(microsecond=0))})"


def fingerprint(text: str) -> str:
    """Return a short name for a text, for identifiers of messages."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def named(condition: Condition) -> str:
    """Write ``Policy shop``."""
    return f"{condition.subject.kind.capitalize()} {condition.subject.name}"


def sentence(condition: Condition, voice: Voice) -> str:
    """Say what is wrong, without the name of its subject and without a full stop."""
    kind = condition.kind
    plain = _PLAIN_OF.get((kind, condition.subject.kind), _PLAIN.get(kind))
    if plain is not None and not voice.details:
        return plain
    return short(condition.what).rstrip(".")


def hint_of(condition: Condition, voice: Voice) -> str:
    """Say what to do next."""
    if condition.kind in _PLAIN and not voice.details:
        return ASK_STATUS.format(host=voice.host)
    return short(condition.hint) or ASK_STATUS.format(host=voice.host)


def short(text: str) -> str:
    """Make one line of bounded length of a text."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def bounded(lines: Sequence[str]) -> str:
    """Make the text of a message of its lines, and cut it where it is too long."""
    text = "\n".join(lines) + "\n"
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 2]}…\n"
