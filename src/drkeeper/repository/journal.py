"""The journal: the signed log that says what a repository is, read on and appended to.

Creating entry n+1 only if it is absent is the compare-and-swap of the whole repository: no lock,
no mutable pointer, no clock. A writer that loses the race reads what won and decides again. When the
answer to a creation is unclear it reads the entry: its own bytes mean that it won, so nothing is
ever said twice (docs/format.md 3).

What may be assumed about a :class:`Journal`: after :meth:`Journal.refresh` its state follows from entries
that keys in force have signed, each linked to the one before; it has not gone back behind what this
machine has seen; junk between the entries was skipped and is listed in :attr:`Journal.voids`.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from drkeeper.clock import Clock
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import FencedError, IntegrityError, StorageError
from drkeeper.faults import point
from drkeeper.repository.commit import Commit
from drkeeper.repository.journal_create import create_entry
from drkeeper.repository.journal_damage import Damage, FindingKind, JournalFinding
from drkeeper.repository.journal_draft import Draft, checkpoint_due, tried
from drkeeper.repository.journal_entry import (
    JournalEntry,
    VoidEntry,
    VoidError,
    find_signer,
    read_entry,
)
from drkeeper.repository.journal_objects import EntryObject, JournalObjects
from drkeeper.repository.journal_start import Resume, every_keyring, find_start
from drkeeper.repository.keyring import Keyring
from drkeeper.repository.live_commits import LiveCommits
from drkeeper.repository.pin import HighWater
from drkeeper.repository.rollback import RollbackGuard
from drkeeper.repository.state import JournalState
from drkeeper.repository.steps import step
from drkeeper.repository.witness import Witness
from drkeeper.storage.base import ObjectStore

_SINGLY: Final = 4
"""After so many new entries in a row the rest is listed, and read with threads."""

_LOST_RACES: Final = 1024
"""Every lost race is another writer's entry, or junk; more in one go is an attack."""

_MAX_STRAYS_READ: Final = 64


class Journal:  # noqa: PLR0904 - a reader may ask for many things, and write only by append
    """The journal of one repository, for any number of threads of one process.

    Args:
        store: The store of the repository.
        repository: Its id.
        admins: Public keys that are trusted to have signed entry 1, hex.
        clock: Dates entries, and waits after unclear answers.
        high_water: The newest entry this machine has seen, if any.
        resume: Where to read on; from the beginning when ``None``.
        salvage: Report damage as :attr:`findings` and use what is sound, where otherwise an
            ``IntegrityError`` would be raised. Such a journal cannot be appended to.
        full: Read and verify everything, even where a checkpoint can be trusted.
    """

    def __init__(  # noqa: PLR0913 - how much to trust and to read, by name
        self,
        store: ObjectStore,
        repository: bytes,
        *,
        admins: Collection[str],
        clock: Clock,
        high_water: HighWater | None = None,
        resume: Resume | None = None,
        salvage: bool = False,
        full: bool = False,
    ) -> None:
        self._store = store
        self._objects = JournalObjects(store)
        self._repository = repository
        self._admins = tuple(admins)
        self._clock = clock
        self._full = full
        self._witness = Witness() if full and resume is None else None
        self._former_keys: tuple[str, ...] = ()
        self._lock = threading.RLock()
        self._state = JournalState(repository) if resume is None else resume.state.copy()
        self._read_to = 0 if resume is None else resume.read_to
        self._commits = LiveCommits(self._objects, {} if resume is None else resume.commits)
        self._damage = Damage(repository, salvage=salvage)
        self._rollback = RollbackGuard(high_water, self._damage)
        self._begun = False
        self._listed = resume is not None
        self._recent: str | None = None

    @property
    def state(self) -> JournalState:
        """The state as of the last refresh; not to be changed, and replaced by refreshes."""
        return self._state

    @property
    def keyring(self) -> Keyring:
        """The keyring in force as of the last refresh.

        Raises:
            IntegrityError: The journal was not read, or there is none.
        """
        if self._state.keyring is None:
            raise IntegrityError(
                "the journal has no entry 1",
                hint="Check that this is the whole repository, and restore journal/ from a copy.",
            )
        return self._state.keyring

    def keyrings(self) -> list[Keyring]:
        """Return every keyring that has been in force, the newest last; costs a request for each.

        Raises:
            IntegrityError: An entry of the journal is not what it was.
            StorageError: The store refused or did not answer.
        """
        named = self._state.keyrings
        if len(named) == 1:
            return [self.keyring]
        return every_keyring(self._objects, self._repository, self._admins, named)

    @property
    def read_to(self) -> int:
        """Highest number read, void or not."""
        return self._read_to

    @property
    def voids(self) -> tuple[VoidEntry, ...]:
        """Void entries met by this object, at most 1,000 of them."""
        return self._damage.voids

    @property
    def findings(self) -> tuple[JournalFinding, ...]:
        """What somebody should look at: strays, and with ``salvage`` any damage."""
        return self._damage.findings

    @property
    def broken_at(self) -> int | None:
        """Number of a signed entry after damage that does not link to what is sound, if any.

        Either an entry between was damaged in the store, or a signer lies.
        """
        return self._damage.broken_at

    @property
    def witness(self) -> Witness | None:
        """What the whole journal has said about stored objects; ``None`` unless read in full."""
        return self._witness

    def resume(self) -> Resume:
        """Return where another journal object may read on, with as many commits as can be read."""
        with self._lock:
            # What is wrong with a commit concerns those who ask for it.
            with suppress(StorageError):
                self._commits.fetch(self._state.commits, self._state, self._every_key())
            return Resume(self._state.copy(), self._read_to, self._commits.bodies)

    def refresh(self) -> None:
        """Read to the end.

        Nothing new costs one request. The first refresh also compares with the high-water mark.

        Raises:
            IntegrityError: The journal was rolled back, lacks a number, or was not created by a
                trusted admin; or the repository needs a newer drkeeper.
            StorageError: The store refused or did not answer.
        """
        with self._lock:
            if not self._begun:
                self._begin_reading()
            if not self._listed:
                self._read_listed()
                self._listed = True
            singly = 0
            while (item := self._objects.find(self._read_to + 1)) is not None:
                singly += 1
                if singly > _SINGLY:
                    self._read_listed()
                    singly = 0
                else:
                    self._absorb(item, self._objects.read(item))
            _ = self.keyring
            self._rollback.ended(self._read_to)

    def commit(self, n: int) -> Commit:
        """Return the live commit of entry ``n``, verified.

        Raises:
            IntegrityError: The entry is not what the state says.
            StorageError: The store refused or did not answer.
        """
        with self._lock:
            return self._commits.get(n, self._state, self._every_key())

    def commits(self, lineage: bytes | None = None) -> list[Commit]:
        """Return the live commits, of one lineage or all, in journal order.

        After a full read, or with what another journal object has read, that costs no request and
        some 20 us a commit; after a start at a checkpoint the entries are read first, many at a time.

        Raises:
            IntegrityError: An entry is not what the state says; with ``salvage`` it is a finding, and
                the commit is left out.
            StorageError: The store refused or did not answer.
        """
        with self._lock:
            state = self._state
            for damage in self._commits.fetch(state.commits, state, self._every_key()):
                self._damage.tolerate(damage)
            return self._commits.of(lineage, state)

    def begin(self, body: Mapping[str, Any], admin: SigningKey) -> JournalEntry:
        """Append entry 1, with which the repository begins to exist.

        Raises:
            IntegrityError: There is an entry 1 already.
            StorageUnavailableError: It is unclear whether the entry was created.
        """
        with self._lock:
            entry = self._attempt(Draft("create", body), admin) if self._read_to == 0 else None
        if entry is None:
            raise IntegrityError("the journal has begun already")
        return entry

    def append(self, op: str, body: Mapping[str, Any], signer: SigningKey) -> JournalEntry:
        """Append one entry whose body does not depend on the state.

        Raises:
            ConfigurationError: This key may not say this, or it is illegal now.
            FencedError: Too many races were lost.
            StorageUnavailableError: It is unclear whether the entry was created.
        """
        draft = Draft(op, body)
        while True:
            entry = self.append_when(lambda _state: draft, signer)
            if entry is not None:  # never None, since a draft was given
                return entry

    def append_when(
        self, decide: Callable[[JournalState], Draft | None], signer: SigningKey
    ) -> JournalEntry | None:
        """Append what ``decide`` says about the newest state, deciding again after each lost race.

        Args:
            decide: Looks at a state read to the end, which it must not keep or change; ``None``
                ends the attempt. What it raises leaves this method.
            signer: Signs the entry, and the checkpoint that may have to come before it.

        Returns:
            The entry, which is in the journal, or ``None`` when ``decide`` said so.

        Raises:
            ConfigurationError: This key may not say this, or it is illegal now.
            FencedError: Too many races were lost.
            IntegrityError: The journal is damaged; only an admin may append after the damage.
            StorageUnavailableError: It is unclear whether the entry was created.
        """
        with self._lock:
            for _ in range(_LOST_RACES):
                point("repository.journal.refresh")
                self.refresh()
                self._refuse_damage(signer)
                draft = decide(self._state)
                if draft is None:
                    return None
                checkpoint = checkpoint_due(self._state, self._read_to + 1, draft)
                entry = self._attempt(checkpoint or draft, signer)
                if entry is not None and checkpoint is None:
                    return entry
        raise FencedError(
            "lost the race for the next journal entry too often",
            hint="Run drkeeper check: somebody may be filling the journal with junk.",
        )

    # -- reading

    def _begin_reading(self) -> None:
        """Choose where to begin: where another has read to, a checkpoint, or entry 1."""
        if not self._listed and not self._full:
            start = find_start(self._objects, self._repository, self._admins)
            if start is not None:
                self._state, self._read_to = start.state, start.state.n
                self._former_keys = start.keys
        self._rollback.begun(self._read_to, self._objects)
        self._begun = True

    def _read_listed(self) -> None:
        found = self._objects.listed(self._read_to)
        run = [item for at, item in enumerate(found) if item.n == self._read_to + 1 + at]
        for item, data in self._objects.read_all(run):
            self._absorb(item, data)
        beyond = found[len(run) :]
        # Listings are not instantaneous: what looks like a hole may have been filled meanwhile.
        if beyond and self._objects.find(self._read_to + 1) is None:
            self._judge_strays(beyond)

    def _judge_strays(self, beyond: list[EntryObject]) -> None:
        missing = self._read_to + 1
        for item in beyond[:_MAX_STRAYS_READ]:
            data = self._objects.read(item)
            signer = None if data is None else find_signer(data, self._keys())
            if signer is not None:
                self._damage.violation(
                    FindingKind.MISSING,
                    missing,
                    f"journal entry {missing} is missing, but entry {item.n} exists and is signed",
                    hint="Restore the missing object from a copy of the store.",
                )
                return
        self._damage.note(
            FindingKind.STRAY,
            None,
            f"{len(beyond)} stray objects are in journal/ beyond its end, the first at {beyond[0].n}",
        )

    def _absorb(self, item: EntryObject, data: bytes | None) -> None:
        """Take the next object in, whatever it is."""
        try:
            self._step(item.n, data)
        except VoidError as void:
            # What no key signed may have been hurt on its way here: it is read once more.
            again = None if data is None or void.signer else self._objects.read(item)
            if again is None or again == data:
                self._void(item.n, void)
            else:
                try:
                    self._step(item.n, again)
                except VoidError as still:
                    self._void(item.n, still)
        self._read_to = item.n
        self._rollback.absorbed(item.n, self._state.digest)

    def _step(self, n: int, data: bytes | None) -> None:
        if data is None:
            raise VoidError("its length is not that of an entry")
        entry = read_entry(data, repository=self._repository, n=n, keys=self._keys())
        step(self._state, entry)
        self._accepted(entry)

    def _accepted(self, entry: JournalEntry) -> None:
        self._recent = entry.signer
        self._damage.accepted()
        if self._witness is not None:
            self._witness.see(entry)
        self._commits.see(entry)

    def _void(self, n: int, void: VoidError) -> None:
        if self._state.keyring is None:
            raise IntegrityError(
                f"journal entry {n} does not create a repository for a trusted admin: {void}",
                hint="Compare the admin key in the recovery kit with the one configured here.",
            ) from void
        self._damage.void(n, void)

    def _keys(self) -> tuple[str, ...]:
        keyring = self._state.keyring
        keys = self._admins if keyring is None else keyring.keys
        # The signer of the last entry is the likeliest signer of the next.
        return (self._recent, *keys) if self._recent in keys else keys

    def _every_key(self) -> tuple[str, ...]:
        # Whoever signed a commit may have left the keyring since.
        return (*self._keys(), *self._former_keys)

    # -- appending

    def _refuse_damage(self, signer: SigningKey) -> None:
        keyring = self._state.keyring
        admin = keyring is not None and signer.verify_key.hex in keyring.admins
        if self._damage.salvage or (self.broken_at is not None and not admin):
            raise IntegrityError(
                f"the journal is damaged after entry {self._state.n}: "
                f"entry {self.broken_at} is signed but does not follow it",
                hint="Restore the damaged object from a copy of the store; "
                "or let an admin change the keyring, which gives up what came after.",
            )

    def _attempt(self, draft: Draft, signer: SigningKey) -> JournalEntry | None:
        """Try to create the next entry; ``None`` when somebody else did."""
        n = self._read_to + 1
        wanted = tried(
            draft,
            state=self._state,
            n=n,
            at=self._clock.now(),
            signer=signer,
            keys=self._keys(),
        )
        if not create_entry(self._store, self._clock, n, wanted.data):
            return None
        point("repository.journal.won")
        self._state, self._read_to = wanted.after, n
        self._accepted(wanted.entry)
        return wanted.entry
