"""``drkeeper diff``: what changed between two snapshots."""

from collections import Counter

import click

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names, snapshot_ids
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.listing import entry_fields
from drkeeper.app.cli.opening import open_repository
from drkeeper.app.cli.reaching import Reach, looking_options
from drkeeper.app.cli.text import path_from_user, safe_path
from drkeeper.errors import InstantNotReachableError
from drkeeper.model.instants import rfc3339
from drkeeper.operations.contents import Change, differences, entries
from drkeeper.operations.snapshots import choose, history
from drkeeper.repository.commit import Commit
from drkeeper.repository.repository import Repository

_NEEDED = 2
_WORDS = {
    Change.ADDED: "added",
    Change.REMOVED: "removed",
    Change.CONTENT: "changed",
    Change.METADATA: "changed in metadata only",
    Change.TYPE: "changed in type",
}


@make_command()
@click.argument("policy", shell_complete=policy_names)
@click.argument("old", required=False, shell_complete=snapshot_ids)
@click.argument("new", required=False, shell_complete=snapshot_ids)
@click.option("--path", "paths", multiple=True, metavar="PATH", help="Only at and below this path.")
@looking_options
def command(
    policy: str, old: str | None, new: str | None, *, reach: Reach, paths: tuple[str, ...]
) -> None:
    """Show what changed between two snapshots.

    OLD and NEW are snapshots' numbers or ids; by default the newest complete one and
    the one before it.
    + added, - removed, M other content, u only other metadata, T other type.
    """
    called = this_invocation()
    repository = open_repository(called, reach, policy)
    first, second = _two(called, repository, policy, (old, new))
    called.output.note(
        f"from snapshot {first.n}, {rfc3339(first.consistent_at)}, "
        f"to {second.n}, {rfc3339(second.consistent_at)}"
    )
    wanted = tuple(path_from_user(path) for path in paths)
    counts: Counter[Change] = Counter()
    for change, _, named in differences(
        entries(repository, first, wanted), entries(repository, second, wanted)
    ):
        counts[change] += 1
        called.output.item({"change": change.name.lower(), **entry_fields(named)})
        called.output.result(f"{change} {safe_path(named.entry.path)}")
    called.output.summary(
        {
            "old": first.n,
            "new": second.n,
            **{change.name.lower(): counts[change] for change in Change},
        }
    )
    told = ", ".join(f"{counts[change]} {_WORDS[change]}" for change in Change if counts[change])
    called.output.say(told or "no difference")


def _two(
    called: Invocation, repository: Repository, policy: str, names: tuple[str | None, str | None]
) -> tuple[Commit, Commit]:
    """Return the two that are meant; what an interrupted backup left is compared only by name.

    Two that are not named are of one host: what another one has is no change.

    Raises:
        InstantNotReachableError: There are not two.
    """
    first, second = (
        choose(repository, policy, name) if name is not None else None for name in names
    )
    if first is not None and second is not None:
        return first, second
    host = called.configuration.host
    commits = history(repository, policy, host=host, beside=first)
    there = [commit for commit in commits if commit.complete]
    if first is not None and there:
        return first, there[-1]
    if len(there) < _NEEDED:
        raise InstantNotReachableError(
            f"complete snapshots of {policy}: {len(there)}; comparing takes two",
            hint="Run drkeeper backup once more.",
        )
    return there[-2], there[-1]
