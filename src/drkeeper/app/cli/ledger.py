"""``drkeeper ledger``: verify, export and ask the local record of runs."""

import json
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.text import safe, table
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger, shown_place
from drkeeper.errors import IntegrityError

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger


@group()
def command() -> None:
    """Verify, export and ask the local record of runs."""


@command.command()
def verify() -> None:
    """Verify the ledger: every link of the chain, every table computed from it.

    Ends with 20 when something was changed that drkeeper did not change.
    """
    called = this_invocation()
    with _reading(called) as ledger:
        report = ledger.verify()
    shown = shown_place(ledger_place(called.configuration))
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


@command.command()
@click.option("--first", type=click.IntRange(1), default=1, help="Number of the first event.")
@click.option("--last", type=click.IntRange(1), help="Number of the last event.")
def export(first: int, last: int | None) -> None:
    """Write events as JSON lines, with checkpoints and proofs.

    What is written can be verified without drkeeper, by tools/verify_report.py and the public
    signing keys of the hosts.
    """
    called = this_invocation()
    with _reading(called) as ledger:
        for line in ledger.export(first=first, last=last):
            called.output.result(line)
            called.output.item(json.loads(line))


@command.command()
@click.argument("sql")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=10_000, help="Most rows to show."
)
@click.option(
    "--timeout", type=click.FloatRange(0.001, 3600), default=10.0, help="Most seconds to take."
)
def query(sql: str, limit: int, timeout: float) -> None:
    """Ask the ledger a question in SQL; changes nothing.

    Views: runs, recovery_points, drills, phases, probes, proven, incidents, actions, key_drills,
    verifications, alarms, notifications.
    """
    called = this_invocation()
    with _reading(called) as ledger:
        answer = ledger.query(sql, limit=limit, most_time=timedelta(seconds=timeout))
    for row in answer.rows:
        called.output.item({"row": dict(zip(answer.columns, row, strict=True))})
    called.output.summary({"rows": len(answer.rows), "truncated": answer.truncated})
    shown = [answer.columns, *answer.rows]
    for line in table([[safe("" if cell is None else str(cell)) for cell in row] for row in shown]):
        called.output.result(line)
    if answer.truncated:
        called.output.warning(f"there are more than the {limit} rows shown")


def _reading(called: Invocation) -> AbstractContextManager["Ledger"]:
    """Open the ledger to look at it."""
    configuration = called.configuration
    place = ledger_place(configuration)
    return open_run_ledger(place, host=configuration.host, clock=called.clock, read_only=True)


def _require(ok: bool, shown: str) -> None:  # noqa: FBT001 - one condition
    if not ok:
        raise IntegrityError(
            f"{shown} was changed, or is damaged",
            hint="Keep a copy of it for analysis, and restore it from a backup.",
        )
