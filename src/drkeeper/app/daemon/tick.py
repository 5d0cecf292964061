"""One tick: read the ledger, plan, queue what is due, begin what is queued."""

import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from drkeeper import __version__
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.improvising import Improviser
from drkeeper.app.wiring.children import Running
from drkeeper.app.wiring.execution import Log
from drkeeper.app.wiring.planning import Due, Planner, queue_due
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.model.instants import rfc3339
from drkeeper.model.planner import Decision
from drkeeper.model.policy import Policy
from drkeeper.model.run import RunFailure, RunId, RunState

if TYPE_CHECKING:
    from drkeeper.ledger.ledger import Ledger

IMPROVISE_AFTER: Final = timedelta(seconds=60)
_DEAD_EVERY: Final = timedelta(minutes=1)
"""How often it is asked whether runs that others began have died."""


class Executes(Protocol):
    """The part of the executor that a tick needs."""

    def start(self, policy: Policy, run: RunId, *, again: bool = False) -> None:
        """Begin a queued run as soon as there is a place; known ones are left alone."""
        ...

    def running(self) -> Mapping[RunId, Running]:
        """Return the runs that go on here."""
        ...

    def policies(self) -> Collection[str]:
        """Return the policies of which a run goes on here, or waits for a place."""
        ...


class Starts:
    """When each policy's last run began, by the clock that nobody sets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: dict[str, float] = {}

    def began(self, policy: str, ago: timedelta) -> None:
        """Remember that a run of the policy began so long ago, unless a later one is known."""
        at = self._clock.since_boot() - ago.total_seconds()
        self._at[policy] = max(at, self._at.get(policy, at))

    def passed(self) -> dict[str, timedelta]:
        """Return how long ago each began."""
        now = self._clock.since_boot()
        return {policy: timedelta(seconds=now - at) for policy, at in list(self._at.items())}


class Tick:
    """What is done every few seconds. For one thread.

    Args:
        configuration: Returns the policies as they are now.
        books: The ledger, which decides.
        executor: Begins what is queued.
        starts: What is known of the last runs.
        clock: The instant to decide for.
        shared: Whether daemons of other machines use the same ledger.
        log: Told of what is decided.
        improvise_after: How long the ledger may be in trouble before runs begin without it.
    """

    def __init__(  # noqa: PLR0913 - what a tick touches, by name
        self,
        *,
        configuration: Callable[[], Configuration],
        books: Books,
        executor: Executes,
        starts: Starts,
        clock: Clock,
        shared: bool,
        log: Log,
        improvise_after: timedelta = IMPROVISE_AFTER,
    ) -> None:
        self._configuration = configuration
        self._books = books
        self._executor = executor
        self._starts = starts
        self._clock = clock
        self._shared = shared
        self._log = log
        self._began_at = clock.now()
        self._planner = Planner()
        self._improviser = Improviser(clock, improvise_after)
        self._planned: Configuration | None = None
        self._replan = False
        self._asked_s: float | None = None

    def replan(self) -> None:
        """Believe nothing at the next tick that was planned before; from any thread."""
        self._replan = True

    def __call__(self) -> None:
        """Look at all policies once; the ledger's troubles end here."""
        point("app.daemon.tick.looking")
        for run in self._executor.running().values():
            age = self._clock.monotonic() - run.began_at
            self._starts.began(run.policy, timedelta(seconds=age))
        configuration, now = self._configuration(), self._clock.now()
        try:
            with self._books.opened() as ledger:
                self._look(ledger, configuration, now)
        except DrkeeperError as error:
            self._log("ledger.unavailable", error=str(error))
            self._improvise(configuration, now)
        else:
            self._improviser.over()
        point("app.daemon.tick.looked")

    def _look(self, ledger: "Ledger", configuration: Configuration, now: datetime) -> None:
        if self._replan:
            self._replan = False
            self._planner = Planner()
        self._bury(ledger)
        decisions = self._planner.plan(configuration, ledger, now, self._starts.passed())
        self._improviser.learn(decisions, now)
        if configuration is not self._planned:
            self._cancel_unknown(ledger, configuration)
            self._planned = configuration
        begun = self._begin(configuration, ledger, decisions)
        for run, name in self._planner.left_queued(decisions).items():
            if run not in begun:
                self._executor.start(configuration.policies[name], run)
        point("app.daemon.tick.beating")
        ledger.beat(__version__, self._began_at)

    def _begin(
        self, configuration: Configuration, ledger: "Ledger", decisions: Mapping[str, Decision]
    ) -> set[RunId]:
        due: list[Due] = queue_due(configuration, ledger, decisions)
        self._improviser.began([each.policy.name for each in due], self._clock.now())
        for each in due:
            decision = each.decision
            again = decision is not None and decision.attempt > 1
            self._executor.start(each.policy, each.run, again=again)
            self._log(
                "run.queued",
                run=each.run,
                policy=each.policy.name,
                why=decision.why.value if decision else None,
                slot=rfc3339(decision.slot) if decision and decision.slot else None,
                missed=decision.missed if decision else None,
                attempt=decision.attempt if decision else None,
            )
        return {each.run for each in due}

    def _improvise(self, configuration: Configuration, now: datetime) -> None:
        """Begin what is due without the ledger, when it has been in trouble for a while."""
        here = self._executor.policies()
        for policy in self._improviser.due(configuration.policies, here, now):
            run = RunId(secrets.token_hex(8))
            self._log("run.improvised", run=run, policy=policy.name)
            self._executor.start(policy, run)

    def _bury(self, ledger: "Ledger") -> None:
        now_s = self._clock.monotonic()
        if self._asked_s is not None and now_s - self._asked_s < _DEAD_EVERY.total_seconds():
            return
        for run in ledger.interrupt_dead_runs():
            self._log("run.interrupted", run=run)
        self._asked_s = now_s

    def _cancel_unknown(self, ledger: "Ledger", configuration: Configuration) -> None:
        """Take out of the queue what no daemon will ever begin."""
        if self._shared:
            return  # another machine may know the policy
        for run in ledger.runs(states=[RunState.QUEUED]):
            if run.policy is not None and run.policy not in configuration.policies:
                why = RunFailure(
                    "PolicyRemovedError", f"policy {run.policy} is no longer configured", 13
                )
                ledger.cancel_run(run.id, why)
                self._log("run.cancelled", run=run.id, policy=run.policy)
