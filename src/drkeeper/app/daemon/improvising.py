"""What to begin while the ledger cannot be asked or written: a backup is worth more than its record.

The ledger decides, as long as it can. When it has been in trouble for a while, what was planned last
goes on from memory. Such a run cannot be recorded; the recovery point that it makes is in the
repository. When the ledger works again it decides anew, and may have the slot run once more.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from drkeeper.clock import Clock
from drkeeper.model.planner import Decision
from drkeeper.model.policy import Policy


class Improviser:
    """Remembers what was planned, and what has been begun since.

    Args:
        clock: Says how long the trouble has lasted.
        after: How long the ledger may be in trouble before anything is begun without it.
    """

    def __init__(self, clock: Clock, after: timedelta) -> None:
        self._after = after
        self._clock = clock
        self._known_at = clock.now()
        self._trouble_s: float | None = None
        self._decisions: Mapping[str, Decision] = {}
        self._begun: dict[str, datetime] = {}

    def learn(self, decisions: Mapping[str, Decision], now: datetime) -> None:
        """Remember what the ledger's history says."""
        self._decisions, self._known_at = decisions, now
        self._begun.clear()

    def began(self, policies: Iterable[str], now: datetime) -> None:
        """Remember what was begun since."""
        self._begun |= dict.fromkeys(policies, now)

    def over(self) -> None:
        """The ledger works: nothing is begun from memory."""
        self._trouble_s = None

    def due(
        self, policies: Mapping[str, Policy], running: Collection[str], now: datetime
    ) -> list[Policy]:
        """Return the policies to begin now, and remember that they were.

        Args:
            policies: All of them, by name.
            running: Names of those that run or wait to.
            now: The instant to decide for.
        """
        now_s = self._clock.monotonic()
        if self._trouble_s is None:
            self._trouble_s = now_s
        if now_s - self._trouble_s < self._after.total_seconds():
            return []
        found = [
            policy
            for name, policy in policies.items()
            if name not in running and not _is_paused(policy, now) and self._is_due(policy, now)
        ]
        self.began((policy.name for policy in found), now)
        return found

    def _is_due(self, policy: Policy, now: datetime) -> bool:
        last = self._begun.get(policy.name)
        decision = self._decisions.get(policy.name)
        if last is None and decision is not None:
            if decision.slot is not None:
                return True
            if decision.next_at is not None:
                return now >= decision.next_at
        at = _next(policy, last or self._known_at)
        return at is not None and now >= at


def _next(policy: Policy, last: datetime) -> datetime | None:
    """Return when a policy is due again that was looked after at ``last``."""
    if policy.schedule is None and policy.objectives.rpo is not None:
        return last + policy.objectives.rpo / 2
    return policy.next_due(last)


def _is_paused(policy: Policy, now: datetime) -> bool:
    return policy.pause is not None and now < policy.pause.until
