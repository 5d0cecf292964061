"""Keep the ledger of runs without ever letting it cost a backup.

A ledger that is full, damaged or busy is reported as a warning; the work it should have recorded is
done all the same.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.run import (
    Operation,
    Process,
    RecoveryPoint,
    RunFailure,
    RunId,
    RunState,
    Verification,
)

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger


class RunRecord:
    """The row of one run; the ledger's troubles end here.

    Args:
        path: The ledger's file.
        host: Name of this machine.
        clock: Dates the events.
        warn: Told, in a sentence, what could not be recorded.
    """

    def __init__(self, path: Path, *, host: str, clock: Clock, warn: Callable[[str], None]) -> None:
        self._path = path
        self._host = host
        self._clock = clock
        self._warn = warn
        self._id: RunId | None = None
        self.intact = True

    @property
    def id(self) -> RunId | None:
        """Name of the run, or ``None`` when it could not be recorded."""
        return self._id

    def begin(self, policy: str | None, operation: Operation) -> None:
        """Record that the run has begun, and which earlier ones were interrupted."""

        def record(ledger: "Ledger") -> None:
            ledger.interrupt_dead_runs()
            self._id = ledger.begin_run(policy, operation)

        self._try("that the run began", record)

    def end(
        self,
        state: RunState,
        *,
        result: Mapping[str, object] | None = None,
        made: Iterable[RecoveryPoint | Verification] = (),
        failure: RunFailure | None = None,
    ) -> None:
        """Record how the run ended and what it made."""
        run_id, points = self._id, list(made)

        def record(ledger: "Ledger") -> None:
            if run_id is not None:
                ledger.end_run(run_id, state, result=result, failure=failure, made=points)
                return
            for point in points:  # what was made is worth more than the run that made it
                if isinstance(point, RecoveryPoint):
                    ledger.record_recovery_point(point)
                else:
                    ledger.record_verification(point)

        self._try("how the run ended", record)

    def failed(self, error: BaseException) -> None:
        """Record that the run failed, or was interrupted."""
        if isinstance(error, DrkeeperError):
            failure = RunFailure(type(error).__name__, str(error), error.exit_code, error.hint)
            self.end(RunState.FAILED, failure=failure)
        elif isinstance(error, Exception):
            self.end(RunState.FAILED, failure=RunFailure(type(error).__name__, "defect", 70))
        else:
            self.end(RunState.INTERRUPTED)

    def _try(self, what: str, record: Callable[["Ledger"], None]) -> None:
        try:
            with open_run_ledger(self._path, host=self._host, clock=self._clock) as ledger:
                record(ledger)
        except DrkeeperError as error:
            self.intact = False
            self._warn(f"the ledger could not record {what}: {error}")


def open_run_ledger(path: Path, *, host: str, clock: Clock, read_only: bool = False) -> "Ledger":
    """Open the ledger of this machine.

    Raises:
        LedgerError: It is damaged, busy, or cannot be made.
    """
    from drkeeper.ledger.ledger import open_ledger  # noqa: PLC0415 - see the package
    from drkeeper.ledger.process import this_process  # noqa: PLC0415 - see the package

    def me() -> Process:
        return this_process(host)

    return open_ledger(path, clock=clock, me=me, read_only=read_only)
