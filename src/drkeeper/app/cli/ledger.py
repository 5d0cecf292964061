"""``drkeeper ledger``: verify the local record of runs."""

from pathlib import Path

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.errors import IntegrityError


@group()
def command() -> None:
    """Verify the local record of runs."""


@command.command()
def verify() -> None:
    """Verify the ledger: every link of the chain, every table computed from it.

    Ends with 20 when something was changed that drkeeper did not change.
    """
    called = this_invocation()
    configuration = called.configuration
    path = configuration.locations.ledger
    with open_run_ledger(
        path, host=configuration.host, clock=called.clock, read_only=True
    ) as ledger:
        report = ledger.verify()
    called.output.summary(
        {
            "ledger": str(path),
            "ok": report.ok,
            "events": report.events,
            "findings": list(report.findings),
        }
    )
    for finding in report.findings:
        called.output.result(finding)
    _require(report.ok, path)
    called.output.say(f"{path}: {report.events} events, unchanged")


def _require(ok: bool, path: Path) -> None:  # noqa: FBT001 - one condition
    if not ok:
        raise IntegrityError(
            f"{path} was changed, or is damaged",
            hint="Keep a copy of the file for analysis, and restore it from a backup.",
        )
