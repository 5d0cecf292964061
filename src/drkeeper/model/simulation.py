"""What the planner would do over a stretch of calendar, with outages: pure, in no time at all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from drkeeper.model.exposure import Achieved, Ready, worst_age
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
class LeftOut:
    """Slots that get no run, since the next one is near.

    Attributes:
        slot: The newest of them.
        at: When that is decided.
        missed: How many they are.
    """

    slot: datetime
    at: datetime
    missed: int


def simulate(
    policy: Policy,
    begin: datetime,
    end: datetime,
    *,
    duration: timedelta,
    outages: Sequence[Outage] = (),
    history: History | None = None,
) -> Iterator[SimulatedRun]:
    """Yield the runs between two instants, in order, as :func:`happenings` does."""
    found = happenings(policy, begin, end, duration=duration, outages=outages, history=history)
    return (each for each in found if isinstance(each, SimulatedRun))


def happenings(
    policy: Policy,
    begin: datetime,
    end: datetime,
    *,
    duration: timedelta,
    outages: Sequence[Outage] = (),
    history: History | None = None,
) -> Iterator[SimulatedRun | LeftOut]:
    """Yield the runs between two instants, and what is left out, in order.

    Args:
        policy: Whose.
        begin: First instant.
        end: The instant after the last.
        duration: How long each run takes.
        outages: When the machine is off; a run that goes on then is cut off.
        history: What happened before; default: the policy is new. Nothing runs at ``begin``.
    """
    known = history or History(known_since=begin, durations=(duration,))
    now = begin
    off = sorted(outages, key=lambda outage: outage.begin)
    while now < end:
        now = _back_up_at(now, off)
        if now >= end:
            return
        decision = decide(policy, known, now)
        if decision.slot is None:
            if decision.given_up is not None:
                yield LeftOut(decision.given_up, now, decision.missed)
                known = replace(known, served=decision.given_up)
            if decision.next_at is None:
                return
            now = max(decision.next_at, now + _TICK)
            continue
        run = _run(decision, now, duration, off)
        yield run
        known = _after(known, run)
        now = run.ended + _TICK


def achieved(
    runs: Iterable[SimulatedRun], begin: datetime, end: datetime, *, newest: datetime | None = None
) -> Achieved:
    """Return the worst age of the newest recovery point; before the first one, that of ``begin``.

    A recovery point describes the instant at which its run began, and counts from its end on.
    """
    points = (Ready(run.began, run.ended) for run in runs if run.completed)
    return worst_age(points, begin, end, newest=newest)


def _back_up_at(now: datetime, outages: Sequence[Outage]) -> datetime:
    for outage in outages:
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
    # What failed before has now succeeded; a run after it is one that nobody has to try again.
    return replace(
        history, served=run.slot, newest_point=run.began, failing=None, started_at=run.began,
        since_start=None,
    )  # fmt: skip
