"""``drkeeper restore``: bring back what a policy protects."""

import os
from dataclasses import replace
from typing import Any, NoReturn

import click

from drkeeper.app.cli.choosing import Wanted, choosing_options, find_snapshot
from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import Invocation, interactive, this_invocation
from drkeeper.app.cli.opening import open_repository
from drkeeper.app.cli.progress import show_progress
from drkeeper.app.cli.reaching import Reach, looking_options
from drkeeper.app.cli.text import path_from_user, safe, safe_path
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.wiring.restores import Recovery, RestoreOutcome, report_of, run_restore
from drkeeper.errors import DrkeeperError
from drkeeper.model.quantities import format_size
from drkeeper.operations.restore import Overwrite, RestoreReport, RestoreRequest, Severity, plan
from drkeeper.repository.commit import Commit
from drkeeper.repository.reader import SnapshotReader

WARNINGS = 3
MOST_PROBLEMS = 20


@make_command()
@click.argument("policy", required=False, shell_complete=policy_names)
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@choosing_options
@click.option("--to", "target", metavar="DIR", help="Restore below this directory.")
@click.option("--in-place", is_flag=True, help="Restore to where it was; asks first.")
@click.option(
    "--overwrite",
    type=click.Choice([choice.value for choice in Overwrite]),
    help="What to do with files that are there.",
)
@click.option("--delete", is_flag=True, help="Remove what the snapshot does not have; asks first.")
@click.option("--privileged", is_flag=True, help="Restore setuid bits, capabilities, devices.")
@click.option("--numeric-ids", is_flag=True, help="Restore owners by number, never by name.")
@click.option("--no-verify", is_flag=True, help="Do not read everything back.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@looking_options
def command(policy: str | None, paths: tuple[str, ...], *, reach: Reach, **options: Any) -> int:  # noqa: ANN401
    """Bring back what a policy protects, as it was at an instant.

    Without --to, a new directory is made here; nothing that exists is touched unless told. What was
    restored is read back before success is reported. A restore that was cut off continues when the
    same command is given again. Without any argument, on a terminal, it asks step by step.
    """
    called = this_invocation()
    if policy is None:
        return _ask_or_refuse(called, reach, options)
    if options["in_place"] and options["target"] is not None:
        _refuse("--to and --in-place exclude each other")
    if options["target"] is not None and not options["target"]:
        _refuse("--to names no directory")
    repository = open_repository(called, reach, policy)
    wanted = Wanted(policy, options["instant"], options["snapshot"])
    commit = find_snapshot(called, repository, wanted)
    overwrite = options["overwrite"]
    request = RestoreRequest(
        reader=SnapshotReader(repository, commit),
        target=_target(policy, commit, options["target"], in_place=options["in_place"]),
        clock=called.clock,
        paths=tuple(path for path in map(path_from_user, paths) if path),
        in_place=options["in_place"],
        confirmed=options["yes"],
        overwrite=None if overwrite is None else Overwrite(overwrite),
        delete=options["delete"],
        privileged=options["privileged"],
        numeric_ids=options["numeric_ids"],
        verify=not options["no_verify"],
    )
    if options["dry_run"]:
        return _rehearse(called, Recovery(policy, repository, commit, request))
    return recover(called, Recovery(policy, repository, commit, _confirmed(request, policy)))


def _refuse(message: str) -> NoReturn:
    raise click.UsageError(message)


def _ask_or_refuse(called: Invocation, reach: Reach, options: dict[str, Any]) -> int:
    if any(
        value not in {None, False} for value in options.values()
    ):  # the questions would forget what the options say
        _refuse("name the policy to restore")
    if not interactive() or called.output.json:
        _refuse("name the policy to restore; without any option, on a terminal, this asks")
    from drkeeper.app.cli.wizard import ask  # noqa: PLC0415 - rare

    repository = open_repository(called, reach, None)
    return recover(called, ask(called, repository))


def _target(policy: str, commit: Commit, target: str | None, *, in_place: bool) -> bytes:
    if in_place:
        return b"/"
    # A new directory, unless told otherwise: a restore never makes things worse.
    name = f"restored-{policy}-{commit.consistent_at:%Y%m%dT%H%M%SZ}" if target is None else target
    return os.path.abspath(os.fsencode(name))


def _confirmed(request: RestoreRequest, policy: str) -> RestoreRequest:
    if request.confirmed or not (request.in_place or request.delete) or not interactive():
        return request  # unconfirmed, the operation refuses, and says how to confirm
    where = safe(os.fsdecode(request.target))
    what = "files will be replaced" + (" and deleted" if request.delete else "")
    click.echo(f"Below {where}, {what}.", err=True)
    typed = click.prompt(f"Type the policy's name ({policy}) to go on", err=True)
    return replace(request, confirmed=typed == policy)


def _rehearse(called: Invocation, recovery: Recovery) -> int:
    found = plan(recovery.request)
    where = os.fsdecode(recovery.request.target)
    called.output.summary(
        {
            "policy": recovery.policy,
            "dry_run": True,
            "snapshot": recovery.commit.n,
            "consistent_at": recovery.commit.consistent_at,
            "target": where,
            "files": found.files,
            "plain_bytes": found.plain_bytes,
            "fetch_bytes": found.fetch_bytes,
            "requests": found.requests,
            "space_bytes": found.space_bytes,
            "free_bytes": found.free_bytes,
            "unchanged": found.unchanged,
        }
    )
    called.output.say(
        f"would restore {found.files} paths, {format_size(found.plain_bytes)}, to {safe(where)}"
    )
    called.output.say(
        f"  fetch {format_size(found.fetch_bytes)} in {found.requests} requests; "
        f"{found.unchanged} files are there already; "
        f"{format_size(found.space_bytes)} needed, {format_size(found.free_bytes)} free"
    )
    return 0


def recover(
    called: Invocation, recovery: Recovery, configuration: Configuration | None = None
) -> int:
    """Restore, show how it goes, and say what was done.

    Args:
        called: The call.
        recovery: What to restore.
        configuration: Says where that is recorded; the call's own when ``None``.

    Raises:
        DrkeeperError: It failed; what was restored all the same has been said.
    """
    output = called.output
    output.steadfast = True
    try:
        with show_progress(output, called.clock, recovery.policy) as show:
            outcome = run_restore(
                recovery,
                configuration or called.configuration,
                warn=output.warning,
                on_progress=show,
            )
    except DrkeeperError as error:
        report = report_of(error)
        if report is not None:
            _problems(called, report)
        raise
    _tell(called, recovery, outcome)
    return WARNINGS if outcome.report.warnings or not outcome.ledger_intact else 0


def _problems(called: Invocation, report: RestoreReport) -> None:
    serious = [problem for problem in report.problems if problem.severity is not Severity.NOTE]
    for problem in serious[:MOST_PROBLEMS]:
        where = f"{safe_path(problem.path)}: " if problem.path else ""
        called.output.warning(f"{where}{problem.message}", code=problem.code)
    total = sum(count for kind, count in report.counts.items() if kind is not Severity.NOTE)
    if total > MOST_PROBLEMS:
        called.output.warning(f"and {total - MOST_PROBLEMS} more")
    for problem in report.problems:
        if problem.severity is Severity.NOTE:
            called.output.detail(f"note: {safe_path(problem.path)}: {problem.message}")


def _tell(called: Invocation, recovery: Recovery, outcome: RestoreOutcome) -> None:
    report, output = outcome.report, called.output
    where = os.fsdecode(recovery.request.target)
    _problems(called, report)
    output.summary(
        {
            "policy": recovery.policy,
            "result": "warnings" if report.warnings else "succeeded",
            "snapshot": recovery.commit.n,
            "consistent_at": recovery.commit.consistent_at,
            "target": where,
            "files": report.files,
            "directories": report.directories,
            "others": report.others,
            "unchanged": report.unchanged,
            "skipped": report.skipped,
            "removed": report.removed,
            "plain_bytes": report.plain_bytes,
            "fetched_bytes": report.fetched_bytes,
            "verified": report.verified,
            "resumed": report.resumed,
            "warnings": report.warnings,
            "seconds": round(outcome.seconds, 3),
            **outcome.traffic,
        }
    )
    read_back = "read back and compared" if report.verified else "not read back"
    output.say(
        f"{recovery.policy}: {report.files} files, {format_size(report.plain_bytes)} written to "
        f"{safe(where)}, {read_back}, in {outcome.seconds:.1f} s"
    )
    if report.unchanged:
        output.say(f"  {report.unchanged} files were there already")
