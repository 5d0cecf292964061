"""What the planner would do over a stretch of calendar, with outages: pure, in no time at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from drkeeper.model.planner import Decision, History, Why, decide
from drkeeper.model.policy import Policy

_TICK = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which the machine is off, from ``begin`` to just before ``end``."""

    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """A run that would take place.

    Attributes:
        slot: The slot it stands for.
        began: When it begins.
        ended: When it ends; an outage cuts it off before.
        why: Why it runs.
        missed: Slots before its own that no run stands for.
        completed: Whether it came to its end.
    """

    slot: datetime
    began: datetime
    ended: datetime
    why: Why
    missed: int
    completed: bool


@dataclass(frozen=True, slots=True)
class Achieved:
    """What a sequence of runs keeps of an objective.

    Attributes:
        worst: The greatest age that the newest recovery point reaches.
        at: When it does.
    """

    worst: timedelta
    at: datetime


def simulate(
    policy: Policy,
    begin: datetime,
    end: datetime,
    *,
    duration: timedelta,
    outages: Sequence[Outage] = (),
) -> Iterator[SimulatedRun]:
    """Yield the runs between two instants, in order, when each takes ``duration``."""
    history = History(known_since=begin, durations=(duration,))
    now = begin
    while now < end:
        now = _back_up_at(now, outages)
        decision = decide(policy, history, now)
        if decision.slot is None:
            history = _given_up(history, decision)
            if decision.next_at is None:
                return
            now = max(decision.next_at, now + _TICK)
            continue
        run = _run(decision, now, duration, outages)
        yield run
        history = _after(history, run)
        now = run.ended + _TICK


def achieved(runs: Sequence[SimulatedRun], begin: datetime, end: datetime) -> Achieved:
    """Return the worst age of the newest recovery point; before the first one, that of ``begin``.

    A recovery point describes the instant at which its run began, and counts from its end on.
    """
    worst, at, newest = timedelta(), begin, begin
    for run in runs:
        if run.completed and run.ended <= end:
            worst, at = max((worst, at), (run.ended - newest, run.ended))
            newest = run.began
    worst, at = max((worst, at), (end - newest, end))
    return Achieved(worst, at)


def _back_up_at(now: datetime, outages: Sequence[Outage]) -> datetime:
    for outage in sorted(outages, key=lambda outage: outage.begin):
        if outage.begin <= now < outage.end:
            now = outage.end
    return now


def _run(
    decision: Decision, now: datetime, duration: timedelta, outages: Sequence[Outage]
) -> SimulatedRun:
    assert decision.slot is not None  # noqa: S101 - the caller has looked
    ended = now + duration
    cuts = [outage.begin for outage in outages if now < outage.begin < ended]
    return SimulatedRun(
        slot=decision.slot,
        began=now,
        ended=min(cuts, default=ended),
        why=decision.why,
        missed=decision.missed,
        completed=not cuts,
    )


def _after(history: History, run: SimulatedRun) -> History:
    if not run.completed:
        return history  # an interrupted run stands for nothing, and is made up
    return replace(history, served=run.slot, newest_point=run.began)


def _given_up(history: History, decision: Decision) -> History:
    if decision.given_up is None:
        return history
    return replace(history, served=decision.given_up)
