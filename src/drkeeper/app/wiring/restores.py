"""Put a restore together: which snapshot, from where, onto what; and record it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.runs import RunRecord
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.run import CheckKind, Operation, RunState, Verification
from drkeeper.operations.restore import (
    Overwrite,
    Progress,
    RestorePlan,
    RestoreReport,
    RestoreRequest,
    plan,
    restore,
)
from drkeeper.repository.commit import Commit
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class RestoreChoices:
    """What the caller decides.

    Attributes:
        policy: Whose snapshot it is, for the record.
        target: Directory that receives the tree.
        paths: Entries to restore, as in ``Entry.path``; empty for all.
        in_place: The target is the live file system.
        confirmed: Somebody agreed to that.
        overwrite: What to do with files that are there.
        delete: Remove what the snapshot does not have.
        privileged: Restore what could give rights away.
        numeric_ids: Owners by number.
        verify: Read everything back.
    """

    policy: str
    target: bytes
    paths: tuple[bytes, ...] = ()
    in_place: bool = False
    confirmed: bool = False
    overwrite: Overwrite | None = None
    delete: bool = False
    privileged: bool = False
    numeric_ids: bool = False
    verify: bool = True


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What a restore did.

    Attributes:
        report: The operation's own words.
        ledger_intact: Whether the ledger could record it.
        seconds: Duration from begin to end, the achieved part of an RTO.
    """

    report: RestoreReport
    ledger_intact: bool
    seconds: float


def plan_restore(
    repository: Repository, commit: Commit, choices: RestoreChoices, clock: Clock
) -> RestorePlan:
    """Say what a restore would do.

    Raises:
        DrkeeperError: As ``operations.restore.plan``.
    """
    return plan(_request(repository, commit, choices, clock))


def run_restore(  # noqa: PLR0913 - what a run is made of, by name
    repository: Repository,
    commit: Commit,
    choices: RestoreChoices,
    configuration: Configuration,
    *,
    clock: Clock,
    begun_at: datetime,
    warn: Callable[[str], None],
    on_progress: Callable[[Progress], None],
) -> RestoreOutcome:
    """Restore and record the run; the ledger's troubles are warnings.

    Raises:
        DrkeeperError: As ``operations.restore.restore``; recorded as well.
    """
    path = configuration.locations.ledger
    record = RunRecord(path, host=configuration.host, clock=clock, warn=warn)
    record.begin(choices.policy, Operation.RESTORE)
    try:
        report = restore(_request(repository, commit, choices, clock), on_progress)
    except BaseException as error:
        record.failed(error)
        raise
    made = []
    if report.verified:
        made.append(
            Verification(
                repository=repository.id.hex(),
                kind=CheckKind.RESTORE,
                passed=True,
                checked_at=clock.now(),
                run=record.id,
                policy=choices.policy,
                objects=report.files,
                read_bytes=report.fetched_bytes,
                detail=f"snapshot {commit.n}",
            )
        )
    state = RunState.WARNINGS if report.warnings else RunState.SUCCEEDED
    record.end(state, result=_result(commit, report), made=made)
    return RestoreOutcome(report, record.intact, (clock.now() - begun_at).total_seconds())


def report_of(error: DrkeeperError) -> RestoreReport | None:
    """Return the report that an error of a restore carries, if it got that far."""
    report = error.context.get("report")
    return report if isinstance(report, RestoreReport) else None


def _request(
    repository: Repository, commit: Commit, choices: RestoreChoices, clock: Clock
) -> RestoreRequest:
    return RestoreRequest(
        reader=SnapshotReader(repository, commit),
        target=choices.target,
        clock=clock,
        paths=choices.paths,
        in_place=choices.in_place,
        confirmed=choices.confirmed,
        overwrite=choices.overwrite,
        delete=choices.delete,
        privileged=choices.privileged,
        numeric_ids=choices.numeric_ids,
        verify=choices.verify,
    )


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
