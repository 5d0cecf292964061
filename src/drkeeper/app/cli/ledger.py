"""``drkeeper ledger``: verify the local record of runs."""

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger, shown_place
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
    place = ledger_place(configuration)
    with open_run_ledger(
        place, host=configuration.host, clock=called.clock, read_only=True
    ) as ledger:
        report = ledger.verify()
    shown = shown_place(place)
    called.output.summary(
        {
            "ledger": shown,
            "ok": report.ok,
            "events": report.events,
            "findings": list(report.findings),
        }
    )
    for finding in report.findings:
        called.output.result(finding)
    _require(report.ok, shown)
    called.output.say(f"{shown}: {report.events} events, unchanged")


def _require(ok: bool, shown: str) -> None:  # noqa: FBT001 - one condition
    if not ok:
        raise IntegrityError(
            f"{shown} was changed, or is damaged",
            hint="Keep a copy of it for analysis, and restore it from a backup.",
        )
