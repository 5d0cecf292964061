"""What drills let fear, before the disaster: an RTO that will be missed, and drills that say nothing.

Source:
    docs/status.md, "What can be wrong", has a row for each rule.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from drkeeper.model.alarm import AlarmKind, Condition
from drkeeper.model.facts import PolicyFacts, longest_pause
from drkeeper.model.prediction import Cost, Outlook, Prediction, cost_at, costs_from, outlook
from drkeeper.model.quantities import format_duration, format_size
from drkeeper.model.telltale import condition_of, local

DRILL_GRACE: Final = timedelta(days=1)
"""By how much more than its schedule says a drill may be late. Source: ours; backups come first, and
drills of many policies are made one after the other."""
SAY_NOTHING: Final = 2
"""So many drills in a row that say nothing are no accident. Source: ours; one is ended by every restart
that comes at the wrong time."""
_MORE: Final = 1.1
"""From which factor on a change is worth a word. Source: ours."""


# ---------------------------------------------------------------- the RTO


def too_slow(facts: PolicyFacts) -> Iterator[Condition]:
    """A restore of today's data will take longer than was promised, or may; or the newest drill did."""
    target, achieved = facts.policy.objectives.rto, facts.rto_achieved
    if target is None or facts.shown is None:
        return
    foretold = facts.rto_predicted
    seen = outlook(foretold, target)
    missed = achieved is not None and achieved > target
    if foretold is not None and seen is not Outlook.WILL_BE_MET:
        message = _foretold(facts, foretold, target)
    elif missed and achieved is not None:
        message = f"its newest drill took {format_duration(achieved)}, more than the RTO of {format_duration(target)}"
    else:
        return
    surely = seen is Outlook.CANNOT_BE_MET or (seen is Outlook.UNKNOWN and missed)
    kind = AlarmKind.RTO_CANNOT_BE_MET if surely else AlarmKind.RTO_AT_RISK
    name = facts.policy.name
    hint = f"Run drkeeper drill {name}, which shows the phase that takes longest, and shorten it."
    yield condition_of(facts, kind, message, hint, _since(facts))


def _foretold(facts: PolicyFacts, foretold: Prediction, target: timedelta) -> str:
    """Say what is to be expected, against what was promised, and why."""
    than = "more than" if foretold.expected > target else "which may be more than"
    return (
        f"to restore its {format_size(foretold.plain_bytes)} of today would take "
        f"{format_duration(foretold.expected)} (nine times of ten {format_duration(foretold.low)} to "
        f"{format_duration(foretold.high)}, by {foretold.drills} drills), {than} the RTO of "
        f"{format_duration(target)}; {_what_grew(facts, foretold)}"
    )


def _what_grew(facts: PolicyFacts, foretold: Prediction) -> str:
    """Say what has changed since earlier drills: the data, the time that it takes, or nothing."""
    costs = costs_from(facts.shown.costs if facts.shown else "")
    newest, *before = costs
    today, newest_bytes, oldest_bytes = foretold.plain_bytes, newest[2], costs[-1][2]
    if today > newest_bytes * _MORE:
        return f"at its newest drill it was {format_size(newest_bytes)}"
    usual = max(_middle([cost_at(each, today) for each in before]), 1.0)
    slower = cost_at(newest, today) / usual
    if slower > _MORE:
        return f"its newest drill was {slower:.1f} times as slow as those before it"
    if today > oldest_bytes * _MORE:
        return f"at the first of these drills it was {format_size(oldest_bytes)}"
    return f"{_share(costs)} of that goes by size, which has hardly changed"


def _share(costs: list[Cost]) -> str:
    by_size = sum(each for _, each, _ in costs)
    return f"{100 * by_size / max(by_size + sum(each for each, _, _ in costs), 1):.0f} %"


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _since(facts: PolicyFacts) -> datetime:
    """Return when the newest of what it rests on came to be."""
    ended = facts.shown.ended.values() if facts.shown else ()
    made = [facts.point.finished_at] if facts.point else []
    return min(max([*ended, *made], default=facts.now), facts.now)


# ---------------------------------------------------------------- drills that say nothing


def drill_overdue(facts: PolicyFacts) -> Iterator[Condition]:
    """No drill has begun for longer than their schedule allows, or there has never been one.

    A policy that was never drilled shows as such in every status. It is an alarm where somebody wrote
    the schedule down: a machine that may only write drills nothing by itself, and is not to be blamed
    for a schedule that nobody gave it.
    """
    policy, last = facts.policy, facts.shown.planned_at if facts.shown else None
    schedule, pause = policy.drill.schedule, policy.pause
    if last is None and policy.drill.promised and facts.point is not None:
        known = facts.changed_at or facts.first_seen_at  # the schedule may be new
    else:
        known = last
    if schedule is None or known is None or facts.is_paused:
        return
    since = known if pause is None else max(known, pause.until)
    quiet = facts.now - since
    if quiet < DRILL_GRACE:
        return
    longest = longest_pause(schedule, policy.zone, facts.now)
    if quiet < longest + DRILL_GRACE:
        return
    begun = f"has begun since {local(facts, last)}" if last else "has ever begun"
    message = f"no drill {begun}, though there is to be one every {format_duration(longest)}"
    hint = f"Run systemctl status drkeeper, then drkeeper drill {policy.name}."
    if last is None:
        hint += " Where no key reads, drill elsewhere, and write here: drill: {schedule: never}."
    due = since + longest
    yield condition_of(facts, AlarmKind.DRILL_OVERDUE, message, hint, due)


def inconclusive(facts: PolicyFacts) -> Iterator[Condition]:
    """The newest drills, one after the other, say nothing about the backup."""
    broken = facts.shown.broken if facts.shown else None
    if broken is None or broken.count < SAY_NOTHING:
        return
    message = (
        f"its newest {broken.count} drills, since {local(facts, broken.since)}, say nothing; the "
        f"last one, drill {broken.drill}: {broken.reason}"
    )
    hint = f"Run drkeeper doctor, mend the place that drills restore to, then drkeeper drill {facts.policy.name}."
    yield condition_of(facts, AlarmKind.DRILL_INCONCLUSIVE, message, hint, broken.since)
