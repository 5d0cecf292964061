"""Drills: what is planned, what was measured, and what that proves.

A drill restores into scratch, asks the data questions, and measures. Nothing here does any of that:
these are the values it leaves, and :mod:`drkeeper.model.judging` has the rules that judge them. How a
drill ends badly is a value too; a drill always leaves a verdict.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final

import msgspec

from drkeeper.model.exposure import age_at


class DrillKind(StrEnum):
    """What a drill goes through."""

    RESTORE = "restore"
    """One recovery point of one policy."""
    PITR = "pitr"
    """One instant of a source that ships its log."""
    MASS = "mass"
    """Many policies at once."""
    BARE = "bare"
    """From the store and the recovery kit alone."""
    KEY = "key"
    """Each recovery identity opens a canary; no data is restored."""


class Choice(StrEnum):
    """Which recovery point a drill takes."""

    LATEST = "latest"
    OLDEST = "oldest"
    RANDOM = "random"
    INSTANT = "instant"


class Phase(StrEnum):
    """Where a drill is, named by what has just been reached; in this order."""

    KEYS_OPENED = "keys-opened"
    JOURNAL_READ = "journal-read"
    MANIFEST_AUTHENTICATED = "manifest-authenticated"
    FIRST_BYTE = "first-byte"
    RESTORED = "restored"
    ENGINE_STARTED = "engine-started"
    LOG_REPLAYED = "log-replayed"
    PROBES_PASSED = "probes-passed"
    TORN_DOWN = "torn-down"

    @property
    def place(self) -> int:
        """Position in the order, from 0."""
        return _ORDER[self]


_ORDER: Final = {phase: place for place, phase in enumerate(Phase)}


class PhaseTime(msgspec.Struct, frozen=True):
    """When a phase was reached.

    Attributes:
        phase: Which.
        reached_at: By the wall clock, for people.
        elapsed: Since the declaration, by the monotonic clock: what is measured.
    """

    phase: Phase
    reached_at: datetime
    elapsed: timedelta


class Timeline(msgspec.Struct, frozen=True):
    """A drill over time.

    Attributes:
        declared_at: When the disaster was declared, by the wall clock.
        reached: The phases, in order; those that a source does not have are left out.

    Raises:
        ValueError: The phases are not in order, or time ran backwards.
    """

    declared_at: datetime
    reached: tuple[PhaseTime, ...] = ()

    def __post_init__(self) -> None:
        for before, after in pairwise(self.reached):
            if after.phase.place <= before.phase.place:
                raise ValueError(f"phase {after.phase} does not follow {before.phase}")
            if after.elapsed < before.elapsed:
                raise ValueError(f"phase {after.phase} ended before {before.phase}")
        if self.reached and self.reached[0].elapsed < timedelta():
            raise ValueError("phase was reached before the declaration")

    def elapsed(self, phase: Phase) -> timedelta | None:
        """Return the time from the declaration until ``phase`` was reached, if it was."""
        return next((each.elapsed for each in self.reached if each.phase is phase), None)

    def took(self) -> dict[Phase, timedelta]:
        """Return how long each phase took, from the one before it; they add up to the whole."""
        starts = [timedelta(), *(each.elapsed for each in self.reached)]
        return {
            each.phase: each.elapsed - start
            for start, each in zip(starts, self.reached, strict=False)
        }

    @property
    def achieved_rto(self) -> timedelta | None:
        """From the declaration to the last probe passed; ``None`` when it never came to that.

        Negative controls and tearing down come after it, and count nowhere.
        """
        return self.elapsed(Phase.PROBES_PASSED)


class Stopwatch:
    """Collects a timeline while a drill runs.

    Args:
        declared_at: When the disaster was declared, by the wall clock.
        declared_s: The same instant by the monotonic clock.
    """

    def __init__(self, declared_at: datetime, declared_s: float) -> None:
        self._declared_at = declared_at
        self._declared_s = declared_s
        self._reached: list[PhaseTime] = []

    def reach(self, phase: Phase, now: datetime, now_s: float) -> None:
        """Note that ``phase`` has been reached.

        Raises:
            ValueError: A later one was reached before; a defect of the caller.
        """
        self.reach_after(phase, now, timedelta(seconds=now_s - self._declared_s))

    def reach_after(self, phase: Phase, now: datetime, elapsed: timedelta) -> None:
        """Note that ``phase`` was reached at another time than the present.

        Raises:
            ValueError: A later one was reached before; a defect of the caller.
        """
        self._reached.append(PhaseTime(phase, now, elapsed))
        self.timeline()

    def timeline(self) -> Timeline:
        """Return what was noted so far."""
        return Timeline(self._declared_at, tuple(self._reached))


class Outcome(StrEnum):
    """What came of a question to the data."""

    PASSED = "passed"
    FAILED = "failed"
    """The data answered, and the answer is wrong."""
    BROKEN = "broken"
    """It could not be asked: the scratch environment failed, not the data."""
    TOO_OLD = "too-old"
    """Of a part of a drill of many: sound, but more would be lost than was promised."""
    TOO_SLOW = "too-slow"
    """Of a part of a drill of many: sound, but it took longer than was promised."""


class ProbeResult(msgspec.Struct, frozen=True):
    """One question to restored data, and its answer.

    Attributes:
        name: Of the probe, unique within the drill.
        kind: ``bytes``, ``engine``, ``fingerprint``, ``command``, ``sql``, ``file``...
        outcome: Whether the answer was right.
        expected: What was asked for, in words.
        found: What was found, in words.
        took: How long it took.
    """

    name: str
    kind: str
    outcome: Outcome
    expected: str = ""
    found: str = ""
    took: timedelta = timedelta()


class ControlResult(msgspec.Struct, frozen=True):
    """What the probes said of a copy that was damaged on purpose.

    Attributes:
        fault: What was planted: ``flipped-byte``, ``truncated-file``, ``stale-point``...
        outcome: ``PASSED`` when some probe caught it, ``FAILED`` when none did, ``BROKEN`` when it
            could not be tried.
        caught_by: Names of the probes that caught it.
        detail: What was damaged, in words.
    """

    fault: str
    outcome: Outcome
    caught_by: tuple[str, ...] = ()
    detail: str = ""


class Promised(msgspec.Struct, frozen=True):
    """What a drill is held to; ``None`` when nothing is promised.

    Attributes:
        rpo: Most data, as time, that may be lost.
        rto: Longest time from the declaration to the last probe passed.
    """

    rpo: timedelta | None = None
    rto: timedelta | None = None


NOTHING_PROMISED: Final = Promised()


def held_to(promised: Promised, kind: DrillKind, choice: Choice) -> Promised:
    """Return what of a policy's promises a drill of this kind can show.

    Only the newest point says how much would be lost today; an old one is old on purpose. A key drill
    restores nothing.
    """
    if kind is DrillKind.KEY:
        return NOTHING_PROMISED
    return Promised(promised.rpo if choice is Choice.LATEST else None, promised.rto)


def achieved_rpo(
    declared_at: datetime, consistent_at: datetime, recoverable_through: datetime | None = None
) -> timedelta:
    """Return how much time of data is missing from what was restored.

    Args:
        declared_at: When the disaster was declared.
        consistent_at: The instant that the recovery point describes, by the source's clock.
        recoverable_through: The instant up to which everything is there, where the source can tell by
            position; it is the better proof.
    """
    return age_at(recoverable_through or consistent_at, declared_at)


class Verdict(StrEnum):
    """How a drill ended."""

    PROVEN = "proven"
    TOO_OLD = "too-old"
    """Restored and sound, but more would be lost than was promised."""
    TOO_SLOW = "too-slow"
    """Restored and sound, but it took longer than was promised."""
    UNSOUND = "unsound"
    """Restored, and a probe found wrong data."""
    FAILED = "failed"
    """Could not be restored, or not to where it should."""
    INVALID = "invalid"
    """Proves nothing: the probes did not catch a planted fault, or there were none."""
    INCONCLUSIVE = "inconclusive"
    """The scratch environment failed, not the backup."""

    @property
    def sound(self) -> bool:
        """Whether the data was shown to be restorable and right, in time or not."""
        return self in {Verdict.PROVEN, Verdict.TOO_OLD, Verdict.TOO_SLOW}


class Unproven(msgspec.Struct, frozen=True):
    """The newest drill of a policy that says anything, when it is no proof.

    Attributes:
        drill: Its number.
        verdict: How it ended.
        reason: Why.
        ended_at: When.
    """

    drill: int
    verdict: Verdict
    reason: str
    ended_at: datetime


class Broken(msgspec.Struct, frozen=True):
    """Drills of a policy that said nothing, one after the other.

    Attributes:
        count: How many.
        since: When the first of them ended.
        drill: The number of the newest.
        reason: Why that said nothing.
    """

    count: int
    since: datetime
    drill: int
    reason: str


class Shown(msgspec.Struct, frozen=True):
    """What drills have shown of a policy.

    Attributes:
        through: The newest instant that a sound one has found to be recoverable.
        rto: How long the newest sound one took.
        unproven: The newest that says anything, unless it is sound.
        planned_at: When the newest was planned, whatever became of it.
        ended: When the newest of each verdict ended.
        caught_at: When the newest ended of which every planted fault was caught.
        broken: The newest ones that said nothing, if there are any.
        costs: What the newest restores took, for :func:`drkeeper.model.prediction.predict_spelt`.
    """

    through: datetime | None = None
    rto: timedelta | None = None
    unproven: Unproven | None = None
    planned_at: datetime | None = None
    ended: dict[Verdict, datetime] = msgspec.field(default_factory=dict)
    caught_at: datetime | None = None
    broken: Broken | None = None
    costs: str = ""
