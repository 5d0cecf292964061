"""Put a drill together, from a policy to its rows in the ledger."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.files import make_private
from drkeeper.app.wiring.pulse import Pulse
from drkeeper.app.wiring.repositories import Access, Passphrase, open_for_reading
from drkeeper.app.wiring.runs import RunRecord, ledger_place, open_run_ledger
from drkeeper.clock import Clock
from drkeeper.errors import ScratchError, VerificationError
from drkeeper.ledger.ledger import Ledger
from drkeeper.model.drill import Choice, DrillKind, Outcome, Verdict
from drkeeper.model.drill_record import Drill
from drkeeper.model.policy import FilesSource, Policy
from drkeeper.model.run import (
    CheckKind,
    Operation,
    RunFailure,
    RunId,
    RunState,
    Verification,
)
from drkeeper.operations.drills import (
    Asked,
    DrillRequest,
    Planned,
    chooser,
    conduct,
    plan_drill,
    settle,
)
from drkeeper.operations.drills.performing import ROOM
from drkeeper.operations.progress import OnProgress, Progress
from drkeeper.repository.repository import Repository
from drkeeper.scratch.base import Limits, Scratch
from drkeeper.scratch.opening import open_scratch, sweep

NOT_PROVEN: Final = VerificationError.exit_code
"""Source: docs/exit-codes.md."""

_LEAST_DISK: Final = 64 * 1024 * 1024
"""What one program may write at least, however little was restored. Source: ours."""

_MOST_SAID: Final = 16 * 1024 * 1024
"""What is kept of an output: the answer about a database of 200,000 tables. Source: ours."""

ADVICE: Final = {
    Verdict.TOO_OLD: "Run drkeeper status to see why the newest recovery point is so old.",
    Verdict.TOO_SLOW: "Look at the longest phase above; bandwidth and the scratch disk decide most.",
    Verdict.UNSOUND: "Do not rely on this snapshot; run drkeeper check --read-data, and drill "
    "another one with --at oldest.",
    Verdict.FAILED: "Run drkeeper check; this policy could not be brought back today.",
    Verdict.INVALID: "Change the probes that see no difference without any data: docs/drills.md.",
    Verdict.INCONCLUSIVE: "Run drkeeper doctor; mend the place that drills restore to, and repeat.",
}
"""What to do about each verdict that is no proof."""


@dataclass(frozen=True, slots=True)
class DrillChoices:
    """What the caller decides for one drill.

    Attributes:
        kind: What it goes through.
        choice: Which recovery point it takes.
        instant: The one asked for, with ``Choice.INSTANT``.
        parent: The drill of many policies that this is a part of.
        run: The queued run to claim; ``None`` to begin one of its own.
        cancelled: Asked now and then; ``True`` ends the drill in an orderly way.
        host: Whose data is meant when several hosts have a policy of this name; ``None`` for
            whichever there is.
    """

    kind: DrillKind = DrillKind.RESTORE
    choice: Choice = Choice.LATEST
    instant: datetime | None = None
    parent: int | None = None
    run: RunId | None = None
    cancelled: Callable[[], bool] = bool
    host: str | None = None


@dataclass(frozen=True, slots=True)
class DrillOutcome:
    """What a drill did.

    Attributes:
        drill: As the ledger has it.
        run: Its run; ``None`` when that could not be recorded.
    """

    drill: Drill
    run: RunId | None

    @property
    def verdict(self) -> Verdict:
        """How it ended."""
        judgement = self.drill.judgement
        return Verdict.INCONCLUSIVE if judgement is None else judgement.verdict


def run_drill(  # noqa: PLR0913 - what a drill is made of, by name
    policy: Policy,
    configuration: Configuration,
    access: Access,
    choices: DrillChoices,
    *,
    clock: Clock,
    passphrase: Passphrase | None,
    warn: Callable[[str], None],
    on_progress: OnProgress,
) -> DrillOutcome:
    """Drill a policy; all that comes of it are rows in the ledger.

    Raises:
        RunningError: The run to claim is not queued any more; nothing was begun.
        LedgerError: The ledger could not be written, without which there is no proof.
    """
    pulse = Pulse()
    place = ledger_place(configuration)
    record = RunRecord(place, host=configuration.host, clock=clock, warn=warn)
    record.begin(policy.name, Operation.DRILL, choices.run, progress=pulse.progress)
    books = Books(configuration, clock)
    try:
        with books.open() as ledger:
            settle(ledger, policy.name, clock.now())
            planned = plan_drill(ledger, _asked(policy, choices, record.id))
        drill = _conduct(
            policy,
            configuration,
            planned,
            books,
            open_it=lambda opened: open_for_reading(
                access,
                configuration.locations.state,
                clock,
                passphrase,
                keys_opened=opened,
            ),
            choices=choices,
            on_progress=lambda step: _both(pulse, on_progress, step),
            warn=warn,
        )
    except BaseException as error:
        record.failed(error)
        raise
    end_run_of(record, drill, clock)
    return DrillOutcome(drill, record.id)


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger of an installation, opened for each act.

    Attributes:
        configuration: Says where it is.
        clock: Dates the events.
    """

    configuration: Configuration
    clock: Clock

    def open(self) -> AbstractContextManager[Ledger]:
        """Open it to write.

        Raises:
            LedgerError: It is damaged, busy, out of reach, or cannot be made.
        """
        make_private(self.configuration.locations.state)
        place = ledger_place(self.configuration)
        return open_run_ledger(place, host=self.configuration.host, clock=self.clock)

    def declare(self, drill: int, declared_at: datetime) -> None:
        """Record when the disaster was declared.

        Raises:
            LedgerError: It could not be recorded.
        """
        with self.open() as ledger:
            ledger.declare_drill(drill, declared_at)


def unknown_policy(name: str) -> Policy:
    """Return a policy of which nothing is known but its name: no promises, no questions.

    Its snapshots say what they are of.
    """
    return Policy(name, FilesSource(()), "store", "UTC", UTC)


def _asked(policy: Policy, choices: DrillChoices, run: RunId | None) -> Asked:
    return Asked(
        policy=policy,
        kind=choices.kind,
        choice=choices.choice,
        instant=choices.instant,
        parent=choices.parent,
        run=run,
    )


def _conduct(  # noqa: PLR0913 - as above
    policy: Policy,
    configuration: Configuration,
    planned: Planned,
    books: Books,
    *,
    open_it: Callable[[Callable[[], None]], Repository],
    choices: DrillChoices,
    on_progress: OnProgress,
    warn: Callable[[str], None],
) -> Drill:
    where = scratch_folder(policy, configuration)
    needed = 0 if planned.point is None else planned.point.plain_bytes
    try:
        for left in sweep(where):
            warn(f"removed {left}, left by a drill that was killed")
    except ScratchError as error:
        warn(str(error))
    request = DrillRequest(
        drill=planned.drill,
        open=open_it,
        choose=chooser(planned, choices.host),
        scratch=lambda: _scratch(policy, where, needed, books.clock),
        declare=lambda at: books.declare(planned.drill.id, at),
        clock=books.clock,
        probes=policy.drill.probes,
        needed_bytes=needed,
        on_progress=on_progress,
        cancelled=choices.cancelled,
    )
    return conduct(request, books.open)


def scratch_folder(policy: Policy, configuration: Configuration) -> Path:
    """Return the directory below which drills of a policy restore."""
    named = policy.drill.scratch
    return Path(named) if named else configuration.locations.cache / "scratch"


def _scratch(
    policy: Policy, where: Path, needed_bytes: int, clock: Clock
) -> AbstractContextManager[Scratch]:
    terms = policy.drill
    limits = Limits(
        memory_bytes=terms.memory_bytes,
        cpu=terms.longest,
        wall=terms.longest,
        disk_bytes=max(_LEAST_DISK, int(needed_bytes * (ROOM - 1))),
        processes=terms.processes,
        output_bytes=_MOST_SAID,
    )
    readable = [Path(each) for each in terms.readable]
    return open_scratch(where, kind=None, limits=limits, clock=clock, readable=readable)


def _both(pulse: Pulse, on_progress: OnProgress, step: Progress) -> None:
    pulse.beat(step)
    on_progress(step)


def end_run_of(record: RunRecord, drill: Drill, clock: Clock) -> None:
    """Record the run behind a drill."""
    end, judgement = drill.end, drill.judgement
    assert end is not None, "it has ended"  # noqa: S101 - for the types
    assert judgement is not None, "it was judged"  # noqa: S101 - for the types
    result: dict[str, object] = {
        "drill": drill.id,
        "verdict": judgement.verdict.value,
        "snapshot": None if end.point is None else end.point.commit_number,
        "achieved_rto_s": _seconds(end.achieved_rto),
        "achieved_rpo_s": _seconds(end.achieved_rpo),
    }
    made = []
    compared = any(each.kind == "bytes" for each in end.probes)
    if end.restored and end.point is not None and compared:
        made.append(
            Verification(
                repository=end.point.repository,
                kind=CheckKind.RESTORE,
                passed=judgement.verdict is not Verdict.UNSOUND,
                checked_at=clock.now(),
                run=record.id,
                policy=drill.plan.policy,
                objects=end.point.files,
                read_bytes=end.point.read_bytes,
                findings=sum(each.outcome is Outcome.FAILED for each in end.probes),
                detail=f"drill {drill.id} of snapshot {end.point.commit_number}",
            )
        )
    verdict = judgement.verdict
    if verdict is Verdict.PROVEN:
        record.end(RunState.SUCCEEDED, result=result, made=made)
        return
    failure = RunFailure("DrillNotProven", _reason(drill), NOT_PROVEN, ADVICE[verdict])
    state = RunState.WARNINGS if verdict.sound else RunState.FAILED
    record.end(state, result=result, made=made, failure=failure)


def _reason(drill: Drill) -> str:
    judgement = drill.judgement
    return "" if judgement is None else f"{judgement.verdict.value}: {judgement.reason}"


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 6)
