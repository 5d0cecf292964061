"""Whether drkeeper itself can do its work, by component; the policies are another question.

``/health`` says it in JSON, ``/health/ready`` in a status code.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from drkeeper.model.alarm import AlarmKind
from drkeeper.model.instants import rfc3339
from drkeeper.model.status import Overview, RepositoryStatus

ANSWERED_WITHIN: Final = timedelta(minutes=5)
"""A store that answered longer ago is not called reachable. Source: design, "Health"."""
BEAT_WITHIN: Final = timedelta(seconds=90)
"""A daemon that looked longer ago does not keep time. Source: ours; six ticks of 15 s."""


class Verdict(StrEnum):
    """How a component is, the best first."""

    OK = "ok"
    UNKNOWN = "unknown"
    DEGRADED = "degraded"
    """It does its work, and something about it wants attention."""
    FAILING = "failing"

    @property
    def rank(self) -> int:
        """Position in the order, from 0."""
        return tuple(Verdict).index(self)


@dataclass(frozen=True, slots=True)
class Component:
    """How one component is.

    Attributes:
        name: ``ledger``, ``scheduler``, ``configuration``, ``web`` or ``storage/NAME``.
        verdict: How it is.
        detail: Why, as a phrase; empty when nothing needs saying.
        hint: What to do next: a sentence; empty likewise.
        since: Since when, or when it was last seen to be so.
    """

    name: str
    verdict: Verdict
    detail: str = ""
    hint: str = ""
    since: datetime | None = None


def components(overview: Overview) -> list[Component]:
    """Return every component, in a fixed order."""
    return [
        _told(overview, "ledger", AlarmKind.LEDGER_TROUBLE, Verdict.FAILING),
        _scheduler(overview),
        _told(overview, "configuration", AlarmKind.CONFIGURATION_INVALID, Verdict.DEGRADED),
        *(_storage(repository, overview.at) for repository in overview.repositories),
        Component("web", Verdict.OK),
    ]


def ledger_failing(message: str, hint: str | None) -> list[Component]:
    """Return what is known when the ledger does not even answer."""
    ledger = Component("ledger", Verdict.FAILING, message, hint or "")
    return [ledger, Component("scheduler", Verdict.UNKNOWN), Component("web", Verdict.OK)]


def worst(found: list[Component]) -> Verdict:
    """Return the verdict over all; what nobody knows is no failure."""
    return max((component.verdict for component in found), key=lambda verdict: verdict.rank)


def ready(found: list[Component]) -> bool:
    """Whether work that is due can be done now: nothing fails, and every store has answered."""
    return all(component.verdict in {Verdict.OK, Verdict.DEGRADED} for component in found)


def as_json(found: list[Component], at: datetime) -> dict[str, object]:
    """Spell them as ``/health`` answers."""
    return {
        "status": worst(found).value,
        "ready": ready(found),
        "at": rfc3339(at),
        "components": {
            component.name: {
                "status": component.verdict.value,
                **({"detail": component.detail} if component.detail else {}),
                **({"hint": component.hint} if component.hint else {}),
                **({"since": rfc3339(component.since)} if component.since else {}),
            }
            for component in found
        },
    }


def _told(overview: Overview, name: str, kind: AlarmKind, verdict: Verdict) -> Component:
    """Judge a component by whether there is an alarm of a kind."""
    raised = [alarm.condition for alarm in overview.alarms]
    for condition in (*raised, *overview.conditions):
        if condition.kind is kind:
            return Component(name, verdict, condition.message, condition.hint, condition.since)
    return Component(name, Verdict.OK)


def _scheduler(overview: Overview) -> Component:
    last = overview.beat_at
    if not overview.daemon_alive or last is None:
        hint = "Run systemctl status drkeeper, or drkeeper daemon in the foreground."
        return Component("scheduler", Verdict.FAILING, "no daemon runs", hint, last)
    if overview.at - last > BEAT_WITHIN:
        late = "the daemon has not looked at its policies for long"
        hint = "Look at its log: journalctl -u drkeeper."
        return Component("scheduler", Verdict.FAILING, late, hint, last)
    return Component("scheduler", Verdict.OK, since=last)


def _storage(repository: RepositoryStatus, at: datetime) -> Component:
    name, asked_at = f"storage/{repository.name}", repository.asked_at
    if repository.reachable is None or asked_at is None:
        return Component(name, Verdict.UNKNOWN, "nobody has asked its store yet")
    if not repository.reachable:
        unreachable = AlarmKind.STORAGE_UNREACHABLE
        for condition in repository.conditions:
            if condition.kind is unreachable:
                detail, hint = condition.message, condition.hint
                return Component(name, Verdict.FAILING, detail, hint, condition.since)
        hint = "Run drkeeper doctor to see what the store answers."
        return Component(name, Verdict.FAILING, "its store does not answer", hint, asked_at)
    if at - asked_at > ANSWERED_WITHIN:
        return Component(name, Verdict.UNKNOWN, "its store was last asked long ago", "", asked_at)
    return Component(name, Verdict.OK, since=asked_at)
