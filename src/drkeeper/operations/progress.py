"""How far an operation is, told to whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from drkeeper.clock import Clock

_EVERY_S: Final = 0.1
"""Ten times a second is as often as an eye follows."""

_FILE_WORK: Final = 8192
"""How many bytes of content take as long as creating a file, for the estimate of what is left."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of an operation.

    Attributes:
        phase: A word for what is being done.
        files: Paths done.
        files_total: Paths there are, when known.
        plain_bytes: Bytes of content done.
        plain_total: Bytes there are, when known.
        stored_bytes: Bytes put into, or fetched from, the store.
        current_path: What is being worked on.
    """

    phase: str
    files: int = 0
    files_total: int | None = None
    plain_bytes: int = 0
    plain_total: int | None = None
    stored_bytes: int = 0
    current_path: bytes = b""

    @property
    def fraction(self) -> float | None:
        """Share of the work that is done, 0 to 1; ``None`` when nobody knows.

        Totals may be those of the last time: more than that is no reason to be done and go on.
        """
        if self.plain_total is None and self.files_total is None:
            return None
        total = (self.plain_total or 0) + _FILE_WORK * (self.files_total or 0)
        done = self.plain_bytes if self.plain_total is not None else 0
        done += _FILE_WORK * self.files if self.files_total is not None else 0
        if done > total:
            return None
        return done / total if total else 1.0

    def remaining_s(self, elapsed_s: float) -> float | None:
        """Return the seconds left at the rate so far; ``None`` before anything is done."""
        fraction = self.fraction
        return elapsed_s * (1 - fraction) / fraction if fraction else None


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Show nothing."""
    del progress


class Ticker:
    """Says when it is time to show progress again."""

    def __init__(self, clock: Clock) -> None:
        """Begin now."""
        self._clock = clock
        self._next = 0.0

    def due(self) -> bool:
        """Whether enough time has passed since the last time this was true."""
        now = self._clock.monotonic()
        if now < self._next:
            return False
        self._next = now + _EVERY_S
        return True
