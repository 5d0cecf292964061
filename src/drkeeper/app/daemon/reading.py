"""What the page asks beyond the overview, answered from the ledger and the files beside it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.web.reading import PolicyWords, RunLog
from drkeeper.app.wiring.reports import rendered, report_of
from drkeeper.app.wiring.runlogs import read_log
from drkeeper.clock import Clock
from drkeeper.model.alarm import Alarm
from drkeeper.model.planner import slots_of
from drkeeper.model.run import RecoveryPoint, Run, RunId, RunState
from drkeeper.model.schedule import in_words
from drkeeper.reports.quarters import quarter_from_text, quarter_of

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

_NEXT_RUNS: Final = 10


class LedgerReader:
    """Answers for the page. Any number of threads may ask.

    Args:
        configuration: Returns what is in force.
        ledger: Returns the ledger, open to read.
        clock: Says which runs are the next ones.
    """

    def __init__(
        self,
        configuration: Callable[[], Configuration],
        ledger: "Callable[[], Ledger]",
        clock: Clock,
    ) -> None:
        self._configuration = configuration
        self._ledger = ledger
        self._clock = clock
        self._reporting = threading.Lock()
        self._report: tuple[object, bytes] | None = None

    def words(self, policy: str) -> PolicyWords | None:
        """Return what the policy says; ``None`` when there is none of this name now."""
        found = self._configuration().policies.get(policy)
        if found is None:
            return None
        slots = slots_of(found)
        next_runs = list(islice(slots.after(self._clock.now()), _NEXT_RUNS)) if slots else []
        return PolicyWords(
            schedule=in_words(found.schedule) if found.schedule else "",
            protects=list(found.source.paths),
            retention=found.retention.in_words(),
            next_runs=next_runs,
        )

    def runs(
        self, *, policy: str | None = None, state: RunState | None = None, limit: int
    ) -> Sequence[Run]:
        """Return runs, newest first."""
        states = None if state is None else [state]
        return self._ledger().runs(policy, limit=limit, states=states)

    def run(self, run_id: str) -> Run | None:
        """Return one run by its identifier; ``None`` when it is not known."""
        return self._ledger().run(RunId(run_id))

    def points(self, policy: str, *, limit: int) -> Sequence[RecoveryPoint]:
        """Return recovery points of a policy, newest data first."""
        return self._ledger().recovery_points(policy, limit=limit)

    def alarms(self, *, limit: int) -> Sequence[Alarm]:
        """Return alarms, open and past, newest first."""
        return self._ledger().alarms(limit=limit)

    def run_counts(self) -> Mapping[RunState, int]:
        """Return how many runs ended each way, since the ledger began."""
        return self._ledger().count_runs()

    def report(self, quarter: str | None) -> bytes | None:
        """Return the report of a quarter as a page of its own; ``None`` when it is no quarter.

        One is computed at a time, and kept until the ledger or the configuration changes, or a
        minute has passed of a quarter that is not over.
        """
        now = self._clock.now()
        try:
            asked = quarter_of(now) if quarter is None else quarter_from_text(quarter)
        except ValueError:
            return None
        with self._reporting:
            ledger, configuration = self._ledger(), self._configuration()
            newest = ledger.last_event()
            minute = min(now.replace(second=0, microsecond=0), asked.end)
            key = (asked, minute, newest and newest.seq, configuration.definitions())
            if self._report is None or self._report[0] != key:
                made = rendered(report_of(ledger, configuration, asked, now), "html")
                self._report = key, made
            return self._report[1]

    def log(self, run_id: str) -> RunLog | None:
        """Return what a run wrote; ``None`` when nothing was kept."""
        text = read_log(self._configuration().locations.state, RunId(run_id))
        return None if text is None else RunLog(text)
