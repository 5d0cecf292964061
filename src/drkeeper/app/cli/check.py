"""``drkeeper check``: whether a repository is whole and unchanged."""

from datetime import UTC, datetime

import click

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.output import safe_lines
from drkeeper.app.cli.progress import show_progress
from drkeeper.app.cli.reaching import Reach, access, reach_options
from drkeeper.app.wiring.checks import CheckOutcome, run_check
from drkeeper.errors import IntegrityError
from drkeeper.model.quantities import format_size
from drkeeper.operations.check import (
    CheckFinding,
    CheckRequest,
    Severity,
    Slice,
)

WARNINGS = 3


@make_command()
@click.option("--blind", is_flag=True, help="Use public keys only: needs no identity.")
@click.option(
    "--read-data",
    is_flag=False,
    flag_value="100%",
    metavar="[N%]",
    help="Also read every stored byte, or another N percent each day.",
)
@reach_options
def command(*, reach: Reach, blind: bool, read_data: str | None) -> int:
    """Check that a repository is whole and unchanged.

    All that is wrong is listed. Ends with 20 when stored data is not what was written, with 3 when
    nothing is lost but somebody should look.
    """
    called = this_invocation()
    request = CheckRequest(blind, _slice(called, read_data))
    with show_progress(called.output, called.clock, "check", things="objects") as show:
        outcome = run_check(
            access(called, reach),
            called.configuration,
            request,
            clock=called.clock,
            passphrase=called.passphrase,
            warn=called.output.warning,
            on_progress=show,
        )
    _tell(called, outcome)
    warned = any(finding.severity is Severity.WARNING for finding in outcome.report.findings)
    return WARNINGS if warned or not outcome.ledger_intact else 0


def _slice(called: Invocation, text: str | None) -> Slice | None:
    if text is None:
        return None
    number = text.removesuffix("%")
    if not number.isdecimal() or not 1 <= int(number) <= 100:  # noqa: PLR2004 - percent
        raise click.BadParameter(
            f"{text!r} is not a percentage from 1% to 100%", param_hint="--read-data"
        )
    days = (called.clock.now() - datetime(1970, 1, 1, tzinfo=UTC)).days
    return Slice.percent(int(number), days)


def _tell(called: Invocation, outcome: CheckOutcome) -> None:
    output, report = called.output, outcome.report
    for finding in report.findings:
        output.item(_fields(finding))
        line = safe_lines(f"{finding.severity}: {finding.thing}: {finding.message}")
        if finding.severity is Severity.NOTE:
            output.detail(line)
            continue
        output.result(line)
        if finding.action:
            output.result(safe_lines(f"  hint: {finding.action}"))
    output.summary(
        {
            "sound": report.sound,
            "entries": report.entries,
            "snapshots": report.snapshots,
            "objects": report.objects,
            "stored_bytes": report.stored_bytes,
            "read_objects": report.read_objects,
            "read_bytes": report.read_bytes,
            "unneeded_objects": report.unneeded_objects,
            "unneeded_bytes": report.unneeded_bytes,
            "damaged_snapshots": list(report.damaged_snapshots),
            "findings": len(report.findings) + report.findings_left_out,
            **outcome.traffic,
        }
    )
    if not report.sound:
        damaged = ", ".join(map(str, report.damaged_snapshots)) or "none that is known"
        raise IntegrityError(
            f"the repository is damaged; snapshots touched: {damaged}",
            hint="Restore the objects named above from a copy of the store, then check again.",
        )
    output.say(
        f"sound: {report.snapshots} snapshots, {report.objects} objects, "
        f"{format_size(report.stored_bytes)}; {report.read_objects} objects, "
        f"{format_size(report.read_bytes)} read and compared"
    )


def _fields(finding: CheckFinding) -> dict[str, object]:
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "thing": finding.thing,
        "message": finding.message,
        "action": finding.action,
        "snapshots": list(finding.snapshots),
    }
