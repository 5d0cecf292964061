"""Look at how everything stands, and see to it that the ledger's alarms and the people know."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec.structs import replace

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.following import Follower
from drkeeper.app.daemon.jumps import Times
from drkeeper.app.daemon.unheard import Unheard
from drkeeper.app.wiring.execution import Log
from drkeeper.app.wiring.overview import Measured, all_conditions, overview_of
from drkeeper.app.wiring.remembering import Remembering
from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.model.alarm import Condition, Subject
from drkeeper.model.facts import PolicyFacts
from drkeeper.model.planner import Decision, Why
from drkeeper.model.stake import at_stake
from drkeeper.model.status import Overview
from drkeeper.operations.alarming import reconcile

LOOK_EVERY: Final = timedelta(seconds=18)
"""How often all is looked at when nothing happens. Source: ours; together with ``GRACE`` less than the
minute within which an absence is to be noticed."""

Reachable = Callable[[], Mapping[str, tuple[bool, datetime]]]


class Tells(Protocol):
    """The part of the courier that is needed here."""

    def tick(self, overview: Overview) -> None:
        """Post what is due, given how things stand."""
        ...

    def tell_unrecorded(self, conditions: Iterable[Condition]) -> None:
        """Tell what cannot be recorded, once."""
        ...


class Assessor:
    """Knows how everything stands. Any thread may ask.

    Args:
        configuration: Returns what is promised now.
        books: The ledger.
        concerns: Returns what the daemon itself found wrong.
        reachable: Returns which stores answered.
        since_start: Returns how long ago each policy's last run began, by a clock nobody sets.
        verified_at: Returns when the ledger was last found to be sound; ``None`` for not yet.
        clock: Says for which instant.
    """

    def __init__(  # noqa: PLR0913 - all that it asks, by name
        self,
        *,
        configuration: Callable[[], Configuration],
        books: Books,
        concerns: Callable[[], Sequence[Condition]],
        reachable: Reachable,
        since_start: Callable[[], Mapping[str, timedelta]],
        verified_at: Callable[[], datetime | None],
        clock: Times,
    ) -> None:
        self._configuration = configuration
        self._books = books
        self._concerns = concerns
        self._reachable = reachable
        self._since_start = since_start
        self._verified_at = verified_at
        self._clock = clock
        self._unheard = Unheard(clock)
        self._lock = threading.Lock()
        self._remembering = Remembering()
        self._points: dict[str, tuple[datetime, float]] = {}

    def overview(self) -> Overview:
        """Look at everything now.

        Raises:
            DrkeeperError: The ledger cannot be read.
        """
        with self._lock:
            with self._books.opened() as ledger:
                self._remembering.refresh(ledger)
            return self._judge()

    def without_ledger(self) -> Overview:
        """Look at everything as the ledger was when it could be read last."""
        with self._lock:
            return self._judge()

    def stakes(self, now: datetime) -> Iterable[Condition]:
        """Return what is at stake at ``now``, from memory alone; never waits."""
        memory = self._remembering.memory
        points, first_seen = memory.points, memory.seen
        for name, policy in self._configuration().policies.items():
            seen = first_seen.get(name)
            facts = PolicyFacts(
                policy=policy,
                decision=Decision(None, None, Why.WAITING),
                now=now,
                point=points.get(name),
                first_seen_at=seen.first_seen_at if seen else None,
            )
            yield from at_stake(facts)

    def _judge(self) -> Overview:
        seen = overview_of(
            self._configuration(),
            self._remembering.memory,
            self._clock.now(),
            extra=self._concerns(),
            reachable=self._reachable(),
            measured=Measured(self._since_point(), self._since_start()),
        )
        return replace(self._unheard.kept(seen), verified_at=self._verified_at())

    def _since_point(self) -> dict[str, timedelta]:
        """Measure the age of each newest point by a clock that nobody sets, from its first sight."""
        now, boot_s = self._clock.now(), self._clock.since_boot()
        ages: dict[str, timedelta] = {}
        for name, newest in self._remembering.memory.points.items():
            at, seen_s = self._points.get(name, (None, 0.0))
            if at != newest.consistent_at:
                age = max(now - newest.consistent_at, timedelta())
                seen_s = boot_s - age.total_seconds()
                self._points[name] = newest.consistent_at, seen_s
            ages[name] = timedelta(seconds=boot_s - seen_s)
        return ages


class Rounder:
    """One look: how all stands, the ledger's alarms, and the people.

    Args:
        assessor: Knows how everything stands.
        books: The ledger.
        courier: Tells people.
        mine: Whether this daemon looks after a subject; for ledgers that several daemons share.
        clock: Dates alarms.
        log: Told of alarms.
    """

    def __init__(
        self,
        *,
        assessor: Assessor,
        books: Books,
        courier: Tells,
        mine: Callable[[Subject], bool],
        clock: Times,
        log: Log,
    ) -> None:
        self._assessor = assessor
        self._books = books
        self._courier = courier
        self._mine = mine
        self._clock = clock
        self._log = log
        self._follower = Follower(mine=mine, clock=clock, log=log)

    def look(self) -> Overview:
        """Look once, and return what was seen; the ledger's troubles end here."""
        point("app.daemon.assessing.looking")
        try:
            seen = self._settle(self._assessor.overview())
        except DrkeeperError as error:
            self._log("alarms.kept_in_memory", error=str(error))
            seen = self._assessor.without_ledger()
            self._courier.tell_unrecorded(all_conditions(seen))
        self._courier.tick(seen)
        point("app.daemon.assessing.looked")
        return seen

    def _settle(self, seen: Overview) -> Overview:
        conditions: Sequence[Condition] = all_conditions(seen)
        with self._books.opened() as ledger:
            done = reconcile(ledger, conditions, self._clock.now(), mine=self._mine)
            if not done.raised and not done.cleared:
                self._follower.follow(ledger, seen)
                return seen
            for alarm in done.raised:
                self._log(
                    "alarm.raised",
                    alarm=alarm.id,
                    kind=alarm.condition.kind.value,
                    subject=str(alarm.condition.subject),
                    message=alarm.condition.message,
                    hint=alarm.condition.hint,
                )
            for alarm in done.cleared:
                self._log(
                    "alarm.cleared",
                    alarm=alarm.id,
                    kind=alarm.condition.kind.value,
                    subject=str(alarm.condition.subject),
                )
            seen = replace(seen, alarms=tuple(ledger.open_alarms()))
            self._follower.follow(ledger, seen)
            return seen
