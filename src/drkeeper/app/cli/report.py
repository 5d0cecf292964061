"""``drkeeper report``: what a quarter has shown, and a bundle that others can verify."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import click

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.streams import write_bytes
from drkeeper.app.cli.text import safe
from drkeeper.app.wiring.reports import (
    FORMATS,
    make_bundle,
    make_report,
    read_report,
    rendered,
    save,
    sign_ledger,
    signed_up_to,
)
from drkeeper.errors import InstantNotReachableError
from drkeeper.model.instants import parse_instant
from drkeeper.reports.quarters import Quarter, quarter_from_text, quarter_of


@make_command()
@click.option("--quarter", "quarter_text", metavar="2026Q4", help="Which one; default: this one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="html",
    show_default=True,
    help="As what.",
)
@click.option("--output", "target", metavar="FILE", help="Write here; - is standard output.")
@click.option(
    "--bundle", is_flag=True, help="Write the report with the signed events and their verifier."
)
@click.option(
    "--from",
    "source",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Show this report.json in another form; asks no ledger.",
)
@click.option(
    "--until", metavar="TIME", help="Of a quarter that is not over, report up to this instant."
)
def command(
    quarter_text: str | None,
    form: str,
    target: str | None,
    *,
    bundle: bool,
    source: str | None,
    until: str | None,
) -> None:
    """Write what a quarter has shown, as evidence for others.

    Everything is computed from the ledger and the configuration: the same ones give the same bytes.
    A quarter that is not over is reported until now. Without --output, the file is put into the
    current folder, as drkeeper-report-2026Q4.html. A bundle is a tar with the report, the events
    that it was computed from, and verify_report.py, which needs no drkeeper.
    """  # noqa: DOC501 - click's own
    called = this_invocation()
    if source is not None:
        if quarter_text or bundle or until:
            raise click.UsageError("--from goes without --quarter, --bundle and --until")
        report = read_report(Path(source))
        content = rendered(report, form)
    else:
        report, content = _made(called, _Asked(quarter_text, form, bundle, until))
    quarter = report["identity"]["quarter"]
    path = target or f"drkeeper-report-{quarter}.{'tar' if bundle else form}"
    if path == "-":
        _to_stdout(called, report, content)
        return
    save(Path(path).absolute(), content)
    _tell(called, report, path)


class _Asked(NamedTuple):
    quarter: str | None
    form: str
    bundle: bool
    until: str | None


def _made(called: Invocation, asked: _Asked) -> tuple[dict[str, Any], bytes]:
    """Compute a report from the ledger, and put it into its form."""
    now = called.clock.now()
    quarter = _quarter(asked.quarter, now)
    stop = _until(called, asked.until, now)
    if asked.bundle:
        _sign(called, quarter, stop or now)
        return make_bundle(called.configuration, quarter, called.clock, until=stop)
    report = make_report(called.configuration, quarter, called.clock, until=stop)
    return report, rendered(report, asked.form)


def _quarter(text: str | None, now: datetime) -> Quarter:
    """Read which quarter is asked for.

    Raises:
        click.BadParameter: It is none.
    """
    if text is None:
        return quarter_of(now)
    try:
        return quarter_from_text(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--quarter") from error


def _until(called: Invocation, text: str | None, now: datetime) -> datetime | None:
    """Read up to when is reported.

    Raises:
        click.BadParameter: It is no instant, or lies in the future.
    """
    if text is None:
        return None
    try:
        return parse_instant(text, ZoneInfo(called.configuration.zone_name), now).instant
    except (ValueError, InstantNotReachableError) as error:
        raise click.BadParameter(str(error), param_hint="--until") from error


def _sign(called: Invocation, quarter: Quarter, now: datetime) -> None:
    """See that what is handed over is signed; say so when it cannot be."""
    report = make_report(called.configuration, quarter, called.clock, until=now)
    last = report["identity"]["last"]
    if signed_up_to(called.configuration, called.clock) >= last:
        return
    for trouble in sign_ledger(called.configuration, called.clock, called.passphrase):
        called.output.warning(trouble)
    loose = last - signed_up_to(called.configuration, called.clock)
    if loose > 0:
        called.output.warning(f"{loose} events of the bundle are not signed yet")


def _to_stdout(called: Invocation, report: Mapping[str, Any], content: bytes) -> None:
    """Write a report to standard output.

    Raises:
        click.UsageError: It would be a jumble on a terminal.
    """
    if called.output.json:
        called.output.item({"report": report})
    elif sys.stdout.isatty() and b"\0" in content:
        raise click.UsageError("this is not for a terminal; give --output FILE")
    else:
        write_bytes(content)


def _tell(called: Invocation, report: Mapping[str, Any], path: str) -> None:
    """Say where it is, and the first things that it says."""
    me, found = report["identity"], report["review"]["findings"]
    bad = [each for each in found if each["weight"] == "bad"]
    called.output.summary(
        {
            "file": path,
            "quarter": me["quarter"],
            "complete": me["complete"],
            "until": me["until"],
            "first": me["first"],
            "last": me["last"],
            "findings": json.loads(json.dumps(found)),
        }
    )
    upto = "" if me["complete"] else f", until now ({me['until'][:16].replace('T', ' ')} UTC)"
    drills = [each for each in report["results"]["drills"] if each["kind"] != "key"]
    proven = sum(each["verdict"] == "proven" for each in drills)
    called.output.result(f"wrote {safe(path)}")
    called.output.say(f"quarter {me['quarter']}{upto}: {proven} of {len(drills)} drills proven")
    for each in bad:
        called.output.say(f"  not as promised: {safe(each['words'])}")
    if len(found) > len(bad):
        called.output.say(f"  {len(found) - len(bad)} more to look at")
