"""How far an operation is, told to whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from drkeeper.clock import Clock

_EVERY_S: Final = 0.1
"""Ten times a second is as often as an eye follows."""


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
