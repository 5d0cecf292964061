"""``drkeeper find``: paths by pattern."""

import fnmatch
import os
import re

import click

from drkeeper.app.cli.choosing import Wanted, choosing_options, find_snapshot
from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.cli.listing import entry_fields
from drkeeper.app.cli.opening import damage_warner, open_repository
from drkeeper.app.cli.reaching import Reach, looking_options
from drkeeper.app.cli.text import safe_path
from drkeeper.model.instants import rfc3339
from drkeeper.operations.contents import entries
from drkeeper.operations.snapshots import snapshots
from drkeeper.repository.commit import Commit

FOUND_NOTHING = 1


@make_command()
@click.argument("policy", shell_complete=policy_names)
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
@choosing_options
@click.option("--all", "every", is_flag=True, help="Look into every snapshot of the policy.")
@looking_options
def command(
    policy: str,
    patterns: tuple[str, ...],
    *,
    reach: Reach,
    instant: str | None,
    snapshot: str | None,
    every: bool,
) -> int:
    """Find paths by pattern in snapshots.

    A PATTERN with * ? [ ] is compared with the last component of each path; with a slash in it, with
    the whole path. Ends with 1 when nothing is found.
    """
    called = this_invocation()
    repository = open_repository(called, reach, policy)
    if every:
        commits = [found.commit for found in snapshots(repository, policy, damage_warner(called))]
    else:
        commits = [find_snapshot(called, repository, Wanted(policy, instant, snapshot))]
    matchers = [_matcher(pattern) for pattern in patterns]
    count = 0
    for commit in commits:
        for named in entries(repository, commit):
            if any(_matches(matcher, named.entry.path) for matcher in matchers):
                count += 1
                called.output.item({**entry_fields(named), "snapshot": commit.n})
                called.output.result(_line(commit, named.entry.path, every=every))
    called.output.summary({"found": count})
    return 0 if count else FOUND_NOTHING


def _matcher(pattern: str) -> tuple[re.Pattern[bytes], bool]:
    whole = "/" in pattern
    expression = fnmatch.translate(pattern.lstrip("/") if whole else pattern)
    return re.compile(os.fsencode(expression)), whole


def _matches(matcher: tuple[re.Pattern[bytes], bool], path: bytes) -> bool:
    pattern, whole = matcher
    return pattern.match(path if whole else path.rpartition(b"/")[2]) is not None


def _line(commit: Commit, path: bytes, *, every: bool) -> str:
    return (
        f"{commit.n}  {rfc3339(commit.consistent_at)}  {safe_path(path)}"
        if every
        else safe_path(path)
    )
