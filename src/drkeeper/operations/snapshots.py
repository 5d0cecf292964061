"""Find snapshots by policy, instant, number or id; never a substitute for what was asked."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from drkeeper.errors import (
    ConfigurationError,
    InstantNotReachableError,
    IntegrityError,
    KeyNotFoundError,
)
from drkeeper.model.instants import rfc3339
from drkeeper.repository.commit import Commit
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import Repository
from drkeeper.repository.snapshot_root import SnapshotRoot

_ID = re.compile(r"[0-9a-f]{4,64}", re.ASCII)
_BOTH_ENDS = 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot and what it is of.

    Attributes:
        commit: Its commit.
        root: Its root.
    """

    commit: Commit
    root: SnapshotRoot


def snapshots(
    repository: Repository,
    policy: str | None = None,
    unreadable: Callable[[Commit, IntegrityError], None] | None = None,
) -> list[Snapshot]:
    """Return the live snapshots in journal order, of one policy or all.

    Those that no key at hand opens are left out, as long as any is open: a host sees its own.

    Args:
        repository: Where to look.
        policy: Whose snapshots; ``None`` for all.
        unreadable: Told of each snapshot whose root is damaged, which is left out then.

    Raises:
        KeyNotFoundError: No key at hand opens any of them.
        IntegrityError: A root is damaged, and ``unreadable`` is ``None``.
    """
    found: list[Snapshot] = []
    closed: KeyNotFoundError | None = None
    for commit in _of_policy(repository, policy):
        try:
            snapshot = Snapshot(commit, SnapshotReader(repository, commit).root)
        except KeyNotFoundError as error:
            closed = error
        except IntegrityError as error:
            if unreadable is None:
                raise
            unreadable(commit, error)
        else:
            found.append(snapshot)
    if closed is not None and not found:
        raise closed
    return [snapshot for snapshot in found if policy in {None, snapshot.root.policy}]


def choose(
    repository: Repository, policy: str | None, wanted: datetime | str, *, host: str | None = None
) -> Commit:
    """Return the snapshot that is meant.

    Args:
        repository: Where to look.
        policy: Whose snapshots; ``None`` for all, which only makes sense with an id.
        wanted: The newest complete snapshot at or before this instant, or a number or the
            beginning of an id.
        host: Name of the host that is meant when several have a policy of this name.

    Raises:
        InstantNotReachableError: There is none; the message says what there is.
        ConfigurationError: The policy has no snapshot at all, or is of several hosts.
        KeyNotFoundError: No key at hand opens metadata.
        IntegrityError: Damage hides whose snapshots there are.
    """
    commits = _some_of_policy(repository, policy)
    if isinstance(wanted, str):
        return _by_id(commits, wanted)
    commits = _of_host(repository, policy, commits, host)
    complete = [commit for commit in commits if commit.complete]
    before = [commit for commit in complete if commit.consistent_at <= wanted]
    if not before:
        raise InstantNotReachableError(
            f"no snapshot of {policy} is as old as {rfc3339(wanted)}; {_window(complete)}",
            hint="Ask for an instant in the window, or list all with drkeeper snapshots.",
        )
    return max(before, key=lambda commit: (commit.consistent_at, commit.n))


def history(
    repository: Repository, policy: str, *, host: str | None = None, beside: Commit | None = None
) -> list[Commit]:
    """Return the snapshots of a policy on one host, in journal order.

    Args:
        repository: Where to look.
        policy: Whose snapshots.
        host: Name of the host that is meant when several have a policy of this name.
        beside: A snapshot of the host that is meant, which says it better than a name.

    Raises:
        ConfigurationError: The policy has no snapshot at all, or is of several hosts.
        KeyNotFoundError: No key at hand opens metadata.
        IntegrityError: Damage hides whose snapshots there are.
    """
    commits = _some_of_policy(repository, policy)
    if beside is not None:
        return [commit for commit in commits if commit.host == beside.host]
    return _of_host(repository, policy, commits, host)


def _some_of_policy(repository: Repository, policy: str | None) -> list[Commit]:
    """Return the commits of a policy, of whichever host.

    Raises:
        ConfigurationError: There are none.
    """
    commits = _of_policy(repository, policy)
    if not commits:
        known = sorted({line.root.policy for line in _lines(repository) if line.root is not None})
        raise ConfigurationError(
            f"policy {policy!r} has no snapshot in {repository.store.location} "
            f"(there: {', '.join(known) or 'none'})",
            hint="Name one of these policies, or run drkeeper backup first.",
        )
    return commits


def _of_host(
    repository: Repository, policy: str | None, commits: list[Commit], host: str | None
) -> list[Commit]:
    """Return the commits of the one host that is meant: one host's data is none of another's.

    Raises:
        ConfigurationError: Several may be meant.
    """
    if len({commit.host for commit in commits}) == 1:
        return commits
    lineages = {commit.lineage for commit in commits}
    lines = [line for line in _lines(repository) if line.commits[-1].lineage in lineages]
    # Names are what hosts say of themselves; two may say the same.
    meant = {line.commits[-1].host for line in lines if line.root and line.root.host == host}
    # One that was taken out of the keyring writes no more: what is new is of the one in its place.
    writing = {signer.host for signer in repository.keyring.signers if signer.host is not None}
    if not meant or (len(meant) > 1 and sum(each.hex() in writing for each in meant) > 1):
        names = sorted({line.root.host for line in lines if line.root is not None})
        raise ConfigurationError(
            f"policy {policy!r} is of {len(lines)} hosts here: {', '.join(names)}",
            hint="Name the snapshot by its number; drkeeper snapshots lists all with their hosts.",
        )
    return [commit for commit in commits if commit.host in meant]


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
    if len(instants) == 1:
        return f"reachable: the one snapshot of {rfc3339(instants[0])}"
    return f"reachable: {len(instants)} snapshots from {rfc3339(instants[0])} to {rfc3339(instants[-1])}"


@dataclass(frozen=True, slots=True)
class _Line:
    """The live snapshots of one lineage.

    Attributes:
        commits: In journal order; at least one.
        root: Of the newest of them that can be read.
        failure: Why none can be read.
    """

    commits: list[Commit]
    root: SnapshotRoot | None
    failure: IntegrityError | KeyNotFoundError | None


def _of_policy(repository: Repository, policy: str | None) -> list[Commit]:
    """Return the commits whose lineage is the policy's; of each lineage about one root is read.

    Raises:
        IntegrityError: None is the policy's, and what is damaged may have been.
        KeyNotFoundError: No key at hand opens any lineage.
    """
    if policy is None:
        return repository.live_commits()
    lines = _lines(repository)
    mine = [line for line in lines if line.root is not None and line.root.policy == policy]
    failures = [line.failure for line in lines if line.failure is not None]
    for failure in failures:
        damaged = isinstance(failure, IntegrityError)
        if not mine and (damaged or len(failures) == len(lines)):
            raise failure
    return sorted((commit for line in mine for commit in line.commits), key=lambda each: each.n)


def _lines(repository: Repository) -> list[_Line]:
    lines: dict[bytes, list[Commit]] = {}
    for commit in repository.live_commits():
        lines.setdefault(commit.lineage, []).append(commit)
    return [_line(repository, commits) for commits in lines.values()]


def _line(repository: Repository, commits: list[Commit]) -> _Line:
    """Find out whose snapshots these are, from the newest that can be read.

    Damage to one snapshot must not hide the others. The oldest is the second to be tried: a key that
    came or went in between opens one end or the other, and all the rest need not be tried then.
    """
    failure: IntegrityError | KeyNotFoundError | None = None
    closed = 0
    order = [commits[-1], commits[0], *reversed(commits[1:-1])]
    for commit in order[: len(commits)]:
        try:
            return _Line(commits, SnapshotReader(repository, commit).root, None)
        except KeyNotFoundError as error:
            failure = failure or error
            closed += 1
            if closed == _BOTH_ENDS:
                break
        except IntegrityError as error:
            failure = failure or error
    return _Line(commits, None, failure)
