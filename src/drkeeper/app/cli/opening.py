"""Open the repository that holds a policy's snapshots."""

from collections.abc import Callable

from drkeeper.app.cli.invocation import Invocation
from drkeeper.app.cli.reaching import Reach, access
from drkeeper.app.wiring.repositories import open_for_reading
from drkeeper.errors import IntegrityError
from drkeeper.model.instants import rfc3339
from drkeeper.repository.commit import Commit
from drkeeper.repository.repository import Repository


def damage_warner(called: Invocation) -> Callable[[Commit, IntegrityError], None]:
    """Return what tells of a snapshot that cannot be read while others are looked at."""

    def warn(commit: Commit, error: IntegrityError) -> None:
        called.output.warning(f"snapshot {commit.n} of {rfc3339(commit.consistent_at)}: {error}")

    return warn


def open_repository(called: Invocation, reach: Reach, policy: str | None) -> Repository:
    """Open the repository that the options, the policy or the configuration name, to read it.

    A damaged journal may hide the newest snapshots. Nobody is to take an older one for the newest
    without knowing, so that is an error, unless salvage was asked for.

    Raises:
        IntegrityError: The journal is damaged or was rolled back.
        DrkeeperError: As ``wiring.repositories.open_for_reading``.
    """
    known = called.configuration.policies.get(policy or "")
    chosen = access(called, reach, repository=known.repository if known else None)
    try:
        repository = open_for_reading(
            chosen, called.state, called.clock, called.passphrase, salvage=reach.salvage
        )
    except IntegrityError as error:
        raise IntegrityError(
            str(error), hint="Run drkeeper check; to use what is sound all the same, add --salvage."
        ) from error
    journal = repository.journal
    if journal.broken_at is not None:
        damage = (
            f"the journal is damaged before entry {journal.broken_at}: newer snapshots are lost"
        )
        if not reach.salvage:
            raise IntegrityError(
                damage, hint="Run drkeeper check; to use what is sound all the same, add --salvage."
            )
        called.output.warning(damage)
    for finding in journal.findings:
        called.output.warning(finding.message)
    for void in journal.voids:
        if void.n > journal.state.n:
            called.output.warning(
                f"journal entry {void.n}, the newest, is void: {void.reason}; "
                "if it was a snapshot, that snapshot is not shown"
            )
    return repository
