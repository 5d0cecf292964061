"""Clocks that tests move."""

import threading
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Time that passes only when told to, or by sleeping; wall and monotonic apart.

    Attributes:
        slept: Every pause that was asked for, in seconds.
    """

    def __init__(self, at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self._lock = threading.Lock()
        self._now = at
        self._monotonic = 1000.0
        self._asleep = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Return the wall time."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Return the monotonic time."""
        with self._lock:
            return self._monotonic

    def since_boot(self) -> float:
        """Return the monotonic time and that of all suspensions."""
        with self._lock:
            return self._monotonic + self._asleep

    def suspend(self, by: timedelta) -> None:
        """Let the machine sleep: monotonic time stands still meanwhile."""
        with self._lock:
            self._now += by
            self._asleep += by.total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let that much time pass at once."""
        with self._lock:
            self.slept.append(seconds)
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Let time pass on both clocks."""
        with self._lock:
            self._now += by
            self._monotonic += by.total_seconds()

    def jump(self, by: timedelta) -> None:
        """Set the wall clock, as an operator or NTP does; no time passes."""
        with self._lock:
            self._now += by
