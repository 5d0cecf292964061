"""What is wrong now, from everything that knows of it."""

from collections.abc import Sequence
from itertools import chain

from drkeeper.model.alarm import Alarm, Condition, Subject
from drkeeper.model.status import Overview


def urgent(overview: Overview) -> list[Alarm]:
    """Return what is wrong here, the most urgent and then the oldest first; each thing once.

    Open alarms of the ledger that are about this machine, and conditions that nobody has raised yet: without a daemon nobody
    does. Those have the alarm number 0.
    """
    found = {_key(alarm.condition): alarm for alarm in overview.own_alarms}
    for condition in _conditions(overview):
        if _key(condition) not in found:
            found[_key(condition)] = Alarm(0, condition, condition.since)
    return sorted(found.values(), key=lambda a: (-a.condition.level.rank, a.raised_at))


def about(alarms: Sequence[Alarm], kind: str, name: str) -> list[Alarm]:
    """Return those about one thing."""
    return [alarm for alarm in alarms if alarm.condition.subject == Subject(kind, name)]


def _conditions(overview: Overview) -> list[Condition]:
    policies = chain.from_iterable(status.conditions for status in overview.policies)
    repositories = chain.from_iterable(status.conditions for status in overview.repositories)
    return [*overview.conditions, *policies, *repositories]


def _key(condition: Condition) -> tuple[str, str]:
    return condition.kind.value, str(condition.subject)
