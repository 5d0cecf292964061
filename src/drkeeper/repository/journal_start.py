"""Where a reader begins: where one on this machine has read to, or where the journal lets it.

For one that knows nothing but an admin key, the beginning is always right. A checkpoint saves time, but whoever signs it could leave out what
others have stored, so only those are used whose signer could have expired it all anyway: an admin, or a
janitor. Even they cannot change the keyring, which is proven back to entry 1 (docs/format.md 3.4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from drkeeper.errors import IntegrityError
from drkeeper.repository.journal_body import CheckpointBody, CommitBody, KeyringBody
from drkeeper.repository.journal_entry import JournalEntry, VoidError, read_entry
from drkeeper.repository.journal_objects import JournalObjects
from drkeeper.repository.keyring import Keyring, Role
from drkeeper.repository.state import CHECKPOINT_EVERY, JournalState
from drkeeper.repository.steps import step

WORTH_IT: Final = 4 * CHECKPOINT_EVERY
"""A shorter journal is read from the beginning: that is quick, and proves everything."""

_CANDIDATES: Final = 16
"""So many checkpoints are looked at, from the newest back, before everything is read."""


@dataclass(frozen=True, slots=True)
class Start:
    """A checkpoint to read on from.

    Attributes:
        state: The state it holds.
        keys: Every key that signed anything before it, by the keyrings it names.
    """

    state: JournalState
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a reader that has read before goes on.

    Attributes:
        state: The state then.
        read_to: Highest number then read, void or not.
        commits: Bodies of live commits of ``state``, by number.
    """

    state: JournalState
    read_to: int
    commits: Mapping[int, CommitBody]

    @property
    def complete(self) -> bool:
        """Whether all live commits are known; else somebody must read those that are not."""
        return self.commits.keys() == self.state.commits.keys()


def find_start(objects: JournalObjects, repository: bytes, admins: Sequence[str]) -> Start | None:
    """Find a checkpoint that can be trusted; ``None`` when everything must be read.

    Raises:
        StorageError: The store refused or did not answer.
    """
    end = objects.find_end()
    if end < WORTH_IT:
        return None
    try:
        first = _entry(objects, repository, 1, admins)
        state = JournalState(repository)
        step(state, first)
    except VoidError:
        return None  # reading from the beginning will say what is wrong
    keyring = state.keyring
    if keyring is None:
        return None
    keys = _trusted(keyring)
    newest = end - end % CHECKPOINT_EVERY
    for n in range(newest, max(0, newest - _CANDIDATES * CHECKPOINT_EVERY), -CHECKPOINT_EVERY):
        try:
            return _start_at(objects, state, n, keys)
        except (VoidError, IntegrityError):
            continue
    return None


def every_keyring(
    objects: JournalObjects,
    repository: bytes,
    admins: Sequence[str],
    named: Sequence[tuple[int, str]],
) -> list[Keyring]:
    """Return every keyring that has been in force, the first one first, each proven by its admins.

    Args:
        objects: The journal.
        repository: Id of the repository.
        admins: Trusted to have signed entry 1.
        named: Number and digest of each entry that set one, from a state that is believed.

    Raises:
        IntegrityError: An entry is not what was named.
        StorageError: The store refused or did not answer.
    """
    try:
        state = JournalState(repository)
        step(state, _entry(objects, repository, 1, admins))
        return _proven_keyrings(objects, state, named)
    except VoidError as error:
        raise IntegrityError(f"a keyring of the journal is not what it was: {error}") from error


def _start_at(objects: JournalObjects, first: JournalState, n: int, keys: Sequence[str]) -> Start:
    """Verify the checkpoint at ``n`` and the keyrings it builds on.

    Raises:
        VoidError: It is no checkpoint by one of these keys, or an entry it names is void.
        IntegrityError: What it says is not what the journal holds.
    """
    entry = _entry(objects, first.repository, n, keys)
    if not isinstance(entry.body, CheckpointBody):
        raise VoidError("it is no checkpoint")
    state = JournalState.from_checkpoint(
        entry.body.state, repository=first.repository, n=n, digest=entry.digest
    )
    proven = _proven_keyrings(objects, first, state.keyrings)
    # A signer that an admin has removed since must not be the one to say what there is.
    if proven[-1] != state.keyring or entry.signer not in _trusted(proven[-1]):
        raise IntegrityError(f"checkpoint {n} names a keyring that is not in force", n=n)
    every = dict.fromkeys(key for keyring in proven for key in keyring.keys)
    return Start(state, tuple(every))


def _proven_keyrings(
    objects: JournalObjects, first: JournalState, named: Sequence[tuple[int, str]]
) -> list[Keyring]:
    if first.keyring is None or not named or tuple(named[0]) != first.keyrings[0]:
        raise IntegrityError("a checkpoint does not begin with the creation")
    proven = [first.keyring]
    for n, digest in named[1:]:
        before = proven[-1]
        entry = _entry(objects, first.repository, n, before.admins)
        if entry.digest.hex() != digest or not isinstance(entry.body, KeyringBody):
            raise IntegrityError(f"entry {n} is not the keyring that a checkpoint names", n=n)
        # The same step as in reading everything, so that it obeys the same rules.
        state = first.copy()
        state.keyring, state.digest = before, entry.prev
        step(state, entry)
        proven.append(state.keyring)
    return proven


def _trusted(keyring: Keyring) -> tuple[str, ...]:
    janitors = (signer.key for signer in keyring.signers if Role.JANITOR in signer.roles)
    return tuple(dict.fromkeys([*janitors, *keyring.admins]))


def _entry(objects: JournalObjects, repository: bytes, n: int, keys: Sequence[str]) -> JournalEntry:
    item = objects.find(n)
    data = None if item is None else objects.read(item)
    if data is None:
        raise VoidError("it is missing or too large")
    return read_entry(data, repository=repository, n=n, keys=keys)
