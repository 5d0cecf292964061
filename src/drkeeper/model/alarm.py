"""Alarms: states of things that somebody must know of, entered once and left once.

A *condition* is what is found wrong at an instant, by a pure look at the facts. An *alarm* is the
stretch of time in which a condition holds, kept in the ledger from when it was raised until it was
cleared. Who is told, and how often, is decided from alarms alone.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec


class Level(StrEnum):
    """How urgent a thing is, the least first."""

    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"

    @property
    def rank(self) -> int:
        """Position in the order of urgency, from 0."""
        return tuple(Level).index(self)


class AlarmKind(StrEnum):
    """What can be wrong. The words are names in metrics, JSON and messages, and never change."""

    NEVER_RAN = "never-ran"
    """The first run was due, and there has been none."""
    OVERDUE = "overdue"
    """A run was due, and none has begun or ended well since."""
    PAUSED_PAST_END = "paused-past-end"
    """A pause has ended, and nothing has run since."""
    EMPTY = "empty"
    """The newest snapshot holds nothing, though it was called complete."""
    SHRUNK = "shrunk"
    """The newest snapshot holds far less than the one before."""
    WARNINGS = "warnings"
    """The newest run could not read everything."""
    FAILING = "failing"
    """The newest run failed."""
    RPO_AT_RISK = "rpo-at-risk"
    """The newest durable recovery point has used 80 % of what the objective allows."""
    RPO_VIOLATED = "rpo-violated"
    """It is older than the objective allows."""
    CAPTURE_STALLED = "capture-stalled"
    """A run goes on, and has moved nothing for long."""
    DRILL_NOT_PROVEN = "drill-not-proven"
    """The newest drill that says anything did not prove that the policy comes back."""
    RTO_AT_RISK = "rto-at-risk"
    """The RTO that is promised lies within what a restore of today's data may take."""
    RTO_CANNOT_BE_MET = "rto-cannot-be-met"
    """A restore of today's data will probably take longer than is promised."""
    DRILL_OVERDUE = "drill-overdue"
    """No drill has begun for longer than their schedule allows."""
    DRILL_INCONCLUSIVE = "drill-inconclusive"
    """The newest drills, several in a row, say nothing: what they restore to failed."""
    VERIFIER_STALE = "verifier-stale"
    """A repository has not been checked for too long."""
    STORAGE_UNREACHABLE = "storage-unreachable"
    """A repository's store does not answer, or refuses us."""
    CONFIGURATION_INVALID = "configuration-invalid"
    """Files were changed and are wrong; what they said before goes on."""
    LEDGER_TROUBLE = "ledger-trouble"
    """The ledger is full, busy, damaged or out of reach."""
    LEDGER_UNSTORED = "ledger-unstored"
    """What is new in the ledger cannot be stored in a repository."""
    NOTIFIER_FAILING = "notifier-failing"
    """A channel could not deliver what it was given."""
    CLOCK_JUMPED = "clock-jumped"
    """The wall clock was set by more than a minute while the daemon ran."""
    SCHEDULER_STALLED = "scheduler-stalled"
    """The daemon has not looked at its policies for long."""

    @property
    def words(self) -> str:
        """Write it for people: ``RPO violated``."""
        return self.value.replace("-", " ").replace("rpo", "RPO").replace("rto", "RTO")


LEVELS: Final = {
    AlarmKind.NEVER_RAN: Level.FAILURE,
    AlarmKind.OVERDUE: Level.FAILURE,
    AlarmKind.PAUSED_PAST_END: Level.FAILURE,
    AlarmKind.EMPTY: Level.FAILURE,
    AlarmKind.SHRUNK: Level.FAILURE,
    AlarmKind.WARNINGS: Level.WARNING,
    AlarmKind.FAILING: Level.FAILURE,
    AlarmKind.RPO_AT_RISK: Level.WARNING,
    AlarmKind.RPO_VIOLATED: Level.FAILURE,
    AlarmKind.CAPTURE_STALLED: Level.FAILURE,
    AlarmKind.DRILL_NOT_PROVEN: Level.FAILURE,
    AlarmKind.RTO_AT_RISK: Level.WARNING,
    AlarmKind.RTO_CANNOT_BE_MET: Level.FAILURE,
    AlarmKind.DRILL_OVERDUE: Level.WARNING,
    AlarmKind.DRILL_INCONCLUSIVE: Level.WARNING,
    AlarmKind.VERIFIER_STALE: Level.WARNING,
    AlarmKind.STORAGE_UNREACHABLE: Level.FAILURE,
    AlarmKind.CONFIGURATION_INVALID: Level.FAILURE,
    AlarmKind.LEDGER_TROUBLE: Level.FAILURE,
    AlarmKind.LEDGER_UNSTORED: Level.WARNING,
    AlarmKind.NOTIFIER_FAILING: Level.WARNING,
    AlarmKind.CLOCK_JUMPED: Level.WARNING,
    AlarmKind.SCHEDULER_STALLED: Level.FAILURE,
}
"""How urgent each kind is."""


class Subject(msgspec.Struct, frozen=True):
    """What an alarm is about.

    Attributes:
        kind: ``policy``, ``repository``, ``channel`` or ``daemon``.
        name: Its name in the configuration; the host's name for ``daemon``.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        """Write it as ``kind/name``."""
        return f"{self.kind}/{self.name}"


class Condition(msgspec.Struct, frozen=True):
    """Something that is wrong now.

    Attributes:
        kind: What.
        subject: With which thing.
        message: One sentence without a full stop: which thing, what, times in the policy's zone.
        hint: What to do next: one imperative sentence with its full stop.
        since: Since when, as far as that is known.
    """

    kind: AlarmKind
    subject: Subject
    message: str
    hint: str
    since: datetime

    @property
    def level(self) -> Level:
        """How urgent it is."""
        return LEVELS[self.kind]

    @property
    def what(self) -> str:
        """Return the message without the name of its subject, for where that stands already."""
        return self.message.removeprefix(f"{self.subject.kind} {self.subject.name}: ")


class Alarm(msgspec.Struct, frozen=True):
    """A condition over time, as the ledger keeps it.

    Attributes:
        id: The ledger event that raised it.
        condition: What is or was wrong; in the words of when it was raised.
        raised_at: When it was first seen.
        cleared_at: When it was first seen to be over; ``None`` while it holds.
        event: The ledger event that last changed it.
    """

    id: int
    condition: Condition
    raised_at: datetime
    cleared_at: datetime | None = None
    event: int = 0
