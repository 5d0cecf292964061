"""``drkeeper backup``: take snapshots, now."""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import click

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.ending import CheckpointEnding
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.progress import show_progress
from drkeeper.app.cli.text import safe_path
from drkeeper.app.wiring.backups import (
    BackupChoices,
    BackupOutcome,
    Voice,
    last_size,
    measure_source,
    run_backup,
)
from drkeeper.app.wiring.parent import end_with_parent
from drkeeper.errors import DrkeeperError
from drkeeper.model.instants import local_text, rfc3339
from drkeeper.model.policy import Policy
from drkeeper.model.quantities import format_size
from drkeeper.model.run import RunId, RunState
from drkeeper.operations.progress import Progress
from drkeeper.sources.base import Level

WARNINGS = 3
MOST_FINDINGS = 20
CHECKPOINT_WITHIN: Final = timedelta(seconds=45)
"""How long a run may take to bring its work to safety; the daemon waits longer before it kills."""


@make_command()
@click.argument("policies", nargs=-1, metavar="POLICY...", shell_complete=policy_names)
@click.option("--all", "every", is_flag=True, help="Back up every policy, one after the other.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Mark the snapshot.")
@click.option("--allow-shrink", is_flag=True, help="Believe a source that lost nearly everything.")
@click.option("--dry-run", is_flag=True, help="Walk over the source and store nothing.")
@click.option("--run", "run", metavar="ID", hidden=True, help="Claim this queued run; for daemons.")
@click.option("--parent", type=int, hidden=True, help="End when this process does; with --run.")
def command(policies: tuple[str, ...], *, every: bool, dry_run: bool, **options: Any) -> int:  # noqa: ANN401
    """Take a snapshot of what policies protect, now.

    A policy that fails does not stop the next one. Ends with 3 when some source data could not be
    read as it should be; the snapshot exists then, without it.
    """
    called = this_invocation()
    # Once bytes are moving, the work matters more than whoever reads about it.
    called.output.steadfast = True
    choices = BackupChoices(_tags(options["tags"]), options["allow_shrink"])
    if options["run"] is not None:
        return _run_of_daemon(called, policies, choices, **options)
    chosen = _chosen(called, policies, every=every)
    codes = [_one(called, policy, choices, dry_run=dry_run) for policy in chosen]
    if not dry_run:  # where a backup could not be stored, this cannot either
        made = zip(chosen, codes, strict=True)
        keep_ledger(called, {each.repository for each, code in made if code in {0, WARNINGS}})
    failures = [code for code in codes if code not in {0, WARNINGS}]
    return failures[0] if failures else max(codes, default=0)


def keep_ledger(called: Invocation, repositories: Collection[str]) -> None:
    """Store what is new in the ledger where the snapshots went; no backup fails by it."""
    if not repositories:
        return
    from drkeeper.app.wiring.ledger_copies import copy_quietly  # noqa: PLC0415 - see the package

    configuration, clock = called.configuration, called.clock
    for trouble in copy_quietly(configuration, clock, called.passphrase, only=repositories):
        called.output.warning(trouble)


def _run_of_daemon(
    called: Invocation,
    names: tuple[str, ...],
    choices: BackupChoices,
    *,
    run: str,
    parent: int | None,
    **_options: object,
) -> int:
    if len(names) != 1:
        raise click.UsageError("--run is for one policy")
    ending = CheckpointEnding(called.clock, CHECKPOINT_WITHIN)
    ending.install()
    if parent is not None:
        end_with_parent(parent)
    policy = called.configuration.policy(names[0])
    claimed = replace(choices, run=RunId(run), ending=ending)
    return _one(called, policy, claimed, dry_run=False)


def _tags(texts: tuple[str, ...]) -> dict[str, str]:
    tags = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{text!r} is not KEY=VALUE")
        tags[key] = value
    return tags


def _chosen(called: Invocation, names: tuple[str, ...], *, every: bool) -> list[Policy]:
    configuration = called.configuration
    if every == bool(names):
        known = ", ".join(sorted(configuration.policies)) or "none yet"
        raise click.UsageError(f"name the policies to back up, or say --all (there: {known})")
    if every:
        names = tuple(sorted(configuration.policies))
        if not names:
            raise click.UsageError(f"there is no policy in {called.locations.policies}")
    return [configuration.policy(name) for name in dict.fromkeys(names)]


def _one(called: Invocation, policy: Policy, choices: BackupChoices, *, dry_run: bool) -> int:
    try:
        if dry_run:
            return _rehearse(called, policy)
        return _back_up(called, policy, choices)
    except DrkeeperError as error:
        called.output.failure(error)
        called.output.summary({"policy": policy.name, "result": "failed", "code": error.exit_code})
        return error.exit_code


def _rehearse(called: Invocation, policy: Policy) -> int:
    configuration = called.configuration
    settings = configuration.repository(policy.repository)
    size = measure_source(policy, configuration, settings, called.clock)
    called.output.summary(
        {
            "policy": policy.name,
            "dry_run": True,
            "entries": size.entries,
            "plain_bytes": size.plain_bytes,
            "store": settings.store,
        }
    )
    called.output.say(
        f"{policy.name}: would read up to {size.entries} paths, {format_size(size.plain_bytes)}, "
        f"and store what is new in {settings.store}"
    )
    return 0


def _back_up(called: Invocation, policy: Policy, choices: BackupChoices) -> int:
    output = called.output
    # Only an estimate of the time left needs it; nobody sees one of a quiet run.
    silent = output.quiet and not output.json
    before = None if silent else last_size(called.configuration, policy.name, called.clock)
    files_total, plain_total = before or (None, None)
    with show_progress(output, called.clock, policy.name) as show:

        def on_progress(progress: Progress) -> None:
            files, plain_bytes = progress.files_total, progress.plain_total
            show(
                replace(
                    progress,
                    files_total=files_total if files is None else files,
                    plain_total=plain_total if plain_bytes is None else plain_bytes,
                )
            )

        outcome = run_backup(
            policy,
            called.configuration,
            choices,
            clock=called.clock,
            passphrase=called.passphrase,
            voice=Voice(warn=output.warning, say=output.note, progress=on_progress),
        )
    _tell(called, policy, outcome)
    fine = outcome.state is RunState.SUCCEEDED and outcome.ledger_intact
    return 0 if fine else WARNINGS


def _tell(called: Invocation, policy: Policy, outcome: BackupOutcome) -> None:
    report, output = outcome.report, called.output
    tally, commit = report.tally, report.commit
    serious = [finding for finding in report.findings if finding.level is Level.WARNING]
    for finding in serious[:MOST_FINDINGS]:
        where = safe_path(finding.path)
        output.warning(f"{where}: {finding.message}", code=finding.code)
    if report.warnings > MOST_FINDINGS:
        output.warning(f"{report.warnings - MOST_FINDINGS} more warnings are in the snapshot")
    for finding in report.findings:
        if finding.level is Level.NOTE:
            output.detail(f"note: {safe_path(finding.path)}: {finding.message}")
    output.summary(
        {
            "policy": policy.name,
            "run": outcome.run,
            "result": outcome.state.value,
            "snapshot": commit.n,
            "snapshot_id": commit.digest,
            "consistent_at": commit.consistent_at,
            "next_due": commit.next_due,
            "files": tally.files,
            "files_new": tally.files_new,
            "files_changed": tally.files_changed,
            "files_unchanged": tally.files_unchanged,
            "plain_bytes": tally.plain_bytes,
            "read_bytes": report.read_bytes,
            "new_bytes": report.new_bytes,
            "stored_bytes": report.stored_bytes,
            "warnings": report.warnings,
            "failed_hooks": outcome.failed_hooks,
            "seconds": round(outcome.seconds, 3),
            "continued": report.continued,
            **outcome.traffic,
        }
    )
    output.say(
        f"{policy.name}: snapshot {commit.n} of {local_text(commit.consistent_at, policy.zone)} "
        f"({rfc3339(commit.consistent_at)})"
    )
    output.say(
        f"  {tally.files} files, {format_size(tally.plain_bytes)}: {tally.files_new} new, "
        f"{tally.files_changed} changed; {format_size(report.stored_bytes)} stored "
        f"in {outcome.seconds:.1f} s"
    )
    if report.warnings:
        output.say(f"  complete with {report.warnings} warnings")
