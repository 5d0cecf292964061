"""What the page asks beyond the overview, and of whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from drkeeper.model.alarm import Alarm
from drkeeper.model.run import RecoveryPoint, Run, RunState


@dataclass(frozen=True, slots=True)
class PolicyWords:
    """What a policy says, for people.

    Attributes:
        schedule: When it runs, as a phrase; empty when it runs by hand only.
        protects: What it protects, each a phrase.
        retention: What is kept, each a phrase; empty for everything.
        next_runs: Its next runs, the soonest first.
    """

    schedule: str
    protects: Sequence[str] = ()
    retention: Sequence[str] = ()
    next_runs: Sequence[datetime] = ()


@dataclass(frozen=True, slots=True)
class RunLog:
    """The end of what a run wrote.

    Attributes:
        text: Whole lines; bytes that are no UTF-8 are replaced.
        cut: Whether there was more before.
    """

    text: str
    cut: bool = False


class Reader(Protocol):
    """Answers from the ledger and the files beside it; each may raise ``DrkeeperError``."""

    def words(self, policy: str) -> PolicyWords | None:
        """Return what the policy says; ``None`` when there is none of this name now."""
        ...

    def runs(
        self, *, policy: str | None = None, state: RunState | None = None, limit: int
    ) -> Sequence[Run]:
        """Return runs, newest first."""
        ...

    def run(self, run_id: str) -> Run | None:
        """Return one run by its identifier; ``None`` when it is not known."""
        ...

    def points(self, policy: str, *, limit: int) -> Sequence[RecoveryPoint]:
        """Return recovery points of a policy, newest data first."""
        ...

    def alarms(self, *, limit: int) -> Sequence[Alarm]:
        """Return alarms, open and past, newest first."""
        ...

    def run_counts(self) -> Mapping[RunState, int]:
        """Return how many runs ended each way, since the ledger began."""
        ...

    def report(self, quarter: str | None) -> bytes | None:
        """Return the report of a quarter as a page of its own; ``None`` when it is no quarter.

        Args:
            quarter: Which one, such as ``2026Q4``; the present one when ``None``.
        """
        ...

    def log(self, run_id: str) -> RunLog | None:
        """Return what a run wrote; ``None`` when nothing was kept."""
        ...
