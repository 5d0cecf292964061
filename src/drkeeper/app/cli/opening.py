"""Open the repository that holds a policy's snapshots."""

from drkeeper.app.cli.invocation import Invocation
from drkeeper.app.cli.reaching import Reach, access
from drkeeper.app.wiring.repositories import open_for_reading
from drkeeper.repository.repository import Repository


def open_repository(called: Invocation, reach: Reach, policy: str | None) -> Repository:
    """Open the repository that the options, the policy or the configuration name, to read it.

    Raises:
        DrkeeperError: As ``wiring.repositories.open_for_reading``.
    """
    known = called.configuration.policies.get(policy or "")
    chosen = access(called, reach, repository=known.repository if known else None)
    return open_for_reading(chosen, called.state, called.clock, called.passphrase)
