"""A session: one run of one process that writes to a repository.

It has its own keys, drawn when it opens, and ends with a complete commit or an abort. What makes
collection safe without locks is done here on the writer's side (docs/adr/0052): right before a
commit the journal is read to its end, the session must still be open, and nothing that the snapshot
needs may be condemned; and that is decided anew after every lost race.
"""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import ConfigurationError, DrkeeperError, FencedError
from drkeeper.faults import point
from drkeeper.repository.commit import Commit, CommitDraft, commit_body
from drkeeper.repository.journal_draft import Draft
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.keyslots import SessionKeys, WrittenSlot, write_slots
from drkeeper.repository.places import ID_BYTES, KeyClass, ObjectKind, reference_name
from drkeeper.repository.repository import Repository
from drkeeper.repository.state import JournalState

_KEYRING_CHANGES: Final = 8
"""So many keyring changes while one session opens are no accident."""

_MAX_REASON: Final = 1000


class CondemnedError(FencedError):
    """Objects that a snapshot would need are about to be deleted; store their content again.

    Attributes:
        names: ``<kind>/<hex id>`` of each.
    """

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(
            f"{len(names)} objects that this snapshot needs are about to be deleted",
            hint="Run the backup again; it will not use them.",
        )
        self.names = frozenset(names)


@dataclass(slots=True, eq=False)
class Session:
    """A session of this process; it ends with its context.

    Attributes:
        id: Its id.
        keys: What it seals under.
        lineage: The line of snapshots it writes.
        host: The host it belongs to.
        repository: Where.
        slots: Its key slots, for the inventory.
        opened_n: Number of its `open` entry.
        reusable: Entry numbers of the commits that were live when it opened. Only what one of these
            needs, or the session itself stored, may be used in its snapshots: an object that no live
            commit needed then may have been condemned, deleted and forgotten before.
    """

    id: bytes
    keys: SessionKeys = field(repr=False)
    lineage: bytes
    host: bytes
    repository: Repository
    slots: dict[KeyClass, WrittenSlot]
    opened_n: int
    reusable: frozenset[int]
    _signer: SigningKey = field(repr=False)
    _process: int
    _ended: bool = False

    def commit(self, draft: CommitDraft, needs: Callable[[], Collection[str]]) -> Commit:
        """Make a snapshot exist.

        Everything it needs must be durable. Calling it again with the same draft, after an unclear
        answer, returns the commit that exists or makes it, never a second one.

        Args:
            draft: What the snapshot is.
            needs: Every object the snapshot needs besides those in the draft, as
                ``<kind>/<hex id>``; asked again after each lost race.

        Raises:
            FencedError: Somebody ended the session; nothing was committed.
            CondemnedError: Something it needs is condemned; nothing was committed, and the
                session is still open.
            StorageUnavailableError: It is unclear whether it was committed.
            IntegrityError: The journal was rolled back or is damaged.
        """
        self.check_process()
        made: list[int] = []

        def decide(state: JournalState) -> Draft | None:
            made.clear()
            if (earlier := self._made_earlier(state, draft)) is not None:
                made.append(earlier)
                return None
            self._refuse_fenced(state)
            self._refuse_condemned(state, draft, needs())
            lineage = state.lineages[self.lineage.hex()]
            body = commit_body(
                draft,
                session=self.id,
                lineage=self.lineage,
                host=self.host,
                seq=lineage.seq + 1,
                previous=lineage.last,
            )
            return Draft("commit", body)

        point("repository.session.commit")
        entry = self.repository.journal.append_when(decide, self._signer)
        point("repository.session.committed")
        commit = self.repository.journal.commit(made[0] if entry is None else entry.n)
        self._ended = self._ended or commit.complete
        # The snapshot exists; a full local disk must not make it look as if it did not.
        with suppress(DrkeeperError):
            self.repository.remember()
        return commit

    def abort(self, reason: str) -> None:
        """End the session without a (further) commit; harmless when it has ended.

        Raises:
            StorageError: The store refused or did not answer; the session may be open still.
        """
        self.check_process()
        body = {"session": self.id.hex(), "reason": reason[:_MAX_REASON]}

        def decide(state: JournalState) -> Draft | None:
            return Draft("abort", body) if self.id.hex() in state.sessions else None

        point("repository.session.abort")
        self.repository.journal.append_when(decide, self._signer)
        point("repository.session.aborted")
        self._ended = True

    def check_process(self) -> None:
        """Make sure that this is the process that opened the session.

        Raises:
            FencedError: It is a fork of it; both would draw the same numbers.

        Source:
            docs/format.md 2.2.
        """
        if os.getpid() != self._process:
            raise FencedError(
                "a session does not survive a fork of its process",
                hint="Open a new session in the new process.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the session if it has not; a failure to do so never hides the first error."""
        if self._ended or os.getpid() != self._process:
            return
        reason = "ended without a complete snapshot" if error is None else type(error).__name__
        if error is None:
            self.abort(reason)
        else:
            with suppress(DrkeeperError):
                self.abort(reason)

    def _made_earlier(self, state: JournalState, draft: CommitDraft) -> int | None:
        """Find the commit that an unclear answer hid from an earlier call."""
        for n, live in state.commits.items():
            if live.session != self.id.hex():
                continue
            commit = self.repository.journal.commit(n)
            if commit.root == draft.root and commit.complete == draft.complete:
                return n
        return None

    def _refuse_fenced(self, state: JournalState) -> None:
        if self.id.hex() not in state.sessions:
            self._ended = True
            raise FencedError(
                f"session {self.id.hex()} was ended by somebody else",
                hint="Run the backup again; what was stored and committed before is kept.",
            )

    def _refuse_condemned(
        self, state: JournalState, draft: CommitDraft, needs: Collection[str]
    ) -> None:
        own = {
            reference_name(ObjectKind.META, draft.root.id),
            reference_name(ObjectKind.REFS, draft.refs.id),
        }
        if condemned := state.condemned_among(own.union(needs)):
            raise CondemnedError(condemned)


def open_session(
    repository: Repository, *, host: KeyFile, lineage: bytes, resumes: int | None = None
) -> Session:
    """Open a session of this process: draw its keys, store their slots, say so in the journal.

    Args:
        repository: Where to write.
        host: Key file of this host.
        lineage: The line of snapshots to continue or begin.
        resumes: Number of the partial commit that is continued.

    Raises:
        ConfigurationError: The key may not write here, or the lineage is another host's.
        StorageError: The store refused or did not answer.
        IntegrityError: The journal was rolled back or is damaged.
        FencedError: The keyring changes all the time.
    """
    host.for_repository(repository.id)
    if host.host is None or host.signing_key is None:
        raise ConfigurationError(
            f"a {host.role.value} key cannot write snapshots", hint="Use the key of a host."
        )
    session, keys = os.urandom(ID_BYTES), SessionKeys.draw()
    for _ in range(_KEYRING_CHANGES):
        repository.refresh()
        keyring = repository.keyring
        point("repository.session.slots")
        slots = write_slots(repository.store, session, keys, host=host.host, keyring=keyring)
        body = {
            "session": session.hex(),
            "lineage": lineage.hex(),
            "host": host.host.hex(),
            "keyring": keyring.version,
            "keyslots": {kind.value: slot.digest.hex() for kind, slot in slots.items()},
            "resumes": resumes,
        }
        version = keyring.version
        point("repository.session.open")
        entry = repository.journal.append_when(
            _unless_changed(version, Draft("open", body)), host.signing_key
        )
        if entry is None:
            continue
        point("repository.session.opened")
        repository.keys.adopt(session, keys)
        return Session(
            id=session,
            keys=keys,
            lineage=lineage,
            host=host.host,
            repository=repository,
            slots=slots,
            opened_n=entry.n,
            reusable=frozenset(repository.journal.state.commits),
            _signer=host.signing_key,
            _process=os.getpid(),
        )
    raise FencedError(
        "the keyring changed again and again while a session was opened",
        hint="Find out who changes the keyring, then try again.",
    )


def _unless_changed(version: int, draft: Draft) -> Callable[[JournalState], Draft | None]:
    """Decide for ``draft`` unless its key slots are for recipients of another keyring by now."""

    def decide(state: JournalState) -> Draft | None:
        keyring = state.keyring
        return draft if keyring is not None and keyring.version == version else None

    return decide
