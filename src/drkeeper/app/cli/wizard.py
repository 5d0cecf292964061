"""The questions that ``drkeeper restore`` asks when it is given no argument."""

import os

import click

from drkeeper.app.cli.choosing import Wanted, find_snapshot, zone_of
from drkeeper.app.cli.invocation import Invocation
from drkeeper.app.cli.opening import damage_warner
from drkeeper.app.cli.text import command_line, path_from_user, safe, table
from drkeeper.app.wiring.restores import Recovery
from drkeeper.errors import ConfigurationError
from drkeeper.model.instants import local_text
from drkeeper.model.quantities import format_size
from drkeeper.operations.restore import RestoreRequest
from drkeeper.operations.snapshots import Snapshot, snapshots
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import Repository

MOST_SHOWN = 10


def ask(called: Invocation, repository: Repository) -> Recovery:
    """Ask what to restore and where to, and show the command that says the same.

    Raises:
        ConfigurationError: There is nothing to restore.
        click.Abort: Somebody would rather not.
    """
    there = snapshots(repository, unreadable=damage_warner(called))
    if not there:
        raise ConfigurationError(
            f"there are no snapshots in {repository.store.location}",
            hint="Run drkeeper backup first, or name another repository.",
        )
    policy = _policy(there)
    instant = _instant(called, [each for each in there if each.root.policy == policy])
    commit = find_snapshot(called, repository, Wanted(policy, instant))
    paths = _paths(there, policy)
    suggestion = f"restored-{policy}-{commit.consistent_at:%Y%m%dT%H%M%SZ}"
    target = str(click.prompt("To which directory", default=suggestion, err=True))
    words = ["drkeeper", "restore", policy, *paths, "--to", target]
    if instant != "latest":
        words += ["--point-in-time", instant]
    click.echo(f"\nThe same without questions:\n  {command_line(words)}\n", err=True)
    click.confirm("Restore now", abort=True, err=True)
    wanted = tuple(path for path in map(path_from_user, paths) if path)
    request = RestoreRequest(
        SnapshotReader(repository, commit),
        os.path.abspath(os.fsencode(target)),
        called.clock,
        paths=wanted,
    )
    return Recovery(policy, repository, commit, request)


def _policy(there: list[Snapshot]) -> str:
    names = sorted({each.root.policy for each in there})
    if len(names) == 1:
        click.echo(f"Policy: {safe(names[0])}", err=True)
        return names[0]
    return str(click.prompt("Which policy", type=click.Choice(names), err=True))


def _instant(called: Invocation, there: list[Snapshot]) -> str:
    zone = zone_of(called, there[-1].root.policy)
    rows = [
        (
            f"  {local_text(each.commit.consistent_at, zone)}",
            f"{each.root.stats.get('files', 0)} files",
            format_size(each.commit.counts.plain_bytes),
        )
        for each in there[-MOST_SHOWN:]
    ]
    click.echo("The newest snapshots:", err=True)
    for line in table(rows):
        click.echo(line, err=True)
    return str(
        click.prompt(
            "As of which instant ('2026-11-20 14:30', -2h, latest)", default="latest", err=True
        )
    )


def _paths(there: list[Snapshot], policy: str) -> list[str]:
    root = next(each.root for each in reversed(there) if each.root.policy == policy)
    click.echo(f"It protects: {safe(b', '.join(root.paths).decode(errors='replace'))}", err=True)
    text = click.prompt("Which path (empty for all)", default="", show_default=False, err=True)
    return [str(text)] if text else []
