"""Alarms follow conditions: raised once when one begins to hold, cleared once when it does not.

There is no hysteresis here. A condition that is gone is cleared at the next look, and one that
comes back is a new alarm, with a number and a beginning of its own; rules that need a longer look
(80 % of an objective, ten minutes without progress) have it in the condition itself.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace

from drkeeper.faults import point
from drkeeper.model.alarm import Alarm, Condition, Subject


class KeepsAlarms(Protocol):
    """The part of a ledger that this needs."""

    def change_alarms(
        self, *, begun: Sequence[Condition] = (), over: Sequence[int] = ()
    ) -> tuple[list[Alarm], list[Alarm]]:
        """Record what begins and what ends, in one transaction; harmless to repeat."""
        ...

    def open_alarms(self) -> list[Alarm]:
        """Return the alarms that hold."""
        ...


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one look changed.

    Attributes:
        raised: New alarms.
        cleared: Those that are over.
    """

    raised: Sequence[Alarm] = ()
    cleared: Sequence[Alarm] = ()


def reconcile(
    ledger: KeepsAlarms,
    conditions: Iterable[Condition],
    now: datetime,
    *,
    mine: Callable[[Subject], bool] = lambda _: True,
) -> Reconciled:
    """Make the ledger's open alarms those of ``conditions``; nothing else is written.

    Any number of daemons may do this at once on one ledger: the ledger keeps one open alarm for a
    kind and a subject.

    Args:
        ledger: Where alarms are kept.
        conditions: All that is wrong now with what this process looks after.
        now: No condition has held since later than this, whatever clock said so.
        mine: Whether this process looks after a subject. On a ledger that several daemons share,
            only those who look can say that a thing is over.

    Raises:
        DrkeeperError: The ledger cannot be read or written; nothing was changed.
    """
    wrong = {(each.kind, each.subject): each for each in reversed(tuple(conditions))}
    before = ledger.open_alarms()
    known = {(each.condition.kind, each.condition.subject) for each in before}
    begun = [
        replace(condition, since=min(condition.since, now))
        for key, condition in reversed(wrong.items())
        if key not in known
    ]
    over = [
        alarm.id
        for alarm in before
        if (alarm.condition.kind, alarm.condition.subject) not in wrong
        and mine(alarm.condition.subject)
    ]
    if not begun and not over:
        return Reconciled()
    point("operations.alarming.changing")
    raised, cleared = ledger.change_alarms(begun=begun, over=over)
    point("operations.alarming.changed")
    return Reconciled(raised, cleared)
