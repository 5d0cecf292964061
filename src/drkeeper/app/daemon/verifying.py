"""Verify the ledger at the start and then daily: an altered record is told without being asked."""

import gc
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.wiring.execution import Log
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.heap import return_free_memory
from drkeeper.model.alarm import AlarmKind, Condition, Subject

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

EVERY: Final = timedelta(days=1)


class Verifier:
    """Looks whether the ledger is what was written.

    Args:
        open_ledger: Opens it.
        concerns: Takes what is found.
        ledger: Names the ledger in alarms.
        clock: Says when it is time again.
        log: Told of the outcome.
    """

    def __init__(
        self,
        open_ledger: "Callable[[], Ledger]",
        *,
        concerns: Concerns,
        ledger: Subject,
        clock: Clock,
        log: Log,
    ) -> None:
        self._open_ledger = open_ledger
        self._concerns = concerns
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._done_s: float | None = None
        self.verified_at: datetime | None = None
        """When it was last found to be sound."""

    def verify_when_due(self) -> None:
        """Verify it when a day has passed since; one that cannot be opened is tried again soon."""
        now_s = self._clock.monotonic()
        if self._done_s is not None and now_s - self._done_s < EVERY.total_seconds():
            return
        point("app.daemon.verifying.verifying")
        try:
            with closing(self._open_ledger()) as ledger:
                report = ledger.verify()
        except DrkeeperError as error:
            self._log("ledger.unavailable", error=str(error))
            return
        point("app.daemon.verifying.verified")
        # It has held tens of megabytes, which nobody needs for another day.
        gc.collect()
        return_free_memory()
        self._done_s = now_s
        if report.ok:
            self.verified_at = self._clock.now()
            self._concerns.drop(AlarmKind.LEDGER_TROUBLE, self._ledger)
            self._log("ledger.verified", events=report.events)
            return
        self._log("ledger.damaged", findings=list(report.findings)[:10])
        self._concerns.hold(
            Condition(
                AlarmKind.LEDGER_TROUBLE,
                self._ledger,
                f"the ledger on {self._ledger.name} was changed or damaged: {report.findings[0]}",
                "Run drkeeper ledger verify, and keep the file as it is.",
                self._clock.now(),
            )
        )
