"""What the ledger says of everything that a status rests on: read in a few queries, and kept.

The number of queries does not grow with the number of policies.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from drkeeper.app.wiring.news import ONE_BY_ONE, Fresh, News
from drkeeper.model.alarm import Alarm
from drkeeper.model.drill import Shown
from drkeeper.model.facts import GOOD, known_history
from drkeeper.model.planner import Plan, plan_for
from drkeeper.model.policy import Policy
from drkeeper.model.run import (
    DaemonBeat,
    Lease,
    Operation,
    RecoveryPoint,
    Run,
    RunId,
    RunState,
    SeenPolicy,
    Verification,
)

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.answers import Answers
    from drkeeper.ledger.ledger import Ledger

RECENT: Final = 5
"""Runs of every policy that are looked at; more of those that fail. Source: ours; a thousand policies
are to be read within 0.3 s."""
OF_FAILING: Final = 32
MOST_FAILING: Final = 50
"""So many runs of so many policies that fail are looked at."""
CHECKS: Final = 500
"""Outcomes of checks that are looked at. Source: ours; some years of a few repositories."""


class Memory(msgspec.Struct):
    """What the ledger says, read in a few queries.

    Attributes:
        seen: Policies as they were first seen.
        runs: The newest runs by policy, newest first.
        points: The newest recovery point by policy.
        leases: By run.
        checks: Outcomes of checks, newest first.
        alarms: Open ones.
        daemons: Signs of life.
        shown: What drills have shown, by policy.
        plans: What was planned for a policy when it was looked at last: a daemon looks again and
            again, and most policies have no news.
    """

    seen: Mapping[str, SeenPolicy] = msgspec.field(default_factory=dict)
    runs: dict[str, list[Run]] = msgspec.field(default_factory=dict)
    points: dict[str, RecoveryPoint] = msgspec.field(default_factory=dict)
    leases: Mapping[RunId, Lease] = msgspec.field(default_factory=dict)
    checks: Sequence[Verification] = ()
    alarms: Sequence[Alarm] = ()
    daemons: Sequence[DaemonBeat] = ()
    shown: Mapping[str, Shown] = msgspec.field(default_factory=dict)
    plans: dict[str, Plan] = msgspec.field(default_factory=dict)

    def plan(self, policy: Policy, now: datetime, since_start: timedelta | None) -> Plan:
        """Return what is planned for a policy."""
        known = self.plans.get(policy.name)
        if known is not None and known.holds(policy, now):
            return known
        seen = self.seen.get(policy.name)
        if known is not None and known.policy == policy:
            history = known.history
        else:
            history = known_history(
                policy,
                now,
                runs=self.runs.get(policy.name, ()),
                point=self.points.get(policy.name),
                seen=seen,
            )
        plan = plan_for(policy, replace(history, since_start=since_start), now)
        if seen is not None:
            self.plans[policy.name] = plan
        return plan


def remember(ledger: "Answers") -> Memory:
    """Ask the ledger for everything that a status rests on.

    Raises:
        LedgerError: It cannot be read.
    """
    memory = Memory(
        seen=ledger.policies(),
        runs=ledger.recent_runs(RECENT),
        points=ledger.newest_points(),
        leases={lease.run: lease for lease in ledger.leases()},
        checks=ledger.verifications(limit=CHECKS),
        alarms=ledger.open_alarms(),
        daemons=ledger.daemons(),
        shown=ledger.shown_by_drills(),
    )
    failing = [name for name, runs in memory.runs.items() if not _has_good(runs)]
    for name in failing[:MOST_FAILING]:
        memory.runs[name] = _failing_runs(ledger, name)
    for name in failing:
        memory.runs[name] += _last_good(ledger, name, memory)
    return memory


class Remembering:
    """Keeps a memory, and asks the ledger for what it has news of. For one thread."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._news = News()

    @property
    def memory(self) -> Memory:
        """What was remembered last, which nobody changes any more; from any thread."""
        return self._memory

    def refresh(self, ledger: "Ledger") -> Memory:
        """Return what :func:`remember` would.

        Raises:
            LedgerError: The ledger cannot be read; the memory is as it was.
        """
        with self._news.since(ledger) as fresh:
            if fresh is None or len(fresh.policies) > ONE_BY_ONE:
                self._news.begin(ledger)  # what comes in while it is asked is news the next time
                self._memory = remember(ledger)
                self._watch(self._memory.runs)
                _return_free_memory()
            else:
                self._memory = _remember_again(self._memory, ledger, fresh)
                self._watch(fresh.policies)
        return self._memory

    def _watch(self, policies: Iterable[str]) -> None:
        """Know whose the runs are of which more may be heard."""
        for name in policies:
            for run in self._memory.runs.get(name, ()):
                if not run.state.ended or run.state is RunState.INTERRUPTED:
                    self._news.open_run(run.id, name)


def _return_free_memory() -> None:
    from drkeeper.heap import return_free_memory  # noqa: PLC0415 - a status needs no ctypes

    return_free_memory()


def _remember_again(memory: Memory, ledger: "Ledger", fresh: Fresh) -> Memory:
    """Ask the ledger for what there is news of, and for what is no event: who is alive.

    Returns:
        A memory of its own; the old one is as it was.

    Raises:
        LedgerError: It cannot be read.
    """
    memory = replace(
        memory,
        runs=dict(memory.runs),
        points=dict(memory.points),
        plans={} if "policy" in fresh.nouns else dict(memory.plans),
        leases={lease.run: lease for lease in ledger.leases()},
        daemons=ledger.daemons(),
    )
    if "policy" in fresh.nouns:
        memory.seen = ledger.policies()
    if "verification" in fresh.nouns:
        memory.checks = ledger.verifications(limit=CHECKS)
    if "drill" in fresh.nouns:
        memory.shown = ledger.shown_by_drills()
    if "alarm" in fresh.nouns:
        memory.alarms = ledger.open_alarms()
    for name in fresh.policies:
        memory.plans.pop(name, None)
        newest = ledger.newest_point(name)
        memory.points |= {name: newest} if newest else {}
        memory.runs[name] = ledger.runs(name, limit=RECENT)
        if not _has_good(memory.runs[name]):
            memory.runs[name] = _failing_runs(ledger, name)
            memory.runs[name] += _last_good(ledger, name, memory)
    return memory


def _failing_runs(ledger: "Answers", name: str) -> list[Run]:
    return ledger.runs(name, limit=OF_FAILING, operation=Operation.BACKUP)


def _last_good(ledger: "Answers", name: str, memory: Memory) -> list[Run]:
    """Return the last success, when all have failed for so long that it is not among the newest."""
    if name not in memory.points or _has_good(memory.runs[name]):
        return []
    return ledger.runs(name, limit=1, states=GOOD, operation=Operation.BACKUP)


def _has_good(runs: Sequence[Run]) -> bool:
    return any(run.state in GOOD and run.operation is Operation.BACKUP for run in runs)
