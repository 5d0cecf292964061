"""What is due now, for every policy at once: the ledger's memory laid before the planner.

The ledger decides, so it is asked at every tick; but what has not changed since the last tick is not
computed again. With nothing new in the ledger, a tick over a thousand policies is one query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.news import ONE_BY_ONE, News
from drkeeper.model.instants import local_text
from drkeeper.model.planner import Decision, History, Plan, history_of, plan_for
from drkeeper.model.policy import Policy
from drkeeper.model.run import Operation, RecoveryPoint, Run, RunFailure, RunId, RunState

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

REMEMBERED: Final = 32
"""Runs of a policy that are looked at: the 20 good ones that tell how long the next one takes, and
the failed ones of a slot."""
_AT_A_TIME: Final = 100
"""Policies whose runs are in memory at the same time."""


@dataclass(frozen=True, slots=True)
class Due:
    """A run that waits to be begun.

    Attributes:
        policy: What to run.
        run: Its row in the ledger.
        decision: Why; ``None`` for a run that was queued by somebody who did not begin it.
    """

    policy: Policy
    run: RunId
    decision: Decision | None = None


@dataclass(slots=True)
class Planner:
    """Decides for all policies, remembering between ticks what has not changed.

    For one thread.

    Attributes:
        records: Whether policies that are new or changed are recorded in the ledger; without that,
            one that the ledger has never seen counts as seen now.
    """

    records: bool = True
    _configuration: Configuration | None = None
    _news: News = field(default_factory=News)
    _memories: dict[str, History] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)
    _queued: dict[RunId, str] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _now: datetime | None = None

    def plan(
        self,
        configuration: Configuration,
        ledger: "Ledger",
        now: datetime,
        since_start: Mapping[str, timedelta] | None = None,
    ) -> dict[str, Decision]:
        """Decide for every policy whether it runs now.

        Args:
            configuration: The policies.
            ledger: What happened.
            now: The instant to decide for.
            since_start: Time since the last run of a policy began, by a clock that nobody sets and
                that goes on while the machine is suspended, where that is known.

        Raises:
            LedgerError: The ledger cannot be read, or not be written with ``records``.
        """
        self._refresh(configuration, ledger, now)
        self._now = now
        passed = since_start or {}
        return {
            name: self._decide(policy, now, passed.get(name))
            for name, policy in configuration.policies.items()
        }

    def left_queued(self, decided: Mapping[str, Decision]) -> dict[RunId, str]:
        """Return the runs in the queue that may be begun, with the policy of each.

        Not those of a policy that is paused, or of which a run goes on; they stay queued.

        Args:
            decided: What :meth:`plan` returned.
        """
        if self._configuration is None or self._now is None:
            return {}
        policies, now = self._configuration.policies, self._now
        return {
            run: name
            for run, name in self._queued.items()
            if name in decided and name not in self._running and not _paused(policies[name], now)
        }

    def _decide(self, policy: Policy, now: datetime, since_start: timedelta | None) -> Decision:
        known = self._plans.get(policy.name)
        if known is not None and known.holds(policy, now):
            return known.decision
        memory = self._memories.get(policy.name) or History(known_since=now)
        history = replace(memory, since_start=since_start)
        plan = self._plans[policy.name] = plan_for(policy, history, now)
        return plan.decision

    def _refresh(self, configuration: Configuration, ledger: "Ledger", now: datetime) -> None:
        """Bring the memory up to the ledger's newest event."""
        if configuration is not self._configuration:
            if self.records:
                ledger.see_policies(configuration.definitions())
            self._forget()
            self._configuration = configuration
        with self._news.since(ledger) as fresh:
            if fresh is None or "policy" in fresh.nouns or len(fresh.policies) > ONE_BY_ONE:
                self._ask_for_all(configuration, ledger, now)
                return
            for name in fresh.policies:
                self._ask_for(name, configuration, ledger)

    def _ask_for(self, name: str, configuration: Configuration, ledger: "Ledger") -> None:
        if name not in self._memories or name not in configuration.policies:
            return
        runs = ledger.runs(name, limit=REMEMBERED, operation=Operation.BACKUP)
        point = ledger.newest_point(name)
        policy, since = configuration.policies[name], self._memories[name].known_since
        self._remember(policy, since, runs, [point] if point else [])

    def _forget(self) -> None:
        self._news.begin(None)
        self._memories.clear()
        self._plans.clear()
        self._queued.clear()
        self._running.clear()

    def _ask_for_all(self, configuration: Configuration, ledger: "Ledger", now: datetime) -> None:
        self._forget()
        self._news.begin(ledger)
        seen = ledger.policies()
        points = ledger.newest_points()
        names = iter(configuration.policies)
        while some := list(islice(names, _AT_A_TIME)):
            runs = ledger.recent_runs(REMEMBERED, some)
            for name in some:
                since = seen[name].first_seen_at if name in seen else now
                point = [points[name]] if name in points else []
                known = runs.get(name, [])
                if len(known) == REMEMBERED and all(_is_no_backup(run) for run in known):
                    # So many restores that the backups before them are not among the newest runs.
                    known = ledger.runs(name, limit=REMEMBERED, operation=Operation.BACKUP)
                self._remember(configuration.policies[name], since, known, point)

    def _remember(
        self,
        policy: Policy,
        known_since: datetime,
        runs: Sequence[Run],
        points: Sequence[RecoveryPoint],
    ) -> None:
        # Not the runs themselves: of a thousand policies they would fill some forty megabytes.
        name, newest = policy.name, points[0].consistent_at if points else None
        self._memories[name] = history_of(
            policy, runs, known_since=known_since, newest_point=newest
        )
        self._plans.pop(name, None)
        for run in [run for run, policy in self._queued.items() if policy == name]:
            del self._queued[run]
        self._running.discard(name)
        for each in runs:
            # One that was called interrupted may still end.
            if not each.state.ended or each.state is RunState.INTERRUPTED:
                self._news.open_run(each.id, name)
            if each.operation is not Operation.BACKUP:
                continue
            if each.state is RunState.QUEUED:
                self._queued[each.id] = name
            elif each.state is RunState.RUNNING:
                self._running.add(name)


def _paused(policy: Policy, now: datetime) -> bool:
    return policy.pause is not None and now < policy.pause.until


def _is_no_backup(run: Run) -> bool:
    return run.operation is not Operation.BACKUP


def plan(
    configuration: Configuration,
    ledger: "Ledger",
    now: datetime,
    since_start: Mapping[str, timedelta] | None = None,
) -> dict[str, Decision]:
    """Decide once for every policy, changing nothing; a daemon keeps a :class:`Planner` instead.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return Planner(records=False).plan(configuration, ledger, now, since_start)


def queue_due(
    configuration: Configuration, ledger: "Ledger", decisions: Mapping[str, Decision]
) -> list[Due]:
    """Queue what is due and record what is given up; return what is to be begun now.

    A policy that already has an open run gets none: two daemons on one ledger queue a slot once.

    Raises:
        LedgerError: The ledger cannot be written; what was queued before that stays queued.
    """
    due = []
    for name, decision in decisions.items():
        policy = configuration.policies[name]
        if decision.given_up is not None:
            ledger.skip_run(name, Operation.BACKUP, _given_up(policy, decision))
        elif decision.slot is not None:
            run = ledger.queue_run(name, Operation.BACKUP)
            if run is not None:
                due.append(Due(policy, run, decision))
    return due


def _given_up(policy: Policy, decision: Decision) -> RunFailure:
    def text(instant: datetime | None) -> str:
        return "-" if instant is None else local_text(instant, policy.zone)

    return RunFailure(
        kind="GivenUp",
        message=(
            f"policy {policy.name} was due at {text(decision.given_up)} and is not made up for:"
            f" it runs again at {text(decision.next_at)}"
        ),
        exit_code=0,
    )
