"""An open repository: one journal, one keyring, one store.

The write order that everything in this package keeps: key slots, `open`, packs and meta, refs,
inventory, `commit`. A snapshot exists when its commit exists (docs/format.md 3.3).
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from drkeeper.clock import Clock
from drkeeper.crypto.age import Identity
from drkeeper.crypto.age.header import MAX_STANZAS
from drkeeper.crypto.signing import SigningKey, VerifyKey
from drkeeper.errors import ConfigurationError, DrkeeperError, NoSpaceError
from drkeeper.repository.commit import Commit
from drkeeper.repository.creation import NewRepository, create_repository
from drkeeper.repository.hint import read_hint
from drkeeper.repository.journal import Journal
from drkeeper.repository.journal_draft import Draft
from drkeeper.repository.keyring import Keyring, most_recipients
from drkeeper.repository.keyslots import KeySlots
from drkeeper.repository.pin import HighWater, Pin, PinFile
from drkeeper.repository.state import JournalState
from drkeeper.repository.state_copy import decode_copy, encode_copy
from drkeeper.storage.base import ObjectStore

__all__ = [
    "NewRepository",
    "Repository",
    "create_repository",
    "open_repository",
    "update_keyring",
]

_COPY_EVERY: Final = 32
"""The local copy of the state is renewed after so many entries; reading fewer is cheap."""


@dataclass(slots=True)
class Memory:
    """What this machine remembers of the repository, and where.

    Attributes:
        file: Where the pin is.
        admins: Admin keys to pin.
        saved: Entry number last saved.
        copied: Entry number of the copy of the state last saved.
    """

    file: PinFile
    admins: tuple[str, ...]
    saved: int
    copied: int


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, opened with whatever identities there are.

    Attributes:
        id: Its id.
        store: Where it is.
        journal: What it is.
        keys: Opens the keys of sessions.
        clock: Dates what is written.
        memory: What this machine remembers of it; ``None`` when nothing is to be remembered.
    """

    id: bytes
    store: ObjectStore
    journal: Journal
    keys: KeySlots
    clock: Clock
    memory: Memory | None = None

    @property
    def keyring(self) -> Keyring:
        """The keyring in force as of the last refresh."""
        return self.journal.keyring

    def refresh(self) -> None:
        """Read the journal to its end and remember how far it went.

        Raises:
            IntegrityError: The journal was rolled back or is damaged.
            StorageError: The store refused or did not answer.
            ConfigurationError: The state directory cannot be written.
        """
        self.journal.refresh()
        self.remember()

    def remember(self) -> None:
        """Save the high-water mark when it rose; now and then a copy of the state with it.

        On a full disk an older mark stays: it still guards all that it knows of, and a backup is
        worth more than a newer one. Without any, there is nothing to go on by.

        Raises:
            NoSpaceError: There is no room for the first mark.
            ConfigurationError: The state directory cannot be written.
        """
        memory, state = self.memory, self.journal.state
        if memory is None or state.n <= memory.saved:
            return
        copy = None
        if state.n >= memory.copied + _COPY_EVERY:
            resume = self.journal.resume()
            copy = encode_copy(resume) if resume.complete else None
        pin = Pin(
            repository=self.id,
            admins=memory.admins,
            high_water=HighWater(state.n, state.digest),
            keyring=self.keyring.version,
        )
        try:
            memory.file.save(pin, copy)
        except NoSpaceError:
            if not memory.saved:
                raise
            return
        memory.saved = state.n
        memory.copied = memory.copied if copy is None else state.n

    def live_commits(self, lineage: bytes | None = None) -> list[Commit]:
        """Return the commits that have not expired, of one lineage or all, in journal order.

        Raises:
            IntegrityError: A commit is not what the journal's state says.
            StorageError: The store refused or did not answer.
        """
        return self.journal.commits(lineage)


def open_repository(  # noqa: PLR0913 - what is known of a repository, by name
    store: ObjectStore,
    *,
    clock: Clock,
    identities: Sequence[Identity] = (),
    state_dir: str | None = None,
    repository_id: bytes | None = None,
    admins: Collection[str] = (),
    salvage: bool = False,
    full: bool = False,
) -> Repository:
    """Open the repository in ``store`` and read its journal to the end.

    Args:
        store: Where it is.
        clock: Dates what is written.
        identities: What may open key slots; none are needed to look at the journal.
        state_dir: Where this machine remembers repositories; ``None`` remembers nothing, and then
            a rollback goes unnoticed.
        repository_id: The repository that must be here; without it, what the hint claims.
        admins: Admin public keys to trust, from the configuration or the recovery kit; those in
            the pin when empty.
        salvage: Report damage of the journal instead of refusing; for reading only.
        full: Read and verify the whole journal, whatever is remembered; for `check`.

    Raises:
        RepositoryNotFoundError: There is none.
        ConfigurationError: No admin key is known, or the pin is damaged.
        IntegrityError: It is another repository, was rolled back, or is damaged.
        StorageError: The store refused or did not answer.
    """
    hint = read_hint(store, expected=repository_id)
    file = None if state_dir is None else PinFile(state_dir, hint.repository)
    pin = None if file is None else file.load()
    told = tuple(VerifyKey.parse(admin).hex for admin in admins)
    trusted = told or (() if pin is None else pin.admins)
    if not trusted:
        raise ConfigurationError(
            "no admin key of this repository is known here",
            hint="Give the admin fingerprint from the recovery kit.",
        )
    resume = None
    if (
        not full
        and file is not None
        and pin is not None
        and (copy := file.load_copy(pin)) is not None
    ):
        resume = decode_copy(copy, hint.repository)
    journal = Journal(
        store,
        hint.repository,
        admins=trusted,
        clock=clock,
        high_water=None if pin is None else pin.high_water,
        resume=resume,
        salvage=salvage,
        full=full,
    )
    memory = None
    if file is not None and not salvage:
        memory = Memory(
            file=file,
            admins=trusted,
            saved=0 if pin is None else pin.high_water.n,
            copied=0 if resume is None else resume.state.n,
        )
    repository = Repository(
        id=hint.repository,
        store=store,
        journal=journal,
        keys=KeySlots(store, journal, identities),
        clock=clock,
        memory=memory,
    )
    repository.refresh()
    return repository


def update_keyring(
    repository: Repository, admin: SigningKey, change: Callable[[Keyring], Keyring]
) -> Keyring:
    """Put a changed keyring in force.

    Args:
        repository: Where.
        admin: Signs the change.
        change: Given the keyring in force, returns the wanted one; its version is set here. May be
            called again when another change came first.

    Raises:
        ConfigurationError: The key is no admin's, or the keyring is unsound or has too many
            recipients.
        FencedError: Too many races were lost.
        StorageUnavailableError: It is unclear whether the change was made.
    """

    def decide(state: JournalState) -> Draft:
        before = state.keyring or repository.keyring
        wanted = change(before).renewed(before)
        # With more, no host could open a session; taking some away is always right.
        if max(MAX_STANZAS, most_recipients(before)) < most_recipients(wanted):
            raise ConfigurationError(
                f"the keyring has more than {MAX_STANZAS} recipients for one key",
                hint="Remove recipients that are not used any more.",
            )
        return Draft("keyring", {"keyring": wanted.to_json()})

    try:
        repository.journal.append_when(decide, admin)
    finally:
        # The change is in the journal or failed for its own reasons; the pin comes second.
        with suppress(DrkeeperError):
            repository.remember()
    return repository.keyring
