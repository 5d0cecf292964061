"""Drills when they are due, one at a time, each a process of its own; backups come first."""

import subprocess
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from drkeeper.app.daemon.books import Books
from drkeeper.app.wiring.execution import Log
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.drill import DrillKind
from drkeeper.model.drill_schedule import drill_due
from drkeeper.model.policy import Policy

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

LOOK_EVERY: Final = timedelta(seconds=30)
"""How often it is asked whether a drill is due. Source: ours; nobody waits for one."""


class Due(NamedTuple):
    """A drill that is to be begun.

    Attributes:
        policy: Whose.
        kit: The recovery kit's file, for a bare one; ``None`` for one with the keys at hand.
    """

    policy: str
    kit: str | None = None


_Memory = tuple[dict[str, datetime], dict[str, datetime], frozenset[str], dict[str, datetime]]
"""The newest drills by policy, the newest bare ones, who has a recovery point, since when each is known."""


class Driller:
    """Begins drills that are due while no backup waits or runs.

    A backup that becomes due while a drill runs does not wait for it: drills take no place of the
    executor's.

    Args:
        start: Starts ``drkeeper drill --json`` for a policy.
        policies: Returns those that this machine can drill: by name, with a key that reads at hand.
        bare: Returns those that it can drill from store and kit alone.
        books: The ledger.
        is_idle: Whether no run waits or goes on.
        on_end: Called after each drill, so that its outcome is looked at.
        clock: Says when it is time.
        log: Told of what begins and ends.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, by name
        self,
        start: "Callable[[Due], subprocess.Popen[bytes]]",
        *,
        policies: Callable[[], Mapping[str, Policy]],
        bare: Callable[[], Mapping[str, Policy]],
        books: Books,
        is_idle: Callable[[], bool],
        on_end: Callable[[], None],
        clock: Clock,
        log: Log,
    ) -> None:
        self._start = start
        self._policies = policies
        self._bare = bare
        self._books = books
        self._is_idle = is_idle
        self._on_end = on_end
        self._clock = clock
        self._log = log
        self._tried: dict[Due, datetime] = {}
        self._memory: tuple[int, _Memory] | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="driller", daemon=True)

    def begin(self) -> None:
        """Begin to look now and then."""
        self._thread.start()

    def end(self, within: timedelta) -> None:
        """Drill no more; the drill that goes on is ended, and remembered as such by itself."""
        self._ended.set()
        with self._lock:
            child = self._child
            if child is not None:
                child.terminate()
        if self._thread.is_alive():
            self._thread.join(within.total_seconds())
        if child is not None and child.poll() is None:
            child.kill()

    def look(self) -> bool:
        """Begin the drill that has been due for longest, if there is a place for it, and see it end.

        Returns:
            Whether one was due, so that another may be.
        """
        due = self._next() if self._is_idle() else None
        if due is not None:
            self._drill(due)
        return due is not None

    def _work(self) -> None:
        while not self._ended.wait(LOOK_EVERY.total_seconds()):
            while self.look() and not self._ended.is_set():
                pass

    def _next(self) -> Due | None:
        """Return the drill that has been due for longest."""
        policies, bare = self._policies(), self._bare()
        if not policies and not bare:
            return None
        try:
            with self._books.opened() as ledger:
                planned, planned_bare, points, seen = self._remembered(ledger)
        except DrkeeperError:
            return None  # whoever writes to it says so
        asked = [(Due(name), policy, planned) for name, policy in policies.items()]
        asked += [(Due(name, each.drill.kit), each, planned_bare) for name, each in bare.items()]
        now = self._clock.now()
        slots: list[tuple[datetime, str, Due]] = []
        for due, policy, begun in asked:
            name = due.policy
            if name not in points or name not in seen:
                continue  # there is nothing to restore yet
            first = seen[name]
            # One that could not even be planned is not tried again before its next slot.
            since = max(begun.get(name, first), self._tried.get(due, first))
            slot = drill_due(policy, since, now, bare=due.kit is not None)
            if slot is not None:
                slots.append((slot, name, due))
        return min(slots, key=lambda each: each[:2])[2] if slots else None

    def _remembered(self, ledger: "Ledger") -> _Memory:
        """Return what the ledger says, read again only when there is something new in it."""
        last = ledger.last_event()
        number = last.seq if last else 0
        if self._memory is None or self._memory[0] != number:
            found = (
                ledger.newest_drills(),
                ledger.newest_drills(DrillKind.BARE),
                frozenset(ledger.newest_points()),
                {name: seen.first_seen_at for name, seen in ledger.policies().items()},
            )
            self._memory = (number, found)
        return self._memory[1]

    def _drill(self, due: Due) -> None:
        self._tried[due] = self._clock.now()
        name, kind = due.policy, "restore" if due.kit is None else "bare"
        try:
            child = self._start(due)
        except OSError as error:
            self._log("drill.unstarted", policy=name, kind=kind, error=str(error))
            return
        self._log("drill.begun", policy=name, kind=kind, pid=child.pid)
        with self._lock:
            self._child = child
            if self._ended.is_set():
                child.terminate()
        try:
            child.communicate()
        finally:
            with self._lock:
                self._child = None
        self._log("drill.ended", policy=name, kind=kind, code=child.returncode)
        self._on_end()
