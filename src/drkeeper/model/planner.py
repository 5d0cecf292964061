"""When a policy runs next: decided from what the ledger remembers, never from a timer's memory.

Everything is a pure function of the policy, its history and an instant, so that a restart, a second
daemon and a simulation decide alike.

A slot is a due time of the schedule. A run stands for the newest slot that was due when it began;
older ones that nobody served are *missed*, are counted and said, and get no run of their own: after
an outage there is exactly one make-up run. A policy without a schedule, but with an RPO, is due when
a new recovery point must begin to be ready before the last one is too old.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import takewhile

import msgspec

from drkeeper.model.policy import Policy
from drkeeper.model.run import Operation, Run, RunState
from drkeeper.model.slots import Slots
from drkeeper.model.windows import closed_until

_PATIENCE = timedelta(minutes=30)
_BACK_OFF = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60))
_SHARE = 4
"""Without a schedule, failures are tried again after one part in so many of the objective at most."""
_LEAST_MARGIN = timedelta(seconds=30)
_MARGIN = 20
"""The margin before an objective is missed: one part in so many of it."""
_CLOCK_ERROR = timedelta(minutes=1)
_AN_INSTANT = timedelta(microseconds=1)
_PERCENTILE = 95


class Why(StrEnum):
    """What a decision rests on."""

    DUE = "due"
    MAKE_UP = "make-up"
    RETRY = "retry"
    OBJECTIVE = "objective"
    RUNNING = "running"
    PAUSED = "paused"
    WINDOW = "window"
    WAITING = "waiting"
    BY_HAND = "by hand"


class Failing(msgspec.Struct, frozen=True):
    """A slot whose run has failed, so far.

    Attributes:
        slot: Which one.
        attempts: How many runs it has had.
        ended_at: When the last of them ended.
    """

    slot: datetime
    attempts: int
    ended_at: datetime


class History(msgspec.Struct, frozen=True):
    """What the ledger remembers of one policy.

    Attributes:
        known_since: When the policy was first seen; slots before are nobody's fault.
        served: Up to when slots are served: when the newest run began that stood for one, however
            it ended; or the slot itself, which comes to the same, or one that was given up.
        failing: The newest of these slots, when its last run failed.
        running: Whether a run of the policy goes on.
        started_at: When the last run began, by the wall clock; ``None`` for no run.
        since_start: Time since then by a clock that nobody sets; ``None`` after a reboot.
        newest_point: Instant of the newest durable recovery point.
        durations: How long recent good runs took.
    """

    known_since: datetime
    served: datetime | None = None
    failing: Failing | None = None
    running: bool = False
    started_at: datetime | None = None
    since_start: timedelta | None = None
    newest_point: datetime | None = None
    durations: Sequence[timedelta] = ()


_REMEMBERED = 20
"""How many good runs tell how long the next one takes."""


def history_of(
    policy: Policy,
    runs: Sequence[Run],
    *,
    known_since: datetime,
    newest_point: datetime | None,
    since_start: timedelta | None = None,
) -> History:
    """Put together what the ledger remembers of a policy's backups.

    Args:
        policy: The policy as it is now.
        runs: Its runs, newest first; some dozens are enough.
        known_since: When the policy was first seen.
        newest_point: Instant of its newest durable recovery point.
        since_start: As for :class:`History`.
    """
    backups = [run for run in runs if run.operation is Operation.BACKUP]
    # One that was cut off stands for nothing: what it was to do is still to be done.
    ended = [run for run in backups if run.state.ended and run.state is not RunState.INTERRUPTED]
    good = [run for run in ended if run.state in {RunState.SUCCEEDED, RunState.WARNINGS}]
    begun = [run for run in backups if run.state is not RunState.SKIPPED]
    slots = slots_of(policy)
    return History(
        known_since=known_since,
        served=ended[0].started_at if ended and slots else None,
        failing=_failing(slots, ended),
        running=any(not run.state.ended for run in backups),
        started_at=begun[0].started_at if begun else None,
        since_start=since_start,
        newest_point=newest_point,
        durations=[
            run.ended_at - run.started_at for run in good[:_REMEMBERED] if run.ended_at is not None
        ],
    )


def _slot_of(slots: Slots | None, run: Run) -> datetime | None:
    """Return the newest slot that was due when the run began."""
    return None if slots is None else slots.before(run.started_at)


def _failing(slots: Slots | None, ended: Sequence[Run]) -> Failing | None:
    failed = list(takewhile(lambda run: run.state is RunState.FAILED, ended))
    if not failed:
        return None
    slot = _slot_of(slots, failed[0])
    same = [run for run in failed if _slot_of(slots, run) == slot]
    ended_at = failed[0].ended_at or failed[0].started_at
    return Failing(slot or failed[0].started_at, len(same), ended_at)


class Decision(msgspec.Struct, frozen=True):
    """What to do about a policy now.

    Attributes:
        slot: The slot to run for, at once; ``None`` to wait.
        next_at: When to decide again, if nothing happens before; ``None`` for never.
        why: What it rests on.
        missed: Slots before ``slot`` that no run stands for.
        attempt: Number of the run for its slot, from 1.
        given_up: A slot that is not made up for, since the next one is near.
    """

    slot: datetime | None
    next_at: datetime | None
    why: Why
    missed: int = 0
    attempt: int = 1
    given_up: datetime | None = None


def decide(policy: Policy, history: History, now: datetime) -> Decision:
    """Decide whether the policy runs now, and when it is to be looked at again."""
    now = now.astimezone(UTC)
    wanted = _wanted(policy, history, now)
    if wanted.slot is None and wanted.given_up is None:
        return wanted
    if history.running:
        return Decision(None, None, Why.RUNNING)
    if policy.pause is not None and now < policy.pause.until:
        return Decision(None, policy.pause.until, Why.PAUSED)
    opens = closed_until(policy.limits.closed, policy.zone, now)
    if opens is not None:
        return Decision(None, opens, Why.WINDOW)
    return wanted


class Plan(msgspec.Struct, frozen=True):
    """A decision, and what it was computed from.

    Attributes:
        policy: As it was configured.
        at: For which instant.
        history: What the ledger remembered.
        decision: What follows.
    """

    policy: Policy
    at: datetime
    history: History
    decision: Decision

    def holds(self, policy: Policy, now: datetime) -> bool:
        """Whether deciding again from the same history could not change anything."""
        decision = self.decision
        if decision.slot is not None or decision.given_up is not None or now < self.at:
            return False
        return (decision.next_at is None or now < decision.next_at) and policy == self.policy


def plan_for(policy: Policy, history: History, now: datetime) -> Plan:
    """Decide, and remember from what."""
    return Plan(policy, now, history, decide(policy, history, now))


def opening(policy: Policy, at: datetime) -> datetime:
    """Return the first instant from ``at`` on at which no pause and no closed window holds."""
    if policy.pause is not None:
        at = max(at, policy.pause.until)
    return closed_until(policy.limits.closed, policy.zone, at) or at


def slots_of(policy: Policy) -> Slots | None:
    """Return the slots of a policy; ``None`` when it has no schedule."""
    if policy.schedule is None:
        return None
    return Slots(policy.schedule, policy.zone, policy.offset)


def near(pause: timedelta) -> timedelta:
    """Return how near the next slot must be for a late one not to be made up for.

    Half an hour, but at most half the pause between the slots and at least a tenth of it.
    """
    return max(min(_PATIENCE, pause / 2), pause / 10)


def _wanted(policy: Policy, history: History, now: datetime) -> Decision:
    slots = slots_of(policy)
    if slots is not None:
        return _by_schedule(slots, history, now)
    if policy.objectives.rpo is not None:
        return _by_objective(policy.objectives.rpo, history, now)
    return Decision(None, None, Why.BY_HAND)


def _by_schedule(slots: Slots, history: History, now: datetime) -> Decision:
    base = _base(slots, history, now)
    around = slots.around(base, now)
    following, slot = around.following, around.last
    if slot is None:
        if history.failing is not None:
            return _again(history.failing, now, following=following)
        return Decision(None, following, Why.WAITING)
    pause = following - slot
    late = now - slot > pause / 10
    too_near = late and following - now <= near(pause)
    if too_near or _ran_just_now(history, pause, now):
        return Decision(None, following, Why.WAITING, missed=around.count, given_up=slot)
    missed = around.count - 1
    return Decision(slot, following, Why.MAKE_UP if late or missed else Why.DUE, missed=missed)


def _base(slots: Slots, history: History, now: datetime) -> datetime:
    """Return the instant after which slots are open."""
    known = history.known_since if history.served is None else history.served
    if known > now and history.served is not None:
        known = slots.before(history.served) or known
    if known <= now:
        return known
    # The clock was set back. A slot of which it shows the time a second time is served; but a clock
    # that once was hours ahead must not keep the policy from running until then: the newest slot
    # that the clock shows now is open. Its run, or that it is given up, is of the present again.
    if known - now <= slots.pause_after(known) / 2:
        return known
    newest = slots.before(now)
    return now if newest is None else newest - _AN_INSTANT


def _ran_just_now(history: History, pause: timedelta, now: datetime) -> bool:
    """Return whether the clock was set forward over slots right after a run."""
    if history.since_start is None or history.started_at is None:
        return False
    was_set = abs((now - history.started_at) - history.since_start) > _CLOCK_ERROR
    return was_set and history.since_start < pause / 2


def _again(
    failing: Failing,
    now: datetime,
    *,
    following: datetime | None = None,
    most: timedelta = _BACK_OFF[-1],
) -> Decision:
    """Decide when a slot that has failed is tried again, which is before the next slot."""
    delay = min(most, _BACK_OFF[min(failing.attempts, len(_BACK_OFF)) - 1])
    # By a clock that was set back since, it failed in the future: a little is waited for, and hours
    # are not.
    is_far_ahead = failing.ended_at - now > _BACK_OFF[-1]
    at = now if is_far_ahead else min(failing.ended_at, now) + delay
    if following is not None and at >= following:
        return Decision(None, following, Why.WAITING)
    if now < at:
        return Decision(None, at, Why.RETRY)
    return Decision(failing.slot, following, Why.RETRY, attempt=failing.attempts + 1)


def _by_objective(rpo: timedelta, history: History, now: datetime) -> Decision:
    """Decide by the age of the newest recovery point."""
    if history.failing is not None:
        return _again(history.failing, now, most=rpo / _SHARE)
    if history.newest_point is None:
        return Decision(now, None, Why.OBJECTIVE)
    newest = min(history.newest_point, now)
    if history.newest_point - now > rpo / 2:
        # The clock was set back since: what is known of the present is how long ago the last run
        # began, or nothing; then a new recovery point makes sure.
        newest = now - (rpo if history.since_start is None else history.since_start)
    at = derived_start(rpo, newest, history.durations)
    if now < at:
        return Decision(None, at, Why.WAITING)
    return Decision(at, None, Why.OBJECTIVE)


def derived_start(
    rpo: timedelta, newest_point: datetime, durations: Sequence[timedelta]
) -> datetime:
    """Return when a run must begin to be ready before ``newest_point`` is older than ``rpo``.

    Never earlier than half the objective after it: a source that takes longer cannot keep the
    objective, and backing it up without end would not change that.
    """
    margin = max(_LEAST_MARGIN, rpo / _MARGIN)
    return newest_point + max(rpo - percentile(durations) - margin, rpo / 2)


def percentile(durations: Sequence[timedelta]) -> timedelta:
    """Return the duration that 95 % of ``durations`` do not exceed; nothing known is no time."""
    if not durations:
        return timedelta()
    ordered = sorted(durations)
    return ordered[-(-len(ordered) * _PERCENTILE // 100) - 1]
