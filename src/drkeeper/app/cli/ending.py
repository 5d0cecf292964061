"""SIGTERM to a run of the daemon: bring what is done to safety, then end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import NoReturn

from drkeeper.app.cli.program import TerminatedError
from drkeeper.clock import Clock, SystemClock


class CheckpointEnding:
    """An end that waits, while the operation defers it, but not for ever.

    SIGTERM ends at once outside of what is deferred. Within it the operation asks, and when it has
    not ended in time, it is ended in the middle. A second SIGTERM changes nothing: systemd and the
    daemon may both send one.

    Args:
        clock: Its sleepers are woken when there is no more waiting.
        within: How long the operation may take.
    """

    def __init__(self, clock: Clock, within: timedelta) -> None:
        self._clock = clock
        self._within_s = within.total_seconds()
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
            signal.setitimer(signal.ITIMER_REAL, 0)

    def end(self) -> NoReturn:
        """End now.

        Raises:
            TerminatedError: Always.
        """
        signal.setitimer(signal.ITIMER_REAL, 0)
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
