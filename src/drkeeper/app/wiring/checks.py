"""Put a check together and record what it found."""

from collections.abc import Callable
from dataclasses import dataclass

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.repositories import Access, Passphrase, open_for_reading
from drkeeper.app.wiring.runs import RunRecord, ledger_place
from drkeeper.app.wiring.stores import traffic
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


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a check did.

    Attributes:
        report: The operation's own words.
        ledger_intact: Whether the ledger could record it.
        traffic: What the store was asked.
    """

    report: CheckReport
    ledger_intact: bool
    traffic: dict[str, object]


def run_check(  # noqa: PLR0913 - what a run is made of, by name
    access: Access,
    configuration: Configuration,
    request: CheckRequest,
    *,
    clock: Clock,
    passphrase: Passphrase | None,
    warn: Callable[[str], None],
    on_progress: OnProgress,
) -> CheckOutcome:
    """Check a repository and record the run; the ledger's troubles are warnings.

    Raises:
        DrkeeperError: The check could not be made; recorded as well.
    """
    locations = configuration.locations
    place = ledger_place(configuration)
    record = RunRecord(place, host=configuration.host, clock=clock, warn=warn)
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
    return CheckOutcome(report, record.intact, traffic(repository.store))


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
