"""Incidents: stretches of time in which a promise was not kept, from what is known now.

An incident is what a report tells: that, from when to when, how bad and why. It follows conditions
and drills as alarms do, and unlike an alarm it is dated by the data: an RPO is violated from the
moment at which the newest recovery point was too old until the next one was durable, whenever
anybody looked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from drkeeper.faults import point
from drkeeper.model.alarm import AlarmKind
from drkeeper.model.drill import DrillKind, Verdict
from drkeeper.model.drill_record import Drill, Incident, IncidentKind
from drkeeper.model.exposure import age_at
from drkeeper.model.status import PolicyStatus


class KeepsIncidents(Protocol):
    """The part of a ledger that this needs."""

    def open_incident(  # noqa: PLR0913 - each is a column
        self,
        kind: IncidentKind,
        policy: str,
        began_at: datetime,
        *,
        cause: str = "",
        worst: timedelta | None = None,
        alarm_id: int | None = None,
        drill_id: int | None = None,
    ) -> Incident:
        """Record that a promise is not kept; harmless to repeat."""
        ...

    def close_incident(
        self, incident_id: int, ended_at: datetime, *, worst: timedelta | None = None
    ) -> Incident:
        """Record that it is kept again; harmless to repeat."""
        ...

    def open_incidents(self) -> list[Incident]:
        """Return the incidents that go on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A promise that is not kept now.

    Attributes:
        kind: Which.
        policy: Whose.
        began_at: Since when.
        cause: Why, as far as known.
        worst: The worst so far.
        drill: The drill that showed it.
    """

    kind: IncidentKind
    policy: str
    began_at: datetime
    cause: str = ""
    worst: timedelta | None = None
    drill: int | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """An incident that has ended.

    Attributes:
        incident: Its number.
        ended_at: Since when the promise is kept again.
        worst: The worst in it.
    """

    incident: int
    ended_at: datetime
    worst: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a look at everything changes."""

    begun: list[Broken] = field(default_factory=list)
    over: list[Over] = field(default_factory=list)


def changes(
    policies: Iterable[PolicyStatus],
    drills: Mapping[str, Sequence[Drill]],
    incidents: Sequence[Incident],
    now: datetime,
    *,
    mine: Callable[[str], bool] = lambda _: True,
) -> Changes:
    """Say which incidents begin and which are over.

    Args:
        policies: How every policy stands.
        drills: The ended drills of each, newest first; some of the newest are enough.
        incidents: Those that go on.
        now: The instant that all of it describes.
        mine: Whether this process looks after a policy; what others look after is theirs to end.
    """
    found = Changes()
    known = {(each.kind, each.policy): each for each in incidents}
    statuses = {each.policy: each for each in policies}
    for name, status in statuses.items():
        for kind, rule in _RULES.items():
            broken = rule(status, drills.get(name, ()), now)
            open_one = known.get((kind, name))
            if broken is not None and open_one is None:
                found.begun.append(broken)
            elif broken is None and open_one is not None and mine(name):
                if kind is not IncidentKind.RPO_VIOLATED and not _told(drills.get(name, ())):
                    continue  # nothing speaks against it
                found.over.append(_over(open_one, status, drills.get(name, ()), now))
    return found


def follow(
    ledger: KeepsIncidents,
    policies: Iterable[PolicyStatus],
    drills: Mapping[str, Sequence[Drill]],
    now: datetime,
    *,
    mine: Callable[[str], bool] = lambda _: True,
    alarms: Mapping[str, int] | None = None,
) -> tuple[list[Incident], list[Incident]]:
    """Make the ledger's incidents those of ``policies`` and ``drills``; return new and ended ones.

    Args:
        ledger: Where incidents are kept.
        policies: How every policy stands.
        drills: The ended drills of each, newest first.
        now: The instant that all of it describes.
        mine: As for :func:`changes`.
        alarms: By policy, the open alarm that tells of a violated RPO.

    Raises:
        DrkeeperError: The ledger cannot be read or written.
    """
    found = changes(policies, drills, ledger.open_incidents(), now, mine=mine)
    if not found.begun and not found.over:
        return [], []
    point("operations.incidents.changing")
    told = alarms or {}
    begun = [
        ledger.open_incident(
            each.kind,
            each.policy,
            min(each.began_at, now),
            cause=each.cause,
            worst=each.worst,
            alarm_id=told.get(each.policy) if each.kind is IncidentKind.RPO_VIOLATED else None,
            drill_id=each.drill,
        )
        for each in found.begun
    ]
    over = [
        ledger.close_incident(each.incident, each.ended_at, worst=each.worst) for each in found.over
    ]
    point("operations.incidents.changed")
    return begun, over


# ---------------------------------------------------------------- when a promise is broken


def _rpo(status: PolicyStatus, _drills: Sequence[Drill], now: datetime) -> Broken | None:
    """The newest durable recovery point is older than was promised."""
    told = next((each for each in status.conditions if each.kind is AlarmKind.RPO_VIOLATED), None)
    if told is None:
        return None
    return Broken(
        kind=IncidentKind.RPO_VIOLATED,
        policy=status.policy,
        began_at=told.since,
        cause=_cause(status, told.what),
        worst=None if status.points.durable is None else age_at(status.points.durable, now),
    )


def _cause(status: PolicyStatus, what: str) -> str:
    """Say what is known of why: what else is wrong with the policy, in its own words."""
    more = [each.what for each in status.conditions if each.kind in _CAUSES]
    return "; ".join([what, *more])


_CAUSES = frozenset(
    {
        AlarmKind.NEVER_RAN,
        AlarmKind.OVERDUE,
        AlarmKind.PAUSED_PAST_END,
        AlarmKind.FAILING,
        AlarmKind.CAPTURE_STALLED,
    }
)


def _rto(status: PolicyStatus, drills: Sequence[Drill], _now: datetime) -> Broken | None:
    """The newest drill that came to its end took longer than is promised now."""
    drill = next((each for each in drills if _rto_of(each) is not None), None)
    achieved = None if drill is None else _rto_of(drill)
    if drill is None or achieved is None or status.rto_target is None:
        return None
    if achieved <= status.rto_target:
        return None
    return Broken(
        kind=IncidentKind.RTO_UNMET,
        policy=status.policy,
        began_at=_ended_at(drill),
        cause=f"drill {drill.id} took {achieved}, and {status.rto_target} is promised",
        worst=achieved,
        drill=drill.id,
    )


def _unproven(status: PolicyStatus, drills: Sequence[Drill], _now: datetime) -> Broken | None:
    """The newest drill that says anything about the data did not prove it."""
    drill = next((each for each in drills if _says_something(each)), None)
    if drill is None or drill.judgement is None or drill.judgement.verdict.sound:
        return None
    return Broken(
        kind=IncidentKind.NOT_PROVEN,
        policy=status.policy,
        began_at=_ended_at(drill),
        cause=f"drill {drill.id} is {drill.judgement.verdict}: {drill.judgement.reason}",
        drill=drill.id,
    )


_Rule = Callable[[PolicyStatus, Sequence[Drill], datetime], Broken | None]

_RULES: Mapping[IncidentKind, _Rule] = {
    IncidentKind.RPO_VIOLATED: _rpo,
    IncidentKind.RTO_UNMET: _rto,
    IncidentKind.NOT_PROVEN: _unproven,
}


def telling(drills: Sequence[Drill]) -> list[Drill]:
    """Return the few of a policy's drills that the rules ask for, in their order.

    Args:
        drills: Ended ones, newest first.
    """
    rto = next((each for each in drills if _rto_of(each) is not None), None)
    word = next((each for each in drills if _says_something(each)), None)
    return [each for each in drills if each is rto or each is word]


def _told(drills: Sequence[Drill]) -> bool:
    return any(map(_says_something, drills))


def _says_something(drill: Drill) -> bool:
    """Whether a drill is about data, and not only about the scratch environment it failed in."""
    if drill.plan.kind is DrillKind.KEY or drill.judgement is None:
        return False
    return drill.judgement.verdict is not Verdict.INCONCLUSIVE


def _rto_of(drill: Drill) -> timedelta | None:
    if drill.end is None or not _says_something(drill):
        return None
    return drill.end.achieved_rto


def _ended_at(drill: Drill) -> datetime:
    return drill.planned_at if drill.end is None else drill.end.ended_at


# ---------------------------------------------------------------- when it is kept again


def _over(incident: Incident, status: PolicyStatus, drills: Sequence[Drill], now: datetime) -> Over:
    """Say since when a promise is kept again: since what showed it, if that came after."""
    if incident.kind is not IncidentKind.RPO_VIOLATED:
        shown = next((_ended_at(each) for each in drills if _says_something(each)), now)
        return Over(incident.id, max(incident.began_at, min(shown, now)))
    # The new point was durable with the end of its run; without one, the promise itself was changed.
    good, durable = status.last_success, status.points.durable
    ended = now
    if good is not None and durable is not None and good.ended_at is not None:
        ended = min(good.ended_at, now)
    ended = max(incident.began_at, ended)
    worst = None
    if status.rpo_target is not None:
        worst = ended - incident.began_at + status.rpo_target
    return Over(incident.id, ended, worst)
