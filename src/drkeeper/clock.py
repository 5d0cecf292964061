"""The only module that asks the time."""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time to date things, monotonic time to measure them; never mixed."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow; the origin means nothing."""
        ...

    def since_boot(self) -> float:
        """Return seconds that grow as ``monotonic`` does, and while the machine is suspended, too."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for at least ``seconds``.

        Raises:
            StoppedError: What this thread does is not wanted any more.
        """
        ...


class StoppedError(BaseException):
    """The run is being ended: what a thread waited to do must not be done."""


class SystemClock:
    """The machine's own clocks."""

    def __init__(self) -> None:
        """Let everybody sleep."""
        self._stopped = threading.Event()
        self._stopping = False

    def stop(self) -> None:
        """Wake every thread but the main one, and let none of them sleep again.

        For signal handlers: who waits for a bandwidth limit, or to try again, must not keep a run
        from ending. The main thread is the one that cleans up, and may have to wait for that.
        """
        # One handler may interrupt another in the midst of this, and would wait for it for ever.
        if not self._stopping:
            self._stopping = True
            self._stopped.set()

    def now(self) -> datetime:
        """Return the current instant by the system's wall clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the system's monotonic time in seconds."""
        return time.monotonic()

    def since_boot(self) -> float:
        """Return seconds since boot, the time for which the machine was suspended among them.

        Source:
            clock_gettime(2), CLOCK_BOOTTIME.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        """Suspend the calling thread.

        Raises:
            StoppedError: ``stop`` was called, before or meanwhile; never in the main thread.
        """
        # The main thread never touches the event's lock: a signal handler that runs in it does.
        if threading.current_thread() is threading.main_thread():
            time.sleep(seconds)
        elif self._stopped.wait(seconds):
            raise StoppedError
