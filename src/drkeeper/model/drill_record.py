"""What is remembered of drills, and of what follows from them: incidents, actions, key drills.

Instants are aware and in UTC. Values that come out of the ledger carry the numbers of the events that
say so; an ``id`` here is the number of the event that began the thing.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

import msgspec

from drkeeper.model.drill import (
    NOTHING_PROMISED,
    Choice,
    ControlResult,
    DrillKind,
    ProbeResult,
    Promised,
    Timeline,
)
from drkeeper.model.judging import Evidence, Judgement
from drkeeper.model.prediction import Prediction
from drkeeper.model.run import RunId

EMPTY_ROOT: Final = sha256(b"").hexdigest()
"""Root of a ledger without events. Source: RFC 6962 section 2.1."""


class DrillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is written down before a drill begins, so that nobody fits it to the outcome.

    Attributes:
        policy: Whose data; ``None`` for a drill of many policies or of keys.
        kind: What it goes through.
        choice: Which recovery point it takes.
        instant: The one asked for, with ``Choice.INSTANT``.
        promised: What it is held to.
        criteria: Probes and controls that will be run, by name, and what they ask for.
        checkpoint_size: Size of the newest checkpoint; 0 when there is none.
        checkpoint_root: Its root, hexadecimal; the sample follows from it and from the drill's number.
        prediction: What is expected of the RTO.
        parent: The drill of many policies that this is a part of.
        run: The run that does it.
    """

    policy: str | None
    kind: DrillKind
    choice: Choice = Choice.LATEST
    instant: datetime | None = None
    promised: Promised = NOTHING_PROMISED
    criteria: Mapping[str, object] = msgspec.field(default_factory=dict)
    checkpoint_size: int = 0
    checkpoint_root: str = EMPTY_ROOT
    prediction: Prediction | None = None
    parent: int | None = None
    run: RunId | None = None


class Restored(msgspec.Struct, frozen=True):
    """Which recovery point a drill restored, and how much that was.

    Attributes:
        repository: Identifier of the repository.
        commit_number: Number of the journal entry that committed it.
        consistent_at: The instant that it describes.
        recoverable_through: Up to when everything is there, where the source can tell.
        plain_bytes: Logical length of what was restored.
        read_bytes: Bytes read from the store for it.
        files: Number of files.
    """

    repository: str
    commit_number: int
    consistent_at: datetime
    recoverable_through: datetime | None = None
    plain_bytes: int = 0
    read_bytes: int = 0
    files: int = 0


class DrillEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a drill.

    Attributes:
        ended_at: When everything was over.
        timeline: When the disaster was declared, and what was reached; ``None`` when it never was.
        scratch: Where it was restored: ``bubblewrap``, ``process``; empty when nowhere.
        point: What was restored; ``None`` when nothing was found to restore.
        restored: Whether the restore came to its end.
        failure: Why not, in words.
        scratch_failure: What went wrong with the scratch environment, in words.
        expected_end: Position computed before the restore.
        reached_end: Position at which the restored data stands.
        probes: Questions to the restored data.
        controls: Questions to damaged copies of it.
        achieved_rpo: Age of the restored data at the declaration, if known.
        detail: More, in figures.
    """

    ended_at: datetime
    timeline: Timeline | None = None
    scratch: str = ""
    point: Restored | None = None
    restored: bool = False
    failure: str = ""
    scratch_failure: str = ""
    expected_end: str = ""
    reached_end: str = ""
    probes: tuple[ProbeResult, ...] = ()
    controls: tuple[ControlResult, ...] = ()
    achieved_rpo: timedelta | None = None
    detail: Mapping[str, object] = msgspec.field(default_factory=dict)

    @property
    def achieved_rto(self) -> timedelta | None:
        """From the declaration to the last probe passed, if it came to that."""
        return None if self.timeline is None else self.timeline.achieved_rto

    def evidence(self, promised: Promised) -> Evidence:
        """Return what the verdict rests on."""
        return Evidence(
            promised=promised,
            restored=self.restored,
            failure=self.failure,
            scratch_failure=self.scratch_failure,
            expected_end=self.expected_end,
            reached_end=self.reached_end,
            probes=self.probes,
            controls=self.controls,
            achieved_rpo=self.achieved_rpo,
            achieved_rto=self.achieved_rto,
        )


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """A drill as the ledger keeps it.

    Attributes:
        id: The ledger event that planned it.
        plan: What was written down before.
        planned_at: When.
        declared_at: When the disaster was declared; ``None`` before.
        end: What came of it; ``None`` while it goes on.
        judgement: Its verdict, as it was given then.
        event: The ledger event that last changed it.
    """

    id: int
    plan: DrillPlan
    planned_at: datetime
    declared_at: datetime | None = None
    end: DrillEnd | None = None
    judgement: Judgement | None = None
    event: int = 0


class IncidentKind(StrEnum):
    """A promise that was not kept, for a stretch of time."""

    RPO_VIOLATED = "rpo-violated"
    RTO_UNMET = "rto-unmet"
    NOT_PROVEN = "not-proven"


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time in which a promise was not kept.

    Attributes:
        id: The ledger event that opened it.
        kind: Which promise.
        policy: Whose.
        began_at: Since when, which may be before anybody saw it.
        cause: Why, as far as known, in words.
        alarm: The alarm that told of it, if any.
        drill: The drill that showed it, if any.
        ended_at: Until when; ``None`` while it goes on.
        worst: The worst that was measured in it: an age, or a time to restore.
        event: The ledger event that last changed it.
    """

    id: int
    kind: IncidentKind
    policy: str
    began_at: datetime
    cause: str = ""
    alarm: int | None = None
    drill: int | None = None
    ended_at: datetime | None = None
    worst: timedelta | None = None
    event: int = 0


class CorrectiveAction(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody undertook to do about something.

    Attributes:
        id: The ledger event that opened it.
        title: What is to be done.
        owner: Who does it.
        opened_at: Since when.
        due_at: Until when it is meant to be done.
        policy: Whose data it concerns.
        drill: The drill that showed the need, if any.
        incident: The incident it is about, if any.
        closed_at: When it was done; ``None`` while it is not.
        outcome: What came of it.
        event: The ledger event that last changed it.
    """

    id: int
    title: str
    owner: str
    opened_at: datetime
    due_at: datetime | None = None
    policy: str | None = None
    drill: int | None = None
    incident: int | None = None
    closed_at: datetime | None = None
    outcome: str = ""
    event: int = 0


class KeyDrill(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one recovery key opened what it must.

    Attributes:
        repository: Identifier of the repository.
        recipient: The public half of the key.
        role: Its role in the keyring.
        opened: Whether it opened the canary.
        checked_at: When.
        session: The session whose keys it was to open.
        detail: What was found, in words.
        took: How long it took.
        drill: The drill this was a part of.
        event: The ledger event that recorded it.
    """

    repository: str
    recipient: str
    role: str
    opened: bool
    checked_at: datetime
    session: str = ""
    detail: str = ""
    took: timedelta = timedelta()
    drill: int | None = None
    event: int = 0
