"""Find snapshots by policy, instant, number or id; never a substitute for what was asked."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from drkeeper.errors import ConfigurationError, InstantNotReachableError
from drkeeper.model.instants import rfc3339
from drkeeper.repository.commit import Commit
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import Repository
from drkeeper.repository.snapshot_root import SnapshotRoot

_ID = re.compile(r"[0-9a-f]{4,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot and what it is of.

    Attributes:
        commit: Its commit.
        root: Its root.
    """

    commit: Commit
    root: SnapshotRoot


def snapshots(repository: Repository, policy: str | None = None) -> list[Snapshot]:
    """Return the live snapshots in journal order, of one policy or all.

    Raises:
        KeyNotFoundError: No key at hand opens metadata.
        IntegrityError: A root is damaged.
    """
    found = [
        Snapshot(commit, SnapshotReader(repository, commit).root)
        for commit in _of_policy(repository, policy)
    ]
    return [snapshot for snapshot in found if policy in {None, snapshot.root.policy}]


def choose(repository: Repository, policy: str | None, wanted: datetime | str) -> Commit:
    """Return the snapshot that is meant.

    Args:
        repository: Where to look.
        policy: Whose snapshots; ``None`` for all, which only makes sense with an id.
        wanted: The newest complete snapshot at or before this instant, or a number or the
            beginning of an id.

    Raises:
        InstantNotReachableError: There is none; the message says what there is.
        ConfigurationError: The policy has no snapshot at all.
    """
    commits = _of_policy(repository, policy)
    if not commits:
        known = sorted({snapshot.root.policy for snapshot in snapshots(repository)})
        raise ConfigurationError(
            f"policy {policy!r} has no snapshot in {repository.store.location} "
            f"(there: {', '.join(known) or 'none'})",
            hint="Name one of these policies, or run drkeeper backup first.",
        )
    if isinstance(wanted, str):
        return _by_id(commits, wanted)
    complete = [commit for commit in commits if commit.complete]
    before = [commit for commit in complete if commit.consistent_at <= wanted]
    if not before:
        raise InstantNotReachableError(
            f"no snapshot of {policy} is as old as {rfc3339(wanted)}; {_window(complete)}",
            hint="Ask for an instant in the window, or list all with drkeeper snapshots.",
        )
    return max(before, key=lambda commit: (commit.consistent_at, commit.n))


def _by_id(commits: Sequence[Commit], text: str) -> Commit:
    named = [commit for commit in commits if text == str(commit.n)]
    if not named and _ID.fullmatch(text):
        named = [commit for commit in commits if commit.digest.hex().startswith(text)]
    if len(named) != 1:
        what = "no snapshot" if not named else "more than one snapshot"
        raise InstantNotReachableError(
            f"{what} is called {text!r}; {_window(commits)}",
            hint="List the numbers with drkeeper snapshots.",
        )
    return named[0]


def _window(commits: Sequence[Commit]) -> str:
    if not commits:
        return "there is no complete snapshot"
    instants = sorted(commit.consistent_at for commit in commits)
    return f"reachable: {len(instants)} snapshots from {rfc3339(instants[0])} to {rfc3339(instants[-1])}"


def _of_policy(repository: Repository, policy: str | None) -> list[Commit]:
    """Return the commits whose lineage is the policy's; one root is read for each lineage."""
    commits = repository.live_commits()
    if policy is None:
        return commits
    newest = {commit.lineage: commit for commit in commits}
    mine = {
        lineage
        for lineage, commit in newest.items()
        if SnapshotReader(repository, commit).root.policy == policy
    }
    return [commit for commit in commits if commit.lineage in mine]
