"""The only module that asks the time."""

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

    def sleep(self, seconds: float) -> None:
        """Wait for at least ``seconds``."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the current instant by the system's wall clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the system's monotonic time in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Suspend the calling thread."""
        time.sleep(seconds)
