"""A day of a daemon in a few seconds: its real parts over a real ledger, by a clock that is told."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.daemon.assessing import Assessor
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.tick import Starts, Tick
from drkeeper.app.wiring.execution import Running
from drkeeper.app.wiring.runs import LEASE, open_run_ledger
from drkeeper.clock import Clock, SystemClock
from drkeeper.model.alarm import Subject
from drkeeper.model.policy import Policy
from drkeeper.model.run import Consistency, RecoveryPoint, RunId, RunState
from drkeeper.model.status import Overview

_MINUTE = timedelta(minutes=1)


class ToldClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        # Just after the beginning of a minute, in which something may be due.
        self._now = SystemClock().now().replace(second=1, microsecond=0)
        self._passed_s = 1000.0

    def now(self) -> datetime:
        """Return the wall time."""
        return self._now

    def monotonic(self) -> float:
        """Return the monotonic time."""
        return self._passed_s

    def since_boot(self) -> float:
        """Return the same: nobody suspends this machine."""
        return self._passed_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._passed_s += seconds


@dataclass(slots=True)
class Noting:
    """Stands for the executor: notes what is due, and runs nothing."""

    due: list[tuple[str, RunId]] = field(default_factory=list)

    def start(self, policy: Policy, run: RunId, *, again: bool = False) -> None:  # noqa: ARG002 - as the executor has it
        """Note a run."""
        self.due.append((policy.name, run))

    def running(self) -> Mapping[RunId, Running]:
        """Return nothing: what begins has ended."""
        return {}


class Day:
    """A tick, a look at everything, and what is due done at once."""

    def __init__(self, configuration: Configuration, clock: Clock) -> None:
        self.clock = clock
        self.concerns = Concerns(clock)
        self._configuration = configuration
        self._noting = Noting()
        self._made = 0
        self._books = {name: self._open_books(name) for name in ("tick", "look")}
        starts = Starts(clock)
        self.tick = Tick(
            configuration=lambda: configuration,
            books=self._books["tick"],
            executor=self._noting,
            starts=starts,
            clock=clock,
            shared=False,
            log=lambda _event, **_fields: None,
        )
        self._assessor = Assessor(
            configuration=lambda: configuration,
            books=self._books["look"],
            concerns=self.concerns.held,
            reachable=dict,
            verified_at=lambda: None,
            since_start=starts.passed,
            clock=clock,
        )

    def look(self) -> Overview:
        """Look at everything, as the page, the metrics and the alarms do."""
        return self._assessor.overview()

    def minute(self, *, look: bool = True) -> int:
        """Let a minute pass: plan, do what is due, look; return how many runs there were."""
        self.clock.sleep(_MINUTE.total_seconds())
        self.tick()
        due, self._noting.due = self._noting.due, []
        for policy, run in due:
            self._run(policy, run)
        if look:
            self.look()
        return len(due)

    def close(self) -> None:
        """Let go of the ledger."""
        for books in self._books.values():
            books.close()

    def _run(self, policy: str, run: RunId) -> None:
        ledger = self._books["tick"].ledger()
        ledger.claim_run(run, lease=LEASE)
        self._made += 1
        point = RecoveryPoint(
            repository="c0ffee",
            lineage="11aa",
            commit_number=self._made,
            session=secrets.token_hex(8),
            policy=policy,
            consistent_at=self.clock.now(),
            finished_at=self.clock.now(),
            run=run,
            plain_bytes=10_000_000,
            stored_bytes=4_000_000,
            new_bytes=50_000,
            files=1000,
            entries=1100,
            consistency=Consistency.CRASH,
        )
        ledger.end_run(run, RunState.SUCCEEDED, result={"files": self._made}, made=[point])

    def _open_books(self, name: str) -> Books:
        configuration = self._configuration
        return Books(
            name,
            lambda: open_run_ledger(
                configuration.locations.ledger, host=configuration.host, clock=self.clock
            ),
            concerns=self.concerns,
            daemon=Subject("daemon", configuration.host),
            clock=self.clock,
        )


@contextmanager
def a_day(configuration: Configuration, clock: Clock | None = None) -> Iterator[Day]:
    """Lend a day, and close it."""
    day = Day(configuration, clock or ToldClock())
    try:
        yield day
    finally:
        day.close()
