"""SIGTERM to a run of the daemon: bring what is done to safety, then end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Final, NoReturn

from drkeeper.app.cli.program import TerminatedError
from drkeeper.clock import Clock, SystemClock

LAST: Final = timedelta(seconds=30)
"""How long a run may take to let go of everything: its hooks have 20 s of that. Source: ours."""


class CheckpointEnding:
    """An end that waits, while the operation defers it, but not for ever.

    SIGTERM ends at once outside of what is deferred. Within it the operation asks, and when it has
    not ended in time, it is ended in the middle. A second SIGTERM changes nothing: systemd and the
    daemon may both send one. What still has not ended then, for it waits for a thread that hangs,
    is killed: whoever began the run waits for it, and may have nobody who ends it.

    Args:
        clock: Its sleepers are woken when there is no more waiting.
        within: How long the operation may take.
        last: How long the process may take after that.
    """

    def __init__(self, clock: Clock, within: timedelta, last: timedelta = LAST) -> None:
        self._clock = clock
        self._within_s = within.total_seconds()
        self._last_s = last.total_seconds()
        self._ending = False
        self._wanted = False
        self._deferring = False

    @property
    def wanted(self) -> bool:
        """Whether SIGTERM came."""
        return self._wanted

    def install(self) -> None:
        """Answer SIGTERM from now on; only in the main thread."""
        signal.signal(signal.SIGTERM, self._asked)
        signal.signal(signal.SIGALRM, self._late)

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """Let SIGTERM only be noted, and time begin to run."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
            if not self._ending:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def end(self) -> NoReturn:
        """End now.

        Raises:
            TerminatedError: Always.
        """
        self._ending = True
        # The kernel itself ends the process: no thread of it, and no lock, is in the way.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, self._last_s)
        if isinstance(self._clock, SystemClock):
            self._clock.stop()
        raise TerminatedError

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        if self._wanted:
            return
        self._wanted = True
        if not self._deferring:
            self.end()
        signal.setitimer(signal.ITIMER_REAL, self._within_s)

    def _late(self, _number: int, _frame: FrameType | None) -> None:
        if self._deferring:
            self.end()
