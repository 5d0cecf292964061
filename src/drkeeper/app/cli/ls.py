"""``drkeeper ls``: what a snapshot holds."""

from collections.abc import Iterator

import click

from drkeeper.app.cli.choosing import Wanted, choosing_options, find_snapshot, zone_of
from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.cli.listing import entry_fields, long_line
from drkeeper.app.cli.opening import open_repository
from drkeeper.app.cli.reaching import Reach, looking_options
from drkeeper.app.cli.text import path_from_user, safe_path
from drkeeper.errors import TargetError
from drkeeper.operations.contents import Named, entries
from drkeeper.repository.reader import SnapshotReader


@make_command()
@click.argument("policy", shell_complete=policy_names)
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@choosing_options
@click.option("-r", "--recursive", is_flag=True, help="Everything below, not only one level.")
@click.option("-l", "--long", "details", is_flag=True, help="Mode, owner, size and time too.")
@looking_options
def command(  # noqa: PLR0913 - one parameter an option
    policy: str,
    paths: tuple[str, ...],
    *,
    reach: Reach,
    instant: str | None,
    snapshot: str | None,
    recursive: bool,
    details: bool,
) -> None:
    """List what a snapshot holds.

    Without PATH, what the policy names. Only the parts of the manifest that can hold the paths are
    fetched.
    """
    called = this_invocation()
    repository = open_repository(called, reach, policy)
    commit = find_snapshot(called, repository, Wanted(policy, instant, snapshot))
    wanted = tuple(path_from_user(path) for path in paths)
    if not wanted:
        wanted = tuple(path.strip(b"/") for path in SnapshotReader(repository, commit).root.paths)
    everything = tuple(path for path in wanted if path) if all(wanted) else ()
    zone = zone_of(called, policy)
    count = 0
    for named in _levels(entries(repository, commit, everything), wanted, recursive=recursive):
        count += 1
        called.output.item(entry_fields(named))
        line = long_line(named, zone) if details else safe_path(named.entry.path)
        called.output.result(line)
    called.output.summary({"entries": count, "snapshot": commit.n})
    _require(count)


def _require(count: int) -> None:
    if not count:
        raise TargetError(
            "the snapshot has nothing there", hint="List what there is with drkeeper ls POLICY -r."
        )


def _levels(
    found: Iterator[Named], wanted: tuple[bytes, ...], *, recursive: bool
) -> Iterator[Named]:
    for named in found:
        if recursive or any(_is_near(named.entry.path, path) for path in wanted):
            yield named


def _is_near(path: bytes, top: bytes) -> bool:
    """Whether ``path`` is ``top`` or directly in it."""
    if path == top:
        return True
    below = path.removeprefix(top + b"/") if top else path
    return (not top or below != path) and b"/" not in below
