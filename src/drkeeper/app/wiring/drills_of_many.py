"""Mass drills: many policies at once, as after the loss of a machine, with one row for the whole."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event
from typing import Final

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.drills import (
    Books,
    DrillChoices,
    DrillOutcome,
    end_run_of,
    run_drill,
)
from drkeeper.app.wiring.repositories import Access, Passphrase
from drkeeper.app.wiring.runs import RunRecord, ledger_place
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.drill import (
    ControlResult,
    DrillKind,
    Outcome,
    Phase,
    ProbeResult,
    Stopwatch,
    Verdict,
)
from drkeeper.model.drill_record import Drill, DrillEnd, DrillPlan
from drkeeper.model.policy import Policy
from drkeeper.model.run import Operation
from drkeeper.operations.drills.conducting import newest_checkpoint
from drkeeper.operations.progress import ignore

CONTROLS: Final = "controls-of-policies"
"""Name of the control of a mass drill: those of all its parts."""

_OUTCOMES: Final = {
    Verdict.INVALID: Outcome.BROKEN,
    Verdict.INCONCLUSIVE: Outcome.BROKEN,
    Verdict.UNSOUND: Outcome.FAILED,
    Verdict.FAILED: Outcome.FAILED,
    Verdict.TOO_OLD: Outcome.TOO_OLD,
    Verdict.TOO_SLOW: Outcome.TOO_SLOW,
    Verdict.PROVEN: Outcome.PASSED,
}
"""What a part's verdict says of the whole, which is as good as its worst part."""
_SOUND: Final = frozenset({Outcome.PASSED, Outcome.TOO_OLD, Outcome.TOO_SLOW})
"""What a part has come back with, in time or not."""


@dataclass(frozen=True, slots=True)
class MassOutcome:
    """What a mass drill did.

    Attributes:
        whole: The row of the whole.
        parts: The drill of each policy, in the order in which they were named.
        run: The run of the whole.
    """

    whole: DrillOutcome
    parts: list[DrillOutcome]

    @property
    def is_proven(self) -> bool:
        """Whether every policy is."""
        return all(each.verdict is Verdict.PROVEN for each in (self.whole, *self.parts))


def run_mass(  # noqa: PLR0913 - what a drill is made of, by name
    todo: Sequence[tuple[Policy, Access]],
    configuration: Configuration,
    choices: DrillChoices,
    *,
    at_once: int,
    clock: Clock,
    passphrase: Passphrase | None,
    warn: Callable[[str], None],
    on_end: Callable[[DrillOutcome], None],
) -> MassOutcome:
    """Drill many policies, so many at once, and the whole as one.

    Args:
        todo: The policies, each with its repository.
        configuration: Says where everything is.
        choices: Which recovery points; ``kind`` and ``parent`` are set here.
        at_once: How many are restored at the same time.
        clock: Dates and measures.
        passphrase: Opens protected key files.
        warn: Told what is not as it should be.
        on_end: Told of each part, from any thread.

    Raises:
        LedgerError: The ledger could not be written.
    """
    record = RunRecord(ledger_place(configuration), host=configuration.host, clock=clock, warn=warn)
    record.begin(None, Operation.DRILL)
    books = Books(configuration, clock)
    names = [policy.name for policy, _ in todo]
    try:
        with books.open() as ledger:
            size, root = newest_checkpoint(ledger)
            planned = ledger.plan_drill(
                DrillPlan(
                    policy=None,
                    kind=DrillKind.MASS,
                    choice=choices.choice,
                    instant=choices.instant,
                    criteria={"policies": names, "at_once": at_once},
                    checkpoint_size=size,
                    checkpoint_root=root,
                    run=record.id,
                )
            )
            declared_at, declared_s = clock.now(), clock.monotonic()
            ledger.declare_drill(planned.id, declared_at)
        watch = Stopwatch(declared_at, declared_s)
        stopping = Event()
        part = replace(
            choices, kind=DrillKind.RESTORE, parent=planned.id, cancelled=stopping.is_set, run=None
        )

        def one(policy: Policy, access: Access) -> DrillOutcome:
            done = run_drill(
                policy,
                configuration,
                access,
                part,
                clock=clock,
                passphrase=passphrase,
                warn=warn,
                on_progress=ignore,
            )
            on_end(done)
            return done

        parts = _all(todo, one, at_once, stopping)
        drill = _ended(books, planned, parts, watch, clock)
    except BaseException as error:
        record.failed(error)
        raise
    end_run_of(record, drill, clock)
    return MassOutcome(
        DrillOutcome(drill, record.id), [each for each in parts if isinstance(each, DrillOutcome)]
    )


def _all(
    todo: Sequence[tuple[Policy, Access]],
    one: Callable[[Policy, Access], DrillOutcome],
    at_once: int,
    stopping: Event,
) -> list[DrillOutcome | tuple[str, DrkeeperError]]:
    """Do all; what could not even be begun is an error in its place."""
    with ThreadPoolExecutor(at_once, thread_name_prefix="drkeeper-drill") as pool:
        begun: list[tuple[str, Future[DrillOutcome]]] = [
            (policy.name, pool.submit(one, policy, access)) for policy, access in todo
        ]
        parts: list[DrillOutcome | tuple[str, DrkeeperError]] = []
        try:
            for name, future in begun:
                try:
                    parts.append(future.result())
                except DrkeeperError as error:
                    parts.append((name, error))
        except BaseException:
            stopping.set()
            for _, future in begun:
                future.cancel()
            raise
    return parts


def _ended(  # noqa: PLR0917 - the end of the above
    books: Books,
    planned: Drill,
    parts: Sequence[DrillOutcome | tuple[str, DrkeeperError]],
    watch: Stopwatch,
    clock: Clock,
) -> Drill:
    probes = tuple(_probe(each) for each in parts)
    drills = [each.drill for each in parts if isinstance(each, DrillOutcome)]
    restored = [each for each in drills if each.end is not None and each.end.restored]
    whole = all(each.outcome in _SOUND for each in probes)
    if whole:
        _reach_last(watch, drills)
    watch.reach(Phase.TORN_DOWN, clock.now(), clock.monotonic())
    missing = len(parts) - len(restored)
    with books.open() as ledger:
        return ledger.end_drill(
            planned.id,
            DrillEnd(
                ended_at=clock.now(),
                timeline=watch.timeline(),
                restored=not missing,
                failure=f"{missing} of {len(parts)} policies could not be restored"
                if missing
                else "",
                probes=probes,
                controls=_controls(drills),
                detail={
                    "policies": len(parts),
                    "proven": sum(
                        each.judgement is not None and each.judgement.verdict is Verdict.PROVEN
                        for each in drills
                    ),
                    "plain_bytes": sum(
                        each.end.point.plain_bytes
                        for each in drills
                        if each.end is not None and each.end.point is not None
                    ),
                },
            ),
        )


def _reach_last(watch: Stopwatch, drills: Sequence[Drill]) -> None:
    """Note when the last policy had passed its last probe."""
    begun_at = watch.timeline().declared_at
    last = max(
        (
            each.declared_at - begun_at + each.end.achieved_rto
            for each in drills
            if each.declared_at and each.end and each.end.achieved_rto is not None
        ),
        default=timedelta(),
    )
    watch.reach_after(Phase.PROBES_PASSED, begun_at + last, last)


def _probe(part: DrillOutcome | tuple[str, DrkeeperError]) -> ProbeResult:
    expected = "restored, sound, and as promised"
    if not isinstance(part, DrillOutcome):
        name, error = part
        return ProbeResult(name, "drill", Outcome.BROKEN, expected, str(error))
    drill, verdict = part.drill, part.verdict
    reason = drill.judgement.reason if drill.judgement else ""
    found = f"{verdict.value} (drill {drill.id}){': ' if reason else ''}{reason}"
    took = drill.end.achieved_rto if drill.end else None
    outcome = _OUTCOMES[verdict]
    name = drill.plan.policy or "?"
    return ProbeResult(name, "drill", outcome, expected, found, took or timedelta())


def _controls(drills: Sequence[Drill]) -> tuple[ControlResult, ...]:
    """Add up the negative controls of all parts that came to them."""
    made = [each for drill in drills if drill.end for each in drill.end.controls]
    if not made:
        return ()
    outcomes = {each.outcome for each in made}
    bad = [each for each in (Outcome.FAILED, Outcome.BROKEN) if each in outcomes]
    caught = sum(each.outcome is Outcome.PASSED for each in made)
    by = tuple(dict.fromkeys(drill.plan.policy or "?" for drill in drills))
    detail = f"{caught} of {len(made)} planted faults were caught"
    return (ControlResult(CONTROLS, bad[0] if bad else Outcome.PASSED, by, detail),)
