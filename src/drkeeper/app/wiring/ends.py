"""How the process of a run ended, and what the ledger is told of it."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from drkeeper.app.wiring.runs import LEASE
from drkeeper.errors import FencedError, RunningError
from drkeeper.model.run import RunFailure, RunId, RunState

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

DONE: Final = frozenset({0, 3})
"""Exit codes of runs that made a snapshot. Source: docs/exit-codes.md."""
_SIGNALLED: Final = frozenset({130, 143})
"""Exit codes of runs that a signal told to end, and that did. Source: docs/exit-codes.md."""
_HINT_KILLED: Final = "Run journalctl -k to see whether memory ran out; limits.memory of the policy makes it need less."
_HINT_SIGNALLED: Final = "Find out who sent the signal, and read the log of the run."


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        policy: What it ran.
        run: Its row in the ledger.
        code: Exit code; ``None`` when a signal ended it.
        signal: That signal.
        seconds: How long it lived.
        error: The last error it told: ``error``, ``message``, ``code``, ``hint``.
        summary: What it told at its end.
        asked: Whether it was asked to end.
        pid: Its process; ``None`` when it could not be started.
    """

    policy: str
    run: RunId
    code: int | None
    signal: int | None = None
    seconds: float = 0.0
    error: Mapping[str, object] | None = None
    summary: Mapping[str, object] | None = None
    asked: bool = False
    pid: int | None = None

    @property
    def how(self) -> str:
        """Say how it ended, in words."""
        if self.signal is not None:
            why = ", perhaps for want of memory" if self.is_killed else ""
            return f"was killed by signal {self.signal}{why}"
        if self.is_told_by_others:
            return "was told to end by somebody else than drkeeper"
        return f"ended with exit code {self.code}"

    @property
    def is_killed(self) -> bool:
        """Whether it was killed, and not by who began it."""
        return self.signal == signal.SIGKILL and not self.asked

    @property
    def is_told_by_others(self) -> bool:
        """Whether it ended well, since somebody else than who began it wanted it to."""
        return self.code in _SIGNALLED and not self.asked

    @property
    def is_fenced(self) -> bool:
        """Whether the run is somebody else's, or has to wait for somebody."""
        return self.code == FencedError.exit_code

    @property
    def is_elsewhere(self) -> bool:
        """Whether nothing was begun, since somebody else runs the same, and tells of it."""
        return self.is_fenced and (self.error or {}).get("error") == RunningError.__name__


def verdict_on(ended: Ended) -> tuple[RunState, RunFailure]:
    """Return what to record of a run whose child did not record anything."""
    told = ended.error or {}
    message = told.get("message")
    if ended.code in DONE:
        text = "the ledger did not take what the run recorded"
        return RunState.WARNINGS, RunFailure("LedgerError", text, ended.code or 0)
    hint = told.get("hint")
    if ended.signal is not None or ended.is_told_by_others:
        message, hint = None, _HINT_KILLED if ended.is_killed else _HINT_SIGNALLED
    return RunState.FAILED, RunFailure(
        kind="ProcessError" if message is None else str(told.get("error") or "ProcessError"),
        message=str(message) if message else f"the process of the run {ended.how}",
        exit_code=ended.code or 1,
        hint=str(hint) if hint else "Read the log of the run.",
    )


def record_end(ledger: "Ledger", ended: Ended) -> None:
    """Record the end of a run that its process has not recorded, or as if it were to be made up.

    Only a run that was cut off together with whoever began it, or asked by it to end, is made up at
    once. One that died by itself would do so at every tick: it has failed, and is tried again when
    its time has come.

    Raises:
        LedgerError: It cannot be read or written.
    """
    known = ledger.run(ended.run)
    if known is None or ended.asked or ended.is_fenced:
        return  # a fenced one goes on waiting for the other run of its policy
    if known.state is RunState.QUEUED:
        mine = ledger.claim_run(ended.run, lease=LEASE)
    else:
        unfinished = known.state in {RunState.RUNNING, RunState.INTERRUPTED}
        mine = unfinished and known.process.pid == ended.pid  # else another machine was quicker
    if mine:
        state, failure = verdict_on(ended)
        ledger.end_run(ended.run, state, failure=failure)
