"""Keep the ledger of runs without ever letting it cost a backup.

A ledger that is full, damaged, busy or out of reach is reported as a warning; the work it should have
recorded is done all the same. Only one thing is taken from it: that a living run does this already.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from drkeeper.app.config.configuration import Configuration
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError, RunningError
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

LEASE: Final = timedelta(seconds=60)
"""How long a run is believed to live without a sign of it; others take it for dead after twice as
long. Source: ours; longer than a store of daemons' ledger takes to be restarted."""

RENEW_EVERY: Final = timedelta(seconds=10)
"""How often a run shows that it lives. Source: ours; a sixth of the lease."""

_GRACE_S: Final = 1.0
"""How long the end of a run waits for its last sign of life to be written."""

Progress = Callable[[], Mapping[str, object]]
"""Tells how far a run is, in a few numbers and words; called from another thread."""


def nothing_yet() -> Mapping[str, object]:
    """Tell nothing about how far a run is."""
    return {}


class RunRecord:
    """The row of one run; the ledger's troubles end here.

    From its begin to its end a thread shows that the run lives. It is a daemon thread: a process
    that ends otherwise is not held up by it, and is found dead.

    Args:
        place: The ledger: its file, or its URL.
        host: Name of this machine.
        clock: Dates the events.
        warn: Told, in a sentence, what could not be recorded.
        renew_every: How often the run shows that it lives.
    """

    def __init__(
        self,
        place: Path | str,
        *,
        host: str,
        clock: Clock,
        warn: Callable[[str], None],
        renew_every: timedelta = RENEW_EVERY,
    ) -> None:
        self._place = place
        self._host = host
        self._clock = clock
        self._warn = warn
        self._renew_every = renew_every
        self._id: RunId | None = None
        self._ended = threading.Event()
        self._renewer: threading.Thread | None = None
        self.intact = True
        self.lost = False
        """Whether others took this run for dead while it lived."""

    @property
    def id(self) -> RunId | None:
        """Name of the run, or ``None`` when it could not be recorded."""
        return self._id

    def begin(
        self,
        policy: str | None,
        operation: Operation,
        run_id: RunId | None = None,
        *,
        progress: Progress = nothing_yet,
    ) -> None:
        """Record that the run has begun, and which earlier ones were interrupted.

        Args:
            policy: Whose run; ``None`` for one about a whole repository.
            operation: What it does.
            run_id: A queued run to claim, instead of beginning one of its own.
            progress: Asked from another thread, now and then, how far the run is.

        Raises:
            RunningError: A living run of the policy does the same, or the queued run is not queued
                any more; nothing was begun.
        """

        def record(ledger: "Ledger") -> None:
            ledger.interrupt_dead_runs()
            if run_id is not None and ledger.claim_run(run_id, lease=LEASE):
                self._id = run_id
            elif run_id is None or ledger.run(run_id) is None:
                # One that the ledger has never heard of was begun because it could not be written.
                self._id = ledger.begin_run(
                    policy,
                    operation,
                    lease=LEASE,
                    alone=operation is Operation.BACKUP,
                    run_id=run_id,
                )
            else:
                raise RunningError(
                    f"run {run_id} of policy {policy!r} is not queued any more",
                    hint="Run drkeeper status to see what became of it.",
                    run=run_id,
                )

        self._try("that the run began", record)
        if self._id is not None:
            self._renew(self._id, progress)

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
        self._ended.set()

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
        if self._renewer is not None:
            self._renewer.join(_GRACE_S)

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
            with open_run_ledger(self._place, host=self._host, clock=self._clock) as ledger:
                record(ledger)
        except RunningError:
            raise
        except DrkeeperError as error:
            self.intact = False
            self._warn(f"the ledger could not record {what}: {error}")

    def _renew(self, run_id: RunId, progress: Progress) -> None:
        def work() -> None:
            troubled = False
            while not self.lost and not self._ended.wait(self._renew_every.total_seconds()):
                try:
                    with open_run_ledger(self._place, host=self._host, clock=self._clock) as ledger:
                        mine = ledger.renew_lease(run_id, lease=LEASE, progress=progress())
                        self.lost = not mine and not self._ended.is_set()
                except DrkeeperError as error:
                    # Said once: the backup goes on, and what matters is recorded at its end.
                    if not troubled:
                        self._warn(f"the ledger could not record that the run goes on: {error}")
                    troubled = True

        self._renewer = threading.Thread(target=work, name="lease", daemon=True)
        self._renewer.start()


def ledger_place(configuration: Configuration) -> Path | str:
    """Return where the ledger of an installation is: its file, or the URL of a shared one."""
    return configuration.ledger or configuration.locations.ledger


def shown_place(place: Path | str) -> str:
    """Return where a ledger is, as people may see it: a URL without its password."""
    from drkeeper.ledger.postgresql import shown  # noqa: PLC0415 - see the package

    return shown(str(place))


def open_run_ledger(
    place: Path | str,
    *,
    host: str,
    clock: Clock,
    read_only: bool = False,
    patience: timedelta | None = None,
) -> "Ledger":
    """Open the ledger of this machine, or the one it shares with others.

    Args:
        place: Path of the file, or ``postgresql://...``.
        host: Name of this machine.
        clock: Dates the events.
        read_only: Open only what exists, and never write.
        patience: Longest wait for others; ``None`` for the ledger's own.

    Raises:
        LedgerError: It is damaged, busy, out of reach, or cannot be made.
    """
    from drkeeper.ledger.connecting import PATIENCE  # noqa: PLC0415 - see the package
    from drkeeper.ledger.ledger import open_ledger  # noqa: PLC0415 - see the package
    from drkeeper.ledger.process import this_process  # noqa: PLC0415 - see the package

    def me() -> Process:
        return this_process(host)

    waits = patience or PATIENCE
    return open_ledger(place, clock=clock, me=me, read_only=read_only, patience=waits)
