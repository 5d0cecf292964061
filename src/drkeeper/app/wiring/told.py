"""What the ledger has to know of what was told, and who of those that share it tells."""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from drkeeper.clock import Clock
from drkeeper.faults import point
from drkeeper.model.notification import Notification, Saying
from drkeeper.operations.delivering import Outcome, Trouble
from drkeeper.operations.notifying import SENDING, Delivery, channel_of

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

Key = tuple[str, int | None]
"""A channel, as the ledger names it, and an alarm; ``None`` for digests."""


class Told:
    """What was told, kept here until the ledger has it. For any thread.

    Args:
        open_ledger: Opens the ledger; whoever opens it closes it.
        clock: Dates what was told.
    """

    def __init__(self, open_ledger: "Callable[[], Ledger]", *, clock: Clock) -> None:
        self._open_ledger = open_ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._unrecorded: dict[Key, Notification] = {}
        self._turns: dict[str, threading.Lock] = {}

    def claim(self, delivery: Delivery) -> bool:
        """Say in the ledger that it is being told, and whether nobody else tells it.

        Raises:
            DrkeeperError: The ledger is in trouble.
        """
        with self._lock:
            known = [(delivery.book, item.alarm) in self._unrecorded for item in delivery.items]
        if any(known):
            return True  # the ledger does not know yet what was before
        with self._open_ledger() as ledger:
            return bool(ledger.claim_notifications(delivery.book, delivery.items, detail=SENDING))

    def keep(self, delivery: Delivery, outcome: Outcome) -> None:
        """Remember what became of a delivery until the ledger does."""
        now = self._clock.now()
        with self._lock:
            for item in delivery.items:
                self._unrecorded[delivery.book, item.alarm] = Notification(
                    channel=delivery.book,
                    what=item.what,
                    delivered=outcome.delivered,
                    sent_at=now,
                    alarm=item.alarm,
                    detail=outcome.detail,
                )

    def record(self, delivery: Delivery, outcome: Outcome) -> None:
        """Bring what became of a delivery to the ledger, or keep it for the next time.

        Raises:
            DrkeeperError: The ledger is in trouble.
        """
        self.keep(delivery, outcome)
        with self._open_ledger() as ledger:
            self.settle(ledger, delivery.book)

    def settle(self, ledger: "Ledger", channel: str | None = None) -> None:
        """Bring to the ledger what it does not know yet, of one channel or of all.

        Each once: written a second time, it would hide what was said since. So a channel is left
        out that somebody else is at, unless it is the one that was asked for.

        Raises:
            DrkeeperError: It cannot be written; what is not in it is kept for the next time.
        """
        with self._lock:
            books = {book for book, _ in self._unrecorded if channel in {None, book}}
            turns = [(book, self._turns.setdefault(book, threading.Lock())) for book in books]
        for book, turn in turns:
            if turn.acquire(blocking=channel is not None):
                try:
                    self._settle(ledger, book)
                finally:
                    turn.release()

    def _settle(self, ledger: "Ledger", book: str) -> None:
        with self._lock:
            waiting = [each for each in self._unrecorded.values() if each.channel == book]
        groups: dict[tuple[bool, str], list[Notification]] = {}
        for each in waiting:
            groups.setdefault((each.delivered, each.detail), []).append(each)
        for (delivered, detail), told in groups.items():
            sayings = [Saying(each.alarm, each.what) for each in told]
            point("app.wiring.told.recording")
            ledger.record_notifications(book, sayings, delivered=delivered, detail=detail)
            point("app.wiring.told.recorded")
            with self._lock:
                for each in told:
                    if self._unrecorded.get((each.channel, each.alarm)) is each:
                        del self._unrecorded[each.channel, each.alarm]

    def over(self, told: Mapping[Key, Notification]) -> dict[Key, Notification]:
        """Return what the ledger says was told, with what only we know laid over it."""
        with self._lock:
            return {**told, **self._unrecorded}


def failing_before(
    told: Mapping[Key, Notification], known: Mapping[str, Trouble]
) -> dict[str, Trouble]:
    """Return the channels whose newest message failed, as the ledger has it.

    Args:
        told: What was told.
        known: What this returned before: holds for channels that are being told something just now.
    """
    newest: dict[str, Notification] = {}
    for (book, _), each in told.items():
        name = channel_of(book)
        if name not in newest or each.sent_at > newest[name].sent_at:
            newest[name] = each
    failing = {}
    for name, each in newest.items():
        if each.detail == SENDING and not each.delivered:
            if name in known:
                failing[name] = known[name]
        elif not each.delivered:
            failing[name] = Trouble(each.sent_at, each.detail)
    return failing
