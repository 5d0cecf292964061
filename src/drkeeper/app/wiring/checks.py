"""Put a check together and record what it found."""

from collections.abc import Callable

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.repositories import Access, Passphrase, open_for_reading
from drkeeper.app.wiring.runs import RunRecord
from drkeeper.clock import Clock
from drkeeper.model.run import (
    CheckKind,
    Operation,
    RunId,
    RunState,
    Verification,
)
from drkeeper.operations.check import CheckReport, CheckRequest, Severity, check
from drkeeper.operations.progress import OnProgress
from drkeeper.repository.repository import Repository

_DETAIL_CHARACTERS = 500


def run_check(  # noqa: PLR0913 - what a run is made of, by name
    access: Access,
    configuration: Configuration,
    request: CheckRequest,
    *,
    clock: Clock,
    passphrase: Passphrase | None,
    warn: Callable[[str], None],
    on_progress: OnProgress,
) -> tuple[CheckReport, bool]:
    """Check a repository; return what was found and whether the ledger could record it.

    Raises:
        DrkeeperError: The check could not be made; recorded as well.
    """
    locations = configuration.locations
    record = RunRecord(locations.ledger, host=configuration.host, clock=clock, warn=warn)
    record.begin(None, Operation.CHECK)
    try:
        repository = open_for_reading(
            access,
            locations.state,
            clock,
            passphrase,
            salvage=True,
            blind=request.blind,
        )
        report = check(repository, request, on_progress)
    except BaseException as error:
        record.failed(error)
        raise
    verification = _verification(repository, request, report, record.id)
    record.end(
        RunState.SUCCEEDED if report.sound else RunState.FAILED,
        result={"sound": report.sound, "findings": len(report.findings)},
        made=[verification],
    )
    return report, record.intact


def _verification(
    repository: Repository, request: CheckRequest, report: CheckReport, run: RunId | None
) -> Verification:
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    kind = CheckKind.READ_DATA if request.read else CheckKind.STRUCTURE
    return Verification(
        repository=repository.id.hex(),
        kind=CheckKind.BLIND if request.blind else kind,
        passed=report.sound,
        checked_at=repository.clock.now(),
        run=run,
        objects=report.objects,
        read_bytes=report.read_bytes,
        findings=len(errors),
        detail="; ".join(f"{f.code} {f.thing}" for f in errors)[:_DETAIL_CHARACTERS],
    )
