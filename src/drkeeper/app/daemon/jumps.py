"""Notice that the wall clock was set, or that the machine slept; never mix up the two.

Three clocks are compared between two looks: the wall clock, which anybody may set; the time since
boot, which nobody sets and which goes on while the machine sleeps; and monotonic time, which stands
still meanwhile. A wall clock that went another way than the time since boot was set. Time since boot
that monotonic time knows nothing of was slept.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

JUMP: Final = timedelta(minutes=1)
"""From when a change of the wall clock is told. Source: ours; what is planned is planned by minutes,
and clocks that are kept by NTP are never corrected by more."""
SLEEP: Final = timedelta(seconds=10)


class Times(Protocol):
    """The three clocks."""

    def now(self) -> datetime:
        """Return the wall time."""
        ...

    def monotonic(self) -> float:
        """Return seconds of running time."""
        ...

    def since_boot(self) -> float:
        """Return seconds since boot, those of sleep among them."""
        ...


@dataclass(frozen=True, slots=True)
class Passage:
    """What passed between two looks.

    Attributes:
        at: The wall time now.
        running: Time for which the machine ran.
        slept: Time for which it did not.
        jumped: By how much the wall clock was set; negative for back.
    """

    at: datetime
    running: timedelta
    slept: timedelta
    jumped: timedelta

    @property
    def was_set(self) -> bool:
        """Whether the wall clock was set by enough to tell somebody."""
        return abs(self.jumped) >= JUMP

    @property
    def was_asleep(self) -> bool:
        """Whether the machine was suspended."""
        return self.slept >= SLEEP


class ClockWatch:
    """Compares the clocks from one look to the next.

    Args:
        clock: Read once now, and at each look.
    """

    def __init__(self, clock: Times) -> None:
        self._clock = clock
        self._last = self._read()

    def look(self) -> Passage:
        """Return what passed since the last look, or since the beginning."""
        last, this = self._last, self._read()
        self._last = this
        by_wall = this[0] - last[0]
        running = timedelta(seconds=this[1] - last[1])
        since_boot = timedelta(seconds=this[2] - last[2])
        return Passage(this[0], running, since_boot - running, by_wall - since_boot)

    def _read(self) -> tuple[datetime, float, float]:
        return self._clock.now(), self._clock.monotonic(), self._clock.since_boot()
