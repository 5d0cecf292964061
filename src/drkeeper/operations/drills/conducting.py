"""A drill from its plan to its verdict, as the ledger keeps it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from drkeeper.crypto.notes import Checkpoint
from drkeeper.crypto.sampling import draw, sample_seed
from drkeeper.errors import InstantNotReachableError, IntegrityError
from drkeeper.ledger.ledger import Ledger
from drkeeper.model.drill import Choice, DrillKind, Phase, Promised, held_to
from drkeeper.model.drill_record import EMPTY_ROOT, Drill, DrillEnd, DrillPlan
from drkeeper.model.policy import Policy
from drkeeper.model.prediction import MOST_HISTORY, Measured, Prediction, predict
from drkeeper.model.probes import Probes
from drkeeper.model.run import RecoveryPoint, RunId
from drkeeper.operations.drills.comparing import BYTES, WHAT
from drkeeper.operations.drills.controls import (
    NOTHING_THERE,
    STALE_POINT,
    vacuous_without_data,
)
from drkeeper.operations.drills.performing import Performance
from drkeeper.operations.drills.planting import FLIPPED_BYTE, MISSING_PATH, TRUNCATED_FILE
from drkeeper.operations.drills.request import Choose, Chosen, DrillRequest
from drkeeper.operations.snapshots import choose, history
from drkeeper.repository.commit import Commit
from drkeeper.repository.repository import Repository

OpenLedger = Callable[[], AbstractContextManager[Ledger]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody, or the schedule, wants drilled.

    Attributes:
        policy: Whose data.
        kind: What the drill goes through.
        choice: Which recovery point.
        instant: The one asked for, with ``Choice.INSTANT``.
        parent: The drill of many policies that this is a part of.
        run: The run that does it.
    """

    policy: Policy
    kind: DrillKind = DrillKind.RESTORE
    choice: Choice = Choice.LATEST
    instant: datetime | None = None
    parent: int | None = None
    run: RunId | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan as it was written down, and what is known of what it will meet.

    Attributes:
        drill: With its number.
        point: The newest recovery point that this machine's catalogue has; ``None`` for none.
    """

    drill: Drill
    point: RecoveryPoint | None


def plan_drill(ledger: Ledger, asked: Asked) -> Planned:
    """Write down what is held to be proven, and how, before anything is known.

    Raises:
        LedgerError: It could not be written.
    """
    policy = asked.policy
    promised = Promised(policy.objectives.rpo, policy.objectives.rto)
    points = ledger.recovery_points(policy.name, limit=_LOOKED_AT)
    point = max((each for each in points if each.complete), key=_age_of_point, default=None)
    size, root = newest_checkpoint(ledger)
    plan = DrillPlan(
        policy=policy.name,
        kind=asked.kind,
        choice=asked.choice,
        instant=asked.instant,
        promised=held_to(promised, asked.kind, asked.choice),
        criteria=criteria(policy.source.kind, policy.drill.probes),
        checkpoint_size=size,
        checkpoint_root=root,
        prediction=prediction_for(ledger, policy.name, asked.kind, point),
        parent=asked.parent,
        run=asked.run,
    )
    return Planned(ledger.plan_drill(plan), point)


_LOOKED_AT: Final = 20
"""Newest recovery points among which a complete one is looked for. Source: ours."""


def settle(ledger: Ledger, policy: str, now: datetime) -> list[Drill]:
    """End the drills of a policy whose process is dead: they are no proof, and nobody goes on with them.

    Returns:
        Those that were ended.

    Raises:
        LedgerError: It could not be written.
    """
    ended = []
    for each in ledger.drills(policy, ended=False):
        run = None if each.plan.run is None else ledger.run(each.plan.run)
        if run is not None and run.state.ended:
            end = DrillEnd(ended_at=now, scratch_failure="drkeeper died in the midst of the drill")
            ended.append(ledger.end_drill(each.id, end))
    return ended


def conduct(request: DrillRequest, open_ledger: OpenLedger) -> Drill:
    """Perform a planned drill, and record what came of it, whatever it was.

    Raises:
        LedgerError: The declaration or the end could not be recorded.
    """
    performance = Performance(request)
    try:
        performance.run()
    except Exception:
        raise
    except BaseException as error:
        performance.interrupted(error)
        with open_ledger() as ledger:
            ledger.end_drill(request.drill.id, performance.end())
        raise
    with open_ledger() as ledger:
        return ledger.end_drill(request.drill.id, performance.end())


def chooser(planned: Planned, host: str | None) -> Choose:
    """Return what chooses the recovery point of a planned drill.

    For the newest one, the machine's own catalogue says how new that has to be: a store that shows an
    older state as the newest is found out. What has ended only after the disaster was declared would
    have been lost in it.

    Args:
        planned: The drill.
        host: Name of the host that is meant when several have a policy of this name.
    """
    drill = planned.drill
    plan, policy = drill.plan, drill.plan.policy or ""

    def chosen(repository: Repository, declared_at: datetime) -> Chosen:
        if plan.choice is Choice.INSTANT and plan.instant is not None:
            commit = choose(repository, policy, plan.instant, host=host)
            return Chosen(commit, commit.n)
        commits = [each for each in history(repository, policy, host=host) if each.complete]
        if not commits:
            raise InstantNotReachableError(
                f"policy {policy!r} has no complete snapshot", hint="Run drkeeper backup first."
            )
        if plan.choice is Choice.OLDEST:
            return Chosen(commits[0], commits[0].n)
        if plan.choice is Choice.RANDOM:
            return _drawn(drill, commits)
        known = planned.point
        there = known.commit_number if known and known.repository == repository.id.hex() else 0
        survived = [each for each in commits if each.finished_at <= declared_at or each.n <= there]
        newest = max(survived or commits, key=lambda each: (each.consistent_at, each.n))
        return Chosen(newest, expected_number(known, repository.id.hex(), newest))

    return chosen


def _drawn(drill: Drill, commits: Sequence[Commit]) -> Chosen:
    """Draw one by the drill's seed: of the numbers in their order, as whoever draws again does."""
    ordered = sorted(commits, key=lambda each: each.n)
    seed = sample_seed(bytes.fromhex(drill.plan.checkpoint_root), drill.id)
    (place,) = draw(seed, len(ordered))
    numbers = tuple(each.n for each in ordered)
    return Chosen(ordered[place], ordered[place].n, numbers if len(numbers) <= MOST_LISTED else ())


MOST_LISTED: Final = 5000
"""Most candidates that a drill lists. Source: ours; an event is to stay small, and whoever has more
recovery points finds them in the ledger."""


class _Numbered(Protocol):
    @property
    def consistent_at(self) -> datetime: ...

    @property
    def n(self) -> int: ...


def expected_number(known: RecoveryPoint | None, repository: str, newest: _Numbered) -> int:
    """Return the number of the snapshot that a drill of the newest one has to restore.

    Args:
        known: The newest one in this machine's catalogue.
        repository: Identifier of the repository that is read.
        newest: The newest one in it. Later than what is known, it is right: a backup has ended since.
    """
    if known is None or known.repository != repository:
        return newest.n
    if _age_of_point(known) > (newest.consistent_at, newest.n):
        return known.commit_number
    return newest.n


def _age_of_point(point: RecoveryPoint) -> tuple[datetime, int]:
    return point.consistent_at, point.commit_number


def criteria(kind: str, probes: Probes) -> Mapping[str, object]:
    """Return which probes and controls will be run, and what they ask for."""
    asked: dict[str, object] = {BYTES: WHAT}
    if kind == "sqlite":
        asked["engine"] = "settings, schema, rows, integrity and keys as counted at the backup"
    asked |= {probe.name: probe.in_words() for probe in probes}
    controls = [FLIPPED_BYTE, TRUNCATED_FILE, MISSING_PATH]
    if kind == "sqlite":
        controls.append(STALE_POINT)
    if len(vacuous_without_data(probes)):
        controls.append(NOTHING_THERE)
    return {"probes": asked, "controls": controls}


def prediction_for(
    ledger: Ledger, policy: str, kind: DrillKind, point: RecoveryPoint | None
) -> Prediction | None:
    """Predict how long a drill takes, from those of its kind that came to their last probe."""
    if point is None:
        return None
    found = ledger.drills(policy, limit=2 * MOST_HISTORY, ended=True)
    return predict(measured(found, kind), point.plain_bytes)


def measured(drills: Sequence[Drill], kind: DrillKind) -> list[Measured]:
    """Return what earlier drills of a kind took, newest first."""
    made = []
    for each in drills:
        end = each.end
        if each.plan.kind is not kind or end is None or end.timeline is None or end.point is None:
            continue
        if end.achieved_rto is not None:
            took = end.timeline.took()
            took.pop(Phase.TORN_DOWN, None)
            made.append(Measured(took, end.point.plain_bytes))
    return made


def newest_checkpoint(ledger: Ledger) -> tuple[int, str]:
    """Return size and root of the newest checkpoint; who verifies the ledger verifies it, too."""
    found = ledger.checkpoints(limit=1)
    if not found:
        return 0, EMPTY_ROOT
    try:
        parsed = Checkpoint.parse(f"{found[0].note.partition(chr(10) * 2)[0]}\n")
    except IntegrityError:
        return 0, EMPTY_ROOT
    return parsed.size, parsed.root.hex()
