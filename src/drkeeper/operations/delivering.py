"""Letter boxes: each channel's own thread and queue, so that none waits for another.

Whoever posts never waits. A receiver that hangs, refuses or floods costs its own thread its own
time; what does not fit into the box is not taken, and stays due in the ledger.
"""

import random
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError, NotifyUnavailableError
from drkeeper.faults import point
from drkeeper.notify.base import MOST_SECONDS, Notifier
from drkeeper.operations.notifying import Delivery

CAPACITY: Final = 64
"""Deliveries that wait in one box. Source: ours; alarms come gathered, runs one by one."""

FIRST_REST: Final = timedelta(minutes=1)
LONGEST_REST: Final = timedelta(minutes=30)
"""How long a channel is left alone after a failure; doubled with each. Source: ours."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often one message is tried.

    Attributes:
        total: From the first attempt to giving up.
        attempts: How often at most.
        attempt: Longest time of one.
        first: Longest pause after the first failure; doubled after each further one.
        rest: How long the channel is left alone after the first message that failed.

    Source:
        As in ``storage.retrying``: "full jitter".
    """

    total: timedelta = timedelta(minutes=2)
    attempts: int = 4
    attempt: timedelta = timedelta(seconds=MOST_SECONDS)
    first: timedelta = timedelta(seconds=4)
    rest: timedelta = FIRST_REST


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery.

    Attributes:
        delivered: Whether the receiver took it.
        detail: Why not; empty when it did.
    """

    delivered: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a channel does not work.

    Attributes:
        since: When the first message failed after the last that was delivered.
        detail: Why the newest one failed.
        hint: What to do.
    """

    since: datetime
    detail: str
    hint: str = ""


class Letterbox:
    """One channel's queue and the thread that empties it.

    Args:
        name: Of the channel.
        notifier: The way out.
        clock: Measures and dates.
        claim: Asked before the first attempt whether nobody else tells this; whatever it raises
            counts as yes, because telling twice is better than not at all.
        report: Told of every outcome while the delivery is still held; what it raises is dropped.
        patience: How long and how often to try.
    """

    def __init__(
        self,
        name: str,
        notifier: Notifier,
        *,
        clock: Clock,
        claim: Callable[[Delivery], bool],
        report: Callable[[Delivery, Outcome], None],
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self._notifier = notifier
        self._clock = clock
        self._claim = claim
        self._report = report
        self._patience = patience or Patience()
        self._rng = random.SystemRandom()
        self._changed = threading.Condition()
        self._waiting: deque[Delivery] = deque()
        self._current: Delivery | None = None
        self._ended = 0
        self._ending = False
        self._hurry = threading.Event()
        self._rest_until = 0.0
        self._failures = 0
        self._trouble: Trouble | None = None
        self._delivered_once = False
        self._thread = threading.Thread(
            target=self._empty, name=f"drkeeper-notify-{name}", daemon=True
        )

    def begin(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def end(self, within: timedelta) -> bool:
        """Take nothing more, deliver what waits for so long, and say whether all was.

        What is left then is abandoned with its thread; the ledger knows that it was not told.
        """
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(within.total_seconds())
        self._hurry.set()
        return self.empty

    def offer(self, delivery: Delivery) -> bool:
        """Take a delivery if there is room and the channel works; never waits.

        A run's sign of life is always taken: it replaces the oldest one when the box is full, and
        waits while the channel rests, because it is due nowhere else.
        """
        with self._changed:
            if self._ending:
                return False
            if delivery.items:
                if self._resting() or len(self._waiting) >= CAPACITY:
                    return False
            elif len(self._waiting) >= CAPACITY:
                lost = next((each for each in self._waiting if not each.items), None)
                if lost is None:
                    return False
                self._waiting.remove(lost)
            self._waiting.append(delivery)
            self._changed.notify_all()
            return True

    def holds(self, alarm: int | None) -> bool:
        """Whether something about this alarm, or for ``None`` a digest, waits or is being told.

        Until its outcome is reported: what the ledger says of it is old before that.
        """
        with self._changed:
            held = [*self._waiting, *([self._current] if self._current is not None else [])]
            return any(item.alarm == alarm for each in held for item in each.items)

    @property
    def ended(self) -> int:
        """How many deliveries that the ledger remembers came to an end, whichever it was.

        Whoever read the ledger before one more did has to read it again.
        """
        with self._changed:
            return self._ended

    @property
    def empty(self) -> bool:
        """Whether nothing waits and nothing is being told or reported."""
        with self._changed:
            return not self._waiting and self._current is None

    @property
    def resting(self) -> bool:
        """Whether the channel is left alone after a failure."""
        with self._changed:
            return self._resting()

    @property
    def trouble(self) -> Trouble | None:
        """Why the channel does not work; ``None`` when it does, or was not tried yet."""
        with self._changed:
            return self._trouble

    @property
    def tried(self) -> bool:
        """Whether any delivery has come to an end."""
        with self._changed:
            return self._delivered_once or self._trouble is not None

    def _resting(self) -> bool:
        return self._clock.monotonic() < self._rest_until

    def _empty(self) -> None:
        while (delivery := self._next()) is not None:
            outcome = self._deliver(delivery)
            if outcome is not None:
                with suppress(Exception):  # a defect of whoever takes notes must not end the thread
                    self._report(delivery, outcome)
            with self._changed:
                self._current = None
                self._ended += bool(delivery.items)

    def _next(self) -> Delivery | None:
        """Wait for something to deliver; ``None`` when there is nothing more to do."""
        with self._changed:
            while not self._hurry.is_set():
                left = self._rest_until - self._clock.monotonic()
                if self._waiting and (left <= 0 or self._ending):
                    self._current = self._waiting.popleft()
                    return self._current
                if self._ending:
                    return None
                self._changed.wait(left if self._waiting else None)
        return None

    def _deliver(self, delivery: Delivery) -> Outcome | None:
        try:
            point("operations.delivering.claim")
            if delivery.items and not self._claim(delivery):
                return None
        except Exception:  # noqa: BLE001, S110 - see ``claim``
            pass
        point("operations.delivering.claimed")
        try:
            self._try(delivery)
        except DrkeeperError as error:
            self._failed(error)
            return Outcome(delivered=False, detail=str(error))
        except Exception as error:  # noqa: BLE001 - a defect of one adapter must not end its thread
            self._failed(DrkeeperError(f"defect: {type(error).__name__}"))
            return Outcome(delivered=False, detail=f"defect: {type(error).__name__}")
        point("operations.delivering.delivered")
        with self._changed:
            self._trouble, self._failures, self._delivered_once = None, 0, True
            self._rest_until = 0.0
        return Outcome(delivered=True)

    def _try(self, delivery: Delivery) -> None:
        """Send once, and again while it may help and there is time.

        Raises:
            DrkeeperError: The last attempt's.
        """
        patience = self._patience
        end = self._clock.monotonic() + patience.total.total_seconds()
        for attempt in range(1, patience.attempts + 1):
            left = end - self._clock.monotonic()
            try:
                self._notifier.send(
                    delivery.message, within=min(left, patience.attempt.total_seconds())
                )
            except DrkeeperError as error:
                if not error.transient or attempt == patience.attempts or self._ending:
                    raise
                wait = error.wait if isinstance(error, NotifyUnavailableError) else None
                longest = patience.first.total_seconds() * 2 ** (attempt - 1)
                pause = wait.total_seconds() if wait else self._rng.uniform(0, longest)
                if self._clock.monotonic() + pause + 1 > end or self._hurry.wait(pause):
                    raise
            else:
                return

    def _failed(self, error: DrkeeperError) -> None:
        """Leave the channel alone for a while, and let go of what the ledger will bring again."""
        wait = error.wait if isinstance(error, NotifyUnavailableError) and error.wait else None
        with self._changed:
            rest = min(self._patience.rest * 2 ** min(self._failures, 10), LONGEST_REST)
            self._failures += 1
            self._rest_until = self._clock.monotonic() + max(rest, wait or rest).total_seconds()
            since = self._trouble.since if self._trouble is not None else self._clock.now()
            self._trouble = Trouble(since, str(error), error.hint or "")
            self._waiting = deque(each for each in self._waiting if not each.items)
