"""The thread that does the work of a tick, apart from whatever says that it is time."""

import threading
from collections.abc import Callable
from datetime import timedelta

from drkeeper.clock import Clock


class Rounds:
    """Does one thing whenever it is called to, never twice at a time.

    Calls that come while it is being done count as one, and lead to one more round.

    Args:
        work: What is done; an exception ends the round, not the thread.
        clock: Times the rounds.
        patience: How long a call is waited for before a round is done without.
        name: Of the thread.
        on_error: Told of what ``work`` raised.
    """

    def __init__(
        self,
        work: Callable[[], None],
        *,
        clock: Clock,
        patience: timedelta,
        name: str,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._work = work
        self._clock = clock
        self._patience = patience
        self._on_error = on_error
        self._called = threading.Event()
        self._ending = False
        self._first = threading.Event()
        self._done_s = clock.monotonic()
        self._thread = threading.Thread(target=self._go_round, name=name, daemon=True)

    def begin(self) -> None:
        """Begin to listen; the first round is done at once."""
        self._done_s = self._clock.monotonic()
        self.call()
        self._thread.start()

    def call(self) -> None:
        """Ask for a round, soon; never waits."""
        self._called.set()

    def wait_for_first(self, within: timedelta) -> bool:
        """Wait until a round has ended, well or not; say whether one has."""
        return self._first.wait(within.total_seconds())

    def end(self, within: timedelta) -> bool:
        """Do no more rounds, and say whether the one that went on has ended ``within`` the time."""
        self._ending = True
        self.call()
        if self._thread.is_alive():
            self._thread.join(within.total_seconds())
        return not self._thread.is_alive()

    @property
    def late(self) -> timedelta:
        """Time since the last round ended well, or since the beginning."""
        return timedelta(seconds=self._clock.monotonic() - self._done_s)

    def _go_round(self) -> None:
        while True:
            self._called.wait(self._patience.total_seconds())
            self._called.clear()
            if self._ending:
                return
            self.once()

    def once(self) -> None:
        """Do one round in the calling thread."""
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - a defect must not end the thread: it is told
            self._on_error(error)
        else:
            self._done_s = self._clock.monotonic()
        self._first.set()
