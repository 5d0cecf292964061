"""Run a restore and record it."""

from collections.abc import Callable
from dataclasses import dataclass

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.runs import RunRecord, ledger_place
from drkeeper.app.wiring.stores import traffic
from drkeeper.errors import DrkeeperError
from drkeeper.model.run import CheckKind, Operation, RunState, Verification
from drkeeper.operations.progress import OnProgress
from drkeeper.operations.restore import RestoreReport, RestoreRequest, restore
from drkeeper.repository.commit import Commit
from drkeeper.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Recovery:
    """A snapshot on its way back.

    Attributes:
        policy: Whose snapshot it is, for the record.
        repository: Holds the snapshot.
        commit: The snapshot.
        request: What to do with it.
    """

    policy: str
    repository: Repository
    commit: Commit
    request: RestoreRequest


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What a restore did.

    Attributes:
        report: The operation's own words.
        ledger_intact: Whether the ledger could record it.
        seconds: Duration from begin to end, the achieved part of an RTO.
        traffic: What the store was asked, since it was opened.
    """

    report: RestoreReport
    ledger_intact: bool
    seconds: float
    traffic: dict[str, object]


def run_restore(
    recovery: Recovery,
    configuration: Configuration,
    *,
    warn: Callable[[str], None],
    on_progress: OnProgress,
) -> RestoreOutcome:
    """Restore and record the run; the ledger's troubles are warnings.

    Raises:
        DrkeeperError: As ``operations.restore.restore``; recorded as well.
    """
    clock = recovery.request.clock
    begun_at = clock.monotonic()
    place = ledger_place(configuration)
    record = RunRecord(place, host=configuration.host, clock=clock, warn=warn)
    record.begin(recovery.policy, Operation.RESTORE)
    try:
        report = restore(recovery.request, on_progress)
    except BaseException as error:
        record.failed(error)
        raise
    made = []
    if report.verified:
        made.append(
            Verification(
                repository=recovery.repository.id.hex(),
                kind=CheckKind.RESTORE,
                passed=True,
                checked_at=clock.now(),
                run=record.id,
                policy=recovery.policy,
                objects=report.files,
                read_bytes=report.fetched_bytes,
                detail=f"snapshot {recovery.commit.n}",
            )
        )
    state = RunState.WARNINGS if report.warnings else RunState.SUCCEEDED
    record.end(state, result=_result(recovery.commit, report), made=made)
    seconds = clock.monotonic() - begun_at
    return RestoreOutcome(report, record.intact, seconds, traffic(recovery.repository.store))


def report_of(error: DrkeeperError) -> RestoreReport | None:
    """Return the report that an error of a restore carries, if it got that far."""
    report = error.context.get("report")
    return report if isinstance(report, RestoreReport) else None


def _result(commit: Commit, report: RestoreReport) -> dict[str, object]:
    return {
        "commit": commit.n,
        "files": report.files,
        "plain_bytes": report.plain_bytes,
        "fetched_bytes": report.fetched_bytes,
        "verified": report.verified,
        "warnings": report.warnings,
        "phases": {name: round(seconds, 3) for name, seconds in report.seconds.items()},
    }
