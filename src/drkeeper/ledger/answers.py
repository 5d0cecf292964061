"""What a status asks of a ledger, whichever way the ledger is read."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final, Protocol

from drkeeper.model.alarm import Alarm
from drkeeper.model.drill import Shown
from drkeeper.model.run import (
    DaemonBeat,
    Lease,
    Operation,
    RecoveryPoint,
    Run,
    RunState,
    SeenPolicy,
    Verification,
)

CLOCK_ERROR: Final = timedelta(minutes=1)
"""By how much the clocks of hosts that share a ledger may differ. Source: ours; NTP keeps them within
a second."""


class Answers(Protocol):
    """A :class:`drkeeper.ledger.ledger.Ledger`, or a :class:`drkeeper.ledger.reader.Reader`."""

    def policies(self) -> dict[str, SeenPolicy]:
        """Return every policy that was ever seen."""

    def runs(
        self,
        policy: str,
        /,
        *,
        limit: int,
        states: Collection[RunState] | None = None,
        operation: Operation | None = None,
    ) -> list[Run]:
        """Return runs of a policy, newest first; of an operation and in some states, if given."""

    def recent_runs(self, per_policy: int, /) -> dict[str, list[Run]]:
        """Return the newest runs of every policy that has any, newest first."""

    def newest_points(self) -> dict[str, RecoveryPoint]:
        """Return the recovery point with the newest data of every policy that has one."""

    def shown_by_drills(self) -> dict[str, Shown]:
        """Return what drills have shown of every policy that has any."""

    def leases(self) -> list[Lease]:
        """Return who works on what, in the order of the runs' names."""

    def verifications(self, *, limit: int) -> list[Verification]:
        """Return outcomes of checks, newest first."""

    def open_alarms(self) -> list[Alarm]:
        """Return the alarms that hold now, oldest first."""

    def daemons(self) -> list[DaemonBeat]:
        """Return the daemons that have shown signs of life, the newest sign first."""
