"""The ledger as a part of the daemon holds it: opened when needed, again after trouble."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from drkeeper.app.daemon.concerns import Concerns
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError, NoSpaceError
from drkeeper.model.alarm import AlarmKind, Condition, Subject

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

_HINT = "Run drkeeper ledger verify."


class Books:
    """One part's hold on the ledger. Trouble with it becomes a concern, and ends as one.

    Args:
        name: Of the part: what one has trouble with, another may not.
        open_ledger: Opens it.
        concerns: Where trouble is kept until the ledger works again.
        daemon: What is said to have the trouble.
        clock: Dates it.
    """

    def __init__(
        self,
        name: str,
        open_ledger: "Callable[[], Ledger]",
        *,
        concerns: Concerns,
        daemon: Subject,
        clock: Clock,
    ) -> None:
        self._name = name
        self._open_ledger = open_ledger
        self._concerns = concerns
        self._daemon = daemon
        self._clock = clock
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None

    def ledger(self) -> "Ledger":
        """Return the ledger, opened if need be.

        Raises:
            DrkeeperError: It cannot be opened.
        """
        with self._lock:
            if self._ledger is None:
                self._ledger = self._open_ledger()
            return self._ledger

    @contextmanager
    def opened(self) -> "Iterator[Ledger]":
        """Lend the ledger; what goes wrong with it is a concern from then on, and raised again.

        Raises:
            DrkeeperError: The ledger cannot be opened, read or written.
        """
        try:
            yield self.ledger()
        except DrkeeperError as error:
            self.close()
            self._concerns.hold(self._trouble(error), source=self._name)
            raise
        self._concerns.drop(AlarmKind.LEDGER_TROUBLE, self._daemon, source=self._name)

    def close(self) -> None:
        """Let go of the ledger."""
        with self._lock:
            ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()

    def _trouble(self, error: DrkeeperError) -> Condition:
        what = "is full" if isinstance(error, NoSpaceError) else "cannot be used"
        return Condition(
            AlarmKind.LEDGER_TROUBLE,
            self._daemon,
            f"the ledger of the daemon on {self._daemon.name} {what}: {error}",
            error.hint or _HINT,
            self._clock.now(),
        )
