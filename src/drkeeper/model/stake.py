"""How much data is at stake, and when that is too much: the rule about the RPO.

Source:
    docs/status.md, "What can be wrong".
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from drkeeper.model.alarm import AlarmKind, Condition
from drkeeper.model.exposure import age_at
from drkeeper.model.facts import PolicyFacts
from drkeeper.model.lateness import GRACE, due_since
from drkeeper.model.quantities import format_duration
from drkeeper.model.telltale import condition_of, local

AT_RISK: Final = 0.8
"""Part of an objective that is used up when it is at risk. Source: docs/status.md."""


def point_age(facts: PolicyFacts) -> timedelta | None:
    """Return the age of what could be restored now: by the wall clock, or by the one nobody sets.

    The greater of the two, since a clock that was set back makes old data look new. Before the
    first recovery point, the time since the policy was first seen. ``None`` when nobody knows.
    """
    since = facts.point.consistent_at if facts.point else facts.first_seen_at
    if since is None:
        return None
    return max(age_at(since, facts.now), facts.since_point or _since_last_start(facts))


def _since_last_start(facts: PolicyFacts) -> timedelta:
    """Return the least age that the last start, by a clock that nobody sets, leaves to the point."""
    good = facts.last_good
    if (
        facts.since_start is None
        or facts.point is None
        or good is None
        or good.id != facts.point.run
    ):
        return timedelta()
    # Its data is of a little after its start; a run that began later makes the point older only.
    return facts.since_start - age_at(good.started_at, facts.point.consistent_at)


def at_stake(facts: PolicyFacts) -> Iterator[Condition]:
    """The newest recovery point is older than the objective allows, or will soon be."""
    rpo, age = facts.policy.objectives.rpo, point_age(facts)
    if rpo is None or age is None or age < rpo * AT_RISK:
        return
    name, violated = facts.policy.name, age >= rpo
    if not violated and _in_time(facts, rpo - age):
        return
    newest = (
        f"its newest recovery point, of {local(facts, facts.point.consistent_at)},"
        if facts.point
        else f"it has no recovery point, and since {local(facts, facts.now - age)}"
    )
    verb = "is" if facts.point else "all is at stake for"
    allowed = format_duration(rpo)
    told = "more than the RPO of" if violated else "80 % of the RPO of"
    message = (
        f"{newest} {verb} {format_duration(age)}{' old' if facts.point else ''}, {told} {allowed}"
    )
    if facts.is_paused and facts.policy.pause is not None:
        message += f"; it is paused until {local(facts, facts.policy.pause.until)}"
    kind = AlarmKind.RPO_VIOLATED if violated else AlarmKind.RPO_AT_RISK
    began = facts.now - age + (rpo if violated else rpo * AT_RISK)
    yield condition_of(facts, kind, message, f"Run drkeeper backup {name}.", began)


def _in_time(facts: PolicyFacts, left: timedelta) -> bool:
    """Whether nothing speaks against a new recovery point before the time that is left is over.

    A daily schedule under an RPO of 26 hours uses 92 % of it on every good day: only what will
    probably not be in time is at risk.
    """
    if facts.since_good or facts.is_paused:
        return False
    wait = _time_to_a_point(facts)
    return wait is not None and wait <= left


def _time_to_a_point(facts: PolicyFacts) -> timedelta | None:
    """Return how long it takes until there is a new one, if all goes as usual."""
    took = facts.expected_duration
    if facts.running is not None:
        so_far = age_at(facts.running.started_at, facts.now)
        return took - so_far if so_far <= took else None
    if facts.open is not None:
        return took
    since = due_since(facts)
    begins = facts.decision.slot or facts.decision.next_at
    if begins is None or (since is not None and facts.now - since >= GRACE):
        return None
    return max(begins - facts.now, timedelta()) + took
