"""``drkeeper ledger``: verify, store, rebuild, export and ask the local record of runs."""

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.opening import open_repository
from drkeeper.app.cli.reaching import Reach, access, looking_options, reach_options
from drkeeper.app.cli.text import safe, table
from drkeeper.app.config.files import make_private
from drkeeper.app.daemon.lock import only_daemon
from drkeeper.app.wiring.parent import end_with_parent
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger, shown_place
from drkeeper.errors import (
    ConfigurationError,
    DrkeeperError,
    IntegrityError,
    KeyNotFoundError,
    RepositoryNotFoundError,
    StorageError,
)
from drkeeper.model.instants import rfc3339

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.app.wiring.ledger_copies import Verified
    from drkeeper.ledger.ledger import Ledger
    from drkeeper.operations.keeping_ledgers import Gathered

WARNINGS: Final = 3
_HOST_DIGITS: Final = 32


@group()
def command() -> None:
    """Verify, store, rebuild, export and ask the local record of runs."""


@command.command()
@click.option("--storage", is_flag=True, help="Also compare with what repositories have of it.")
@reach_options
def verify(reach: Reach, *, storage: bool) -> int:
    """Verify the ledger: every link of the chain, every table computed from it.

    With --storage, or a repository named, also the checkpoints that are stored there: they show a
    chain that was cut short or computed anew. Ends with 20 when something was changed that drkeeper
    did not change, and with 3 when a repository could not be asked.
    """
    called = this_invocation()
    if storage or reach != Reach():
        return _verify_with_stored(called, reach)
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
    return 0


def _verify_with_stored(called: Invocation, reach: Reach) -> int:
    from drkeeper.app.wiring.ledger_copies import verify_with_stored  # noqa: PLC0415 - rare

    output, shown = called.output, shown_place(ledger_place(called.configuration))
    every = list(called.configuration.repositories) if reach == Reach() else [None]
    unasked: list[DrkeeperError] = []
    findings: list[str] = []
    with _reading(called) as ledger:
        for name in every:
            chosen = access(called, replace(reach, repository=name) if name else reach)
            try:
                seen = verify_with_stored(
                    ledger,
                    chosen,
                    called.configuration,
                    clock=called.clock,
                    passphrase=called.passphrase,
                )
            except (StorageError, RepositoryNotFoundError, KeyNotFoundError) as error:
                unasked.append(error)
                output.warning(f"{chosen.settings.store} could not be compared with: {error}")
                continue
            findings += [each for each in seen.report.findings if each not in findings]
            _tell_covered(called, seen)
        if len(unasked) == len(every):
            findings += ledger.verify().findings
    output.summary({"ledger": shown, "ok": not findings, "findings": findings})
    for finding in findings:
        output.result(finding)
    _require(not findings, shown)
    if len(unasked) == len(every):
        raise (
            unasked[0]
            if unasked
            else ConfigurationError(
                "no repository is configured", hint="Run drkeeper init STORE, or give --store."
            )
        )
    return WARNINGS if unasked else 0


def _tell_covered(called: Invocation, seen: "Verified") -> None:
    covered, events = seen.covered, seen.report.events
    called.output.item(
        {
            "store": seen.store,
            "ok": seen.report.ok,
            "events": events,
            "entries": covered.entries,
            "checkpoints": len(covered.signed),
            "covered": covered.size,
            "newer": seen.newer,
            "signed_at": covered.made_at,
            "others": covered.others,
        }
    )
    for name, size in covered.others.items():
        called.output.warning(
            f"{seen.store}: {size} events of another ledger of this host are stored, {name}: "
            "this one was begun after it, or in its place"
        )
    if covered.made_at is None:
        called.output.say(f"{seen.store}: no checkpoint is stored yet; {events} events, all newer")
        return
    called.output.say(
        f"{seen.store}: {covered.size} of {events} events are covered by stored "
        f"checkpoints ({len(covered.signed)}, the newest of {rfc3339(covered.made_at)}); "
        f"{seen.newer} are newer"
    )


@command.command()
@click.option("--repository", "names", metavar="NAME", multiple=True, help="Only in this one.")
@click.option("--parent", type=int, hidden=True, help="End when this process does; for daemons.")
def store(names: tuple[str, ...], parent: int | None) -> int:
    """Sign what the ledger is now, and store what is new of it in the repositories.

    The daemon does so every 15 minutes when there is something new. Ends with the code of the first
    repository in which it could not be stored.
    """
    called = this_invocation()
    if parent is not None:
        end_with_parent(parent)
    from drkeeper.app.wiring.ledger_copies import copy_ledger  # noqa: PLC0415 - rare

    for name in names:
        called.configuration.repository(name)  # or say that there is none
    code = 0
    only = names or None
    for each in copy_ledger(called.configuration, called.clock, called.passphrase, only=only):
        stored = each.stored
        called.output.item(
            {
                "repository": each.repository,
                "size": stored.size if stored else None,
                "added": stored.added if stored else None,
                "entry": stored.number if stored else None,
                "code": each.error.exit_code if each.error else 0,
                "error": str(each.error) if each.error else None,
            }
        )
        if stored is not None:
            what = f"{stored.added} new" if stored.added else "nothing new"
            called.output.say(f"{each.repository}: {stored.size} events stored, {what}")
        elif each.error is not None:
            code = code or each.error.exit_code
            if not called.output.json:
                called.output.failure(each.error)
    return code


@command.command()
@click.option(
    "--from-storage", is_flag=True, required=True, help="Take what is stored in a repository."
)
@click.option("--ledger", "origin", metavar="ID", help="Which, when several are stored there.")
@click.option("--host", metavar="HEX", help="Only what this host has stored.")
@click.option("--replace", "replaces", is_flag=True, help="Also when the ledger here is whole.")
@looking_options
def rebuild(
    reach: Reach, *, from_storage: bool, origin: str | None, host: str | None, replaces: bool
) -> int:
    """Make the ledger of this machine anew from what is stored in a repository.

    A damaged ledger is moved aside, a whole one only with --replace; nothing is deleted. Needs a key
    that reads metadata: the host's own, a verifier's, or the recovery kit. What was recorded after
    the newest stored entry is not there. Damage in the store is an error; with --salvage, what is
    sound before it is taken.
    """
    del from_storage
    from drkeeper.app.wiring.ledger_copies import (  # noqa: PLC0415 - rare
        choose_ledger,
        readable_series,
        rebuild_ledger,
    )
    from drkeeper.operations.keeping_ledgers import gather, read_kept  # noqa: PLC0415 - rare

    called = this_invocation()
    configuration = called.configuration
    chosen = access(called, reach)
    repository = open_repository(called, reach, None)
    wanted = None if host is None else _host_id(host)
    series = readable_series(repository, chosen, called.passphrase, host=wanted)
    kept = read_kept(series)
    name = choose_ledger(kept, origin)
    gathered = gather(kept, name, series[0].trusted_keys)
    _refuse_holes(called, gathered, salvage=reach.salvage)
    make_private(configuration.locations.state)
    with only_daemon(configuration.locations.state):
        made = rebuild_ledger(gathered, configuration, called.clock, replace_whole=replaces)
    last = gathered.events[-1]
    called.output.summary(
        {
            "ledger": made.place,
            "origin": gathered.origin,
            "machine": gathered.machine,
            "events": len(gathered.events),
            "last_at": last.at,
            "checkpoints": len(gathered.notes),
            "lost": gathered.newer,
            "aside": str(made.aside) if made.aside else None,
        }
    )
    if made.aside is not None:
        called.output.say(f"what was there is now {made.aside}")
    called.output.say(
        f"{made.place}: {len(gathered.events)} events of {safe(gathered.machine)} up to {last.at}, "
        f"proven by {len(gathered.notes)} checkpoints"
    )
    return WARNINGS if gathered.findings else 0


def _refuse_holes(called: Invocation, gathered: "Gathered", *, salvage: bool) -> None:
    for finding in gathered.findings:
        called.output.warning(finding)
    if gathered.findings and not salvage:
        raise IntegrityError(
            f"{len(gathered.findings)} stored entries are missing or damaged; events 1 to "
            f"{len(gathered.events)} are sound, {gathered.newer} newer ones cannot be reached",
            hint="Look into another repository, or add --salvage to rebuild the sound ones.",
        )


def _host_id(text: str) -> bytes:
    if len(text) != _HOST_DIGITS or text.strip("0123456789abcdef"):
        raise click.UsageError(f"{text!r} is no host id of {_HOST_DIGITS} hex digits")
    return bytes.fromhex(text)


@command.command()
@click.option("--first", type=click.IntRange(1), default=1, help="Number of the first event.")
@click.option("--last", type=click.IntRange(1), help="Number of the last event.")
def export(first: int, last: int | None) -> None:
    """Write events as JSON lines, with checkpoints and proofs.

    What is written can be verified without drkeeper, by tools/verify_export.py and the public
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
