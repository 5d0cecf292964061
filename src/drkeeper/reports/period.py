"""What all sections are computed from: the history, the configuration, and the bounds of a quarter."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from drkeeper.reports.history import History, Mark, Record
from drkeeper.reports.quarters import Quarter
from drkeeper.reports.scope import PolicyScope, Scope

TREND: Final = 8
"""Quarters over which trends are shown. Source: design; two years."""

SOUND: Final = frozenset({"proven", "too-old", "too-slow"})
"""Verdicts that show restorable, right data. Source: drkeeper.model.drill.Verdict.sound."""


@dataclass(frozen=True)
class Period:
    """A quarter, as far as it has come.

    Attributes:
        history: All records up to its end.
        scope: What is promised.
        quarter: Which one.
        until: Its end; before that, the instant up to which is reported.
    """

    history: History
    scope: Scope
    quarter: Quarter
    until: datetime

    @property
    def begin(self) -> datetime:
        """The first instant of the quarter."""
        return self.quarter.begin

    @property
    def complete(self) -> bool:
        """Whether the quarter is over."""
        return self.until >= self.quarter.end

    @property
    def before(self) -> Mark:
        """How far the chain was when the quarter began."""
        return self.history.marks[self.begin]

    @property
    def last(self) -> Mark:
        """How far it has come."""
        return self.history.marks[self.until]

    @cached_property
    def policies(self) -> list[str]:
        """Names of policies that are configured, or that the quarter has something of."""
        found = {each.policy for each in self.scope.policies}
        found |= {kind.policy for kind in self.history.succeeded if kind.policy}
        found |= {name for name in self.history.points if self.points(name)}
        for table in ("run", "drill", "incident"):
            found |= {name for each in self.ended(table) if (name := each.body.get("policy"))}
        return sorted(found)

    def ended(self, table: str) -> list[Record]:
        """Return the records that the quarter has news of."""
        return self.history.ended(table, self.before.size, self.last.size)

    def closed(self, table: str, name: str = "ended_at") -> list[Record]:
        """Return the records of things that ended in the quarter."""
        return [each for each in self.ended(table) if each.body.get(name) is not None]

    def points(self, policy: str) -> list[int]:
        """Return the events of the quarter's recovery points of a policy."""
        known = self.history.points.get(policy)
        return [] if known is None else [known.events[at] for at in known.after(self.before.size)]

    def of(self, records: Sequence[Record], policy: str) -> list[Record]:
        """Return those of one policy."""
        return [each for each in records if each.body.get("policy") == policy]

    def promise(self, policy: str) -> PolicyScope | None:
        """Return what is promised for a policy; ``None`` when it is not configured."""
        return next((each for each in self.scope.policies if each.policy == policy), None)

    def quarters(self) -> list[tuple[Quarter, int, int]]:
        """Return the last quarters, oldest first: after which event each begins, and its last."""
        found = []
        for ago in reversed(range(TREND)):
            quarter = self.quarter.before(ago)
            end = self.until if ago == 0 else quarter.end
            found.append(
                (quarter, self.history.marks[quarter.begin].size, self.history.marks[end].size)
            )
        return found


def stops_of(quarter: Quarter, until: datetime) -> list[datetime]:
    """Return the instants at which the chain is marked for a report."""
    return [*(quarter.before(ago).begin for ago in reversed(range(TREND))), until]


def is_sound(drill: Record) -> bool:
    """Whether a drill has shown restorable, right data."""
    return drill.body.get("verdict") in SOUND
