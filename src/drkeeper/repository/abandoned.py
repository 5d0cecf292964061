"""Sessions that a dead process left open."""

from drkeeper.errors import ConfigurationError
from drkeeper.faults import point
from drkeeper.repository.journal_draft import Draft
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.repository import Repository
from drkeeper.repository.state import JournalState


def abort_open_sessions(repository: Repository, *, host: KeyFile, lineage: bytes) -> int:
    """End every open session of a lineage of this host; return how many there were.

    The caller holds the lock of the lineage on this machine, so whoever opened them is dead. Should
    one live on another machine after all, it is fenced when it commits.

    Raises:
        ConfigurationError: The key may not write here.
        StorageError: The store refused or did not answer.
        IntegrityError: The journal was rolled back or is damaged.
    """
    signer = host.signing_key
    if signer is None or host.host is None:
        raise ConfigurationError(
            f"a {host.role.value} key cannot write snapshots", hint="Use the key of a host."
        )
    own = (lineage.hex(), host.host.hex())

    def decide(state: JournalState) -> Draft | None:
        for session, opened in state.sessions.items():
            if (opened.lineage, opened.host) == own:
                body = {"session": session, "reason": "the process that opened it is gone"}
                return Draft("abort", body)
        return None

    ended = 0
    point("repository.abandoned.abort")
    while repository.journal.append_when(decide, signer) is not None:
        ended += 1
    point("repository.abandoned.aborted")
    return ended
