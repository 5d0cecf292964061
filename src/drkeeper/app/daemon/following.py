"""Incidents as the daemon keeps them: looked at together with the alarms."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from drkeeper.app.daemon.jumps import Times
from drkeeper.app.wiring.execution import Log
from drkeeper.model.alarm import AlarmKind, Subject
from drkeeper.model.drill_record import Drill
from drkeeper.model.status import Overview
from drkeeper.operations.incidents import follow, telling

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

_NEWEST: Final = 10
"""Drills of a policy that are looked at: the newest that says something is nearly always the first."""

_LATELY: Final = 20
"""So many drills that have ended since the last look are looked at one by one; of more, all policies
are. Source: ours."""


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
        self._last = 0
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
        """Read the drills again of whom one has ended of since, or who is new."""
        newest = ledger.drills(ended=True, limit=_LATELY)
        names = frozenset(each.policy for each in seen.policies)
        later = [each for each in newest if each.event > self._last]
        asked = names - self._drills.keys() | names & {each.plan.policy for each in later}
        if len(later) == _LATELY:
            asked = names  # there may be more than were asked for
        kept = {name: drills for name, drills in self._drills.items() if name in names}
        for name in asked:
            found = ledger.drills(name, ended=True, limit=_NEWEST) if newest else []
            kept[name] = telling(found)
        self._drills = kept
        self._last = max((each.event for each in newest), default=0)
