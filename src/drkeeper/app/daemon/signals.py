"""Signals as messages: a handler only notes what came, and the main thread deals with it."""

import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

HEARD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """What was asked of this process, in order.

    The queue is one that a handler may write to while the main thread is just reading from it.
    """

    def __init__(self) -> None:
        self._came: queue.SimpleQueue[int] = queue.SimpleQueue()

    def next(self, within: float) -> signal.Signals | None:
        """Return the next signal; ``None`` when none came within so many seconds."""
        try:
            return signal.Signals(self._came.get(timeout=within))
        except queue.Empty:
            return None

    def put(self, number: signal.Signals) -> None:
        """Ask for the same from within the process."""
        self._came.put(number)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen within the context, in place of whoever did before; only in the main thread."""
        before = {number: signal.getsignal(number) for number in HEARD}
        for number in HEARD:
            signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.put(number)
