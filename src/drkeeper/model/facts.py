"""What is known of a policy or a repository at an instant: everything that a judgement rests on."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, pairwise
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from drkeeper.model.drill import Shown, Unproven
from drkeeper.model.planner import Decision, History, Plan, history_of, percentile, plan_for
from drkeeper.model.policy import Policy
from drkeeper.model.prediction import Prediction, predict_spelt
from drkeeper.model.run import (
    Lease,
    Operation,
    RecoveryPoint,
    Run,
    RunState,
    SeenPolicy,
    Verification,
)
from drkeeper.model.schedule import Schedule, Unit, runs as schedule_runs

GOOD = frozenset({RunState.SUCCEEDED, RunState.WARNINGS})
"""Ends of a run that leave a recovery point."""

STALLED_AFTER = timedelta(minutes=10)
"""How long a run may move nothing, unless the configuration says otherwise."""


_Owner = TypeVar("_Owner")
_Value = TypeVar("_Value")


class _once(Generic[_Owner, _Value]):  # noqa: N801 - used as a decorator
    """What is computed when it is first asked for, as ``functools.cached_property``, without its lock.

    A status asks for thousands; two threads that ask at once compute the same.
    """

    def __init__(self, compute: Callable[[_Owner], _Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, owner: _Owner, _kind: object = None) -> _Value:
        # Stands in the way of the next question: what has no __set__ is looked for in here first.
        value = owner.__dict__[self._compute.__name__] = self._compute(owner)
        return value


class PolicyFacts(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything that is known of a policy.

    Attributes:
        policy: As it is configured now.
        decision: What the planner makes of it.
        now: The instant that all of it describes.
        runs: Its runs, newest first; some dozens are enough.
        point: Its newest durable recovery point; ``None`` before the first one.
        proven: Its newest proven one.
        first_seen_at: When the policy was first seen; ``None`` when it never was before now.
        changed_at: When it was last changed.
        lease: Of the run that goes on.
        since_point: Time since the newest point's instant by a clock that nobody sets; ``None``
            when nobody has measured it.
        since_start: The same since the last run began.
        expected_interval: Longest pause between two runs of its schedule.
        expected_duration: How long a run takes, at worst as usual.
        rto_achieved: What the newest drill measured.
        unproven: The newest drill that says anything, unless it is sound.
        shown: All that its drills have shown; ``None`` when there were none.
        stalled_after: How long a run may move nothing.
    """

    policy: Policy
    decision: Decision
    now: datetime
    runs: Sequence[Run] = ()
    point: RecoveryPoint | None = None
    proven: datetime | None = None
    first_seen_at: datetime | None = None
    changed_at: datetime | None = None
    lease: Lease | None = None
    since_point: timedelta | None = None
    since_start: timedelta | None = None
    expected_interval: timedelta | None = None
    expected_duration: timedelta = timedelta()
    rto_achieved: timedelta | None = None
    unproven: Unproven | None = None
    shown: Shown | None = None
    stalled_after: timedelta = STALLED_AFTER

    @_once
    def backups(self) -> list[Run]:
        """Its backups, newest first."""
        return [run for run in self.runs if run.operation is Operation.BACKUP]

    @_once
    def open(self) -> Run | None:
        """The backup that goes on, or waits for its turn."""
        return next((run for run in self.backups if not run.state.ended), None)

    @_once
    def running(self) -> Run | None:
        """The backup that goes on."""
        return self.open if self.open and self.open.state is RunState.RUNNING else None

    @_once
    def begun(self) -> list[Run]:
        """Backups that began, whatever became of them."""
        left_out = {RunState.SKIPPED, RunState.QUEUED}
        return [run for run in self.backups if run.state not in left_out]

    @_once
    def last_good(self) -> Run | None:
        """The newest backup that left a recovery point."""
        return next((run for run in self.backups if run.state in GOOD), None)

    @_once
    def since_good(self) -> list[Run]:
        """Backups that began and ended badly since the last good one, newest first."""
        bad: list[Run] = []
        for run in self.begun:
            if run.state in GOOD:
                break
            if run.state.ended:
                bad.append(run)
        return bad

    @_once
    def rto_predicted(self) -> Prediction | None:
        """How long it would take to restore its newest point; ``None`` when nobody can tell."""
        if self.shown is None or self.point is None:
            return None
        return predict_spelt(self.shown.costs, self.point.plain_bytes)

    @property
    def is_paused(self) -> bool:
        """Whether its pause holds now."""
        return self.policy.pause is not None and self.now < self.policy.pause.until


def facts_of(  # noqa: PLR0913 - all that is known, by name
    policy: Policy,
    now: datetime,
    *,
    runs: Sequence[Run] = (),
    point: RecoveryPoint | None = None,
    seen: SeenPolicy | None = None,
    lease: Lease | None = None,
    since_point: timedelta | None = None,
    since_start: timedelta | None = None,
    stalled_after: timedelta = STALLED_AFTER,
    plan: Plan | None = None,
    shown: Shown | None = None,
) -> PolicyFacts:
    """Put together what is known of a policy, with what the planner makes of it.

    Args:
        policy: As it is configured now.
        now: The instant to decide for.
        runs: Its runs, newest first; some are enough.
        point: Its newest durable recovery point.
        seen: What is remembered of the policy itself.
        lease: Of the run that goes on.
        since_point: As for :class:`PolicyFacts`.
        since_start: As for :class:`PolicyFacts`.
        stalled_after: As for :class:`PolicyFacts`.
        plan: What :func:`drkeeper.model.planner.plan_for` returned for all this, if it still holds.
        shown: What drills have shown.
    """
    if plan is None:
        history = known_history(policy, now, runs=runs, point=point, seen=seen)
        plan = plan_for(policy, replace(history, since_start=since_start), now)
    return PolicyFacts(
        policy=policy,
        decision=plan.decision,
        now=now,
        runs=runs,
        point=point,
        proven=shown.through if shown else None,
        rto_achieved=shown.rto if shown else None,
        unproven=shown.unproven if shown else None,
        shown=shown,
        first_seen_at=seen.first_seen_at if seen else None,
        changed_at=seen.changed_at if seen else None,
        lease=lease,
        since_point=since_point,
        since_start=since_start,
        expected_interval=interval_near(policy, now),
        expected_duration=percentile(plan.history.durations),
        stalled_after=stalled_after,
    )


def known_history(
    policy: Policy,
    now: datetime,
    *,
    runs: Sequence[Run],
    point: RecoveryPoint | None,
    seen: SeenPolicy | None,
) -> History:
    """Return what is remembered of a policy; the same at every ``now`` once it was seen."""
    return history_of(
        policy,
        runs,
        known_since=seen.first_seen_at if seen else now,
        newest_point=point.consistent_at if point else None,
    )


def interval_near(policy: Policy, now: datetime) -> timedelta | None:
    """Return the longest pause between some runs of the schedule from today on; ``None`` for none.

    Cheaper than ``longest_gap``, which looks a year ahead, and enough to know when to worry.
    """
    schedule = policy.schedule
    return None if schedule is None else longest_pause(schedule, policy.zone, now)


def longest_pause(schedule: Schedule, zone: tzinfo, now: datetime) -> timedelta:
    """Return the longest pause between some runs of a schedule from today on."""
    if schedule.unit is Unit.EVERY and schedule.interval is not None:
        return schedule.interval
    if schedule.unit is Unit.DAILY and _is_steady(zone, now.date()):
        return _DAY
    return _interval(schedule, zone, now.date())


_DAY = timedelta(days=1)
_SLOTS = 9
"""So many slots of a schedule by day of the week have a weekend between them. Source: ours."""


@lru_cache(maxsize=4096)
def _interval(schedule: Schedule, zone: tzinfo, day: date) -> timedelta:
    begin = datetime.combine(day, time(), zone)
    slots = list(islice(schedule_runs(schedule, zone, begin), _SLOTS))
    return max(b - a for a, b in pairwise(slots))


@lru_cache(maxsize=4096)
def _is_steady(zone: tzinfo, day: date) -> bool:
    """Whether no clock of the zone is changed while the next slots of a daily schedule pass."""
    begin = datetime.combine(day, time(), UTC)
    days = (begin + _DAY * count for count in range(-2, _SLOTS + 3))
    return len({each.astimezone(zone).utcoffset() for each in days}) == 1


class RepositoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a repository.

    Attributes:
        name: In the configuration.
        store: Where it is.
        now: The instant that all of it describes.
        zone_name: IANA name of the zone that times are shown in.
        in_use_since: Since when something is kept in it; ``None`` when nothing is.
        check_within: How old its last passed check may get.
        verifications: Checks of it, newest first.
        reachable: Whether its store answered when it was last asked; ``None`` for never asked.
        asked_at: When that was.
        last_run: The newest ended run of any policy that had to reach it.
    """

    name: str
    store: str
    now: datetime
    zone_name: str
    in_use_since: datetime | None = None
    check_within: timedelta | None = None
    verifications: Sequence[Verification] = ()
    reachable: bool | None = None
    asked_at: datetime | None = None
    last_run: Run | None = None
