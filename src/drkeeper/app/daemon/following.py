"""Incidents as the daemon keeps them: looked at together with the alarms."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from drkeeper.app.daemon.jumps import Times
from drkeeper.app.wiring.execution import Log
from drkeeper.model.alarm import AlarmKind, Subject
from drkeeper.model.drill_record import Drill
from drkeeper.model.status import Overview
from drkeeper.operations.incidents import follow

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

_NEWEST: Final = 10
"""Drills of a policy that are looked at: the newest that says something is nearly always the first."""


class Follower:
    """Opens and closes incidents. For one thread.

    Args:
        mine: Whether this daemon looks after a subject.
        clock: Says for which instant.
        log: Told of what begins and ends.
    """

    def __init__(self, *, mine: Callable[[Subject], bool], clock: Times, log: Log) -> None:
        self._mine = mine
        self._clock = clock
        self._log = log
        self._known: tuple[int, frozenset[str]] | None = None
        self._drills: dict[str, list[Drill]] = {}

    def follow(self, ledger: "Ledger", seen: Overview) -> None:
        """Make the ledger's incidents those of what was seen.

        Raises:
            DrkeeperError: The ledger cannot be read or written.
        """
        self._refresh(ledger, seen)
        alarms = {
            alarm.condition.subject.name: alarm.id
            for alarm in seen.alarms
            if alarm.condition.kind is AlarmKind.RPO_VIOLATED
        }
        begun, over = follow(
            ledger,
            seen.policies,
            self._drills,
            self._clock.now(),
            mine=lambda policy: self._mine(Subject("policy", policy)),
            alarms=alarms,
        )
        for word, incidents in (("incident.opened", begun), ("incident.closed", over)):
            for each in incidents:
                self._log(
                    word,
                    incident=each.id,
                    promise=each.kind.value,
                    policy=each.policy,
                    began_at=each.began_at.isoformat(),
                    cause=each.cause,
                )

    def _refresh(self, ledger: "Ledger", seen: Overview) -> None:
        """Read the drills of every policy again when one has ended since, or a policy is new."""
        newest = ledger.drills(ended=True, limit=1)
        names = frozenset(each.policy for each in seen.policies)
        known = (newest[0].event if newest else 0), names
        if known != self._known:
            self._drills = {
                name: ledger.drills(name, ended=True, limit=_NEWEST) if newest else []
                for name in names
            }
            self._known = known
