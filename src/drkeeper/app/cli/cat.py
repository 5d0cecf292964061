"""``drkeeper cat``: one file of a snapshot."""

import click

from drkeeper.app.cli.choosing import Wanted, choosing_options, find_snapshot
from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.cli.opening import open_repository
from drkeeper.app.cli.reaching import Reach, looking_options
from drkeeper.app.cli.streams import write_bytes
from drkeeper.app.cli.text import path_from_user
from drkeeper.operations.contents import write_content


@make_command()
@click.argument("policy", shell_complete=policy_names)
@click.argument("path")
@choosing_options
@looking_options
def command(
    policy: str, path: str, *, reach: Reach, instant: str | None, snapshot: str | None
) -> None:
    """Write one file of a snapshot to standard output.

    Every byte is authenticated before it is written. When the output ends early because of damage,
    the exit code says so.
    """
    called = this_invocation()
    _refuse_json(json=called.output.json)
    repository = open_repository(called, reach, policy)
    commit = find_snapshot(called, repository, Wanted(policy, instant, snapshot))
    write_content(repository, commit, path_from_user(path), write_bytes)


def _refuse_json(*, json: bool) -> None:
    if json:
        raise click.UsageError("cat writes the file itself, not JSON")
