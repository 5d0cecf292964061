"""Key slots: the keys of a session, sealed to those who may open its objects.

Age does not say who encrypted, so a slot counts only when its digest stands in the signed `open`
entry of its session; it is compared before anything is decrypted (docs/format.md 2.2).
"""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from drkeeper.crypto.age import Identity, decrypt, encrypt
from drkeeper.crypto.digests import digest
from drkeeper.errors import (
    DrkeeperError,
    IntegrityError,
    KeyNotFoundError,
    ObjectNotFoundError,
)
from drkeeper.faults import point
from drkeeper.repository.journal import Journal
from drkeeper.repository.keyring import Keyring
from drkeeper.repository.parts import PartReader
from drkeeper.repository.places import KeyClass, keyslot_name
from drkeeper.repository.refs import SlotRow, decode_root
from drkeeper.storage.base import ObjectStore

KEY_BYTES: Final = 32
MAX_SLOT_BYTES: Final = 1024 * 1024
"""Far above an age file for the most recipients it can have."""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The three keys under which a session seals.

    Attributes:
        data: Of packs.
        meta: Of meta objects.
        refs: Of refs objects.
    """

    data: bytes = field(repr=False)
    meta: bytes = field(repr=False)
    refs: bytes = field(repr=False)

    @classmethod
    def draw(cls) -> "SessionKeys":
        """Draw new keys from the system's random source."""
        return cls(os.urandom(KEY_BYTES), os.urandom(KEY_BYTES), os.urandom(KEY_BYTES))

    def of(self, key_class: KeyClass) -> bytes:
        """Return the key of one class."""
        match key_class:
            case KeyClass.DATA:
                return self.data
            case KeyClass.META:
                return self.meta
            case KeyClass.REFS:
                return self.refs


@dataclass(frozen=True, slots=True)
class WrittenSlot:
    """A key slot in the store; for the inventory of the session.

    Attributes:
        name: Object name.
        digest: BLAKE3 of the object.
        stored_bytes: Its length.
    """

    name: str
    digest: bytes
    stored_bytes: int


def write_slots(
    store: ObjectStore, session: bytes, keys: SessionKeys, *, host: bytes, keyring: Keyring
) -> dict[KeyClass, WrittenSlot]:
    """Store the key slots of a session for the recipients in ``keyring``.

    Raises:
        StorageError: The store refused or did not answer.
    """
    written = {}
    for key_class in KeyClass:
        sealed = encrypt(keys.of(key_class), keyring.recipients(key_class, host))
        name = keyslot_name(session, keyring.version, key_class)
        point("repository.keyslots.put")
        store.put(name, sealed)
        point("repository.keyslots.stored")
        written[key_class] = WrittenSlot(name, digest(sealed), len(sealed))
    return written


@dataclass(frozen=True, slots=True)
class _Reading:
    """What reading the refs of a snapshot needs."""

    id: bytes
    store: ObjectStore
    keys: "KeySlots"


class KeySlots:
    """Opens key slots with the identities at hand, once each; for any number of threads.

    Which slots of a session are genuine, the journal says as long as a commit of the session is
    live; after that, the snapshots that still need the session say it (docs/format.md 8).

    Args:
        store: The store of the repository.
        journal: Says which slots are genuine.
        identities: What this process may open with.
    """

    def __init__(
        self, store: ObjectStore, journal: Journal, identities: Sequence[Identity]
    ) -> None:
        self._store = store
        self._journal = journal
        self._identities = tuple(identities)
        self._lock = threading.Lock()
        self._opened: dict[tuple[bytes, KeyClass], bytes] = {}
        self._told: dict[bytes, dict[SlotRow, None]] = {}
        self._asked: set[int] = set()
        self._silent: DrkeeperError | None = None

    def adopt(self, session: bytes, keys: SessionKeys) -> None:
        """Know the keys of a session that this process opened itself."""
        with self._lock:
            for key_class in KeyClass:
                self._opened[session, key_class] = keys.of(key_class)

    def key(self, session: bytes, key_class: KeyClass) -> bytes:
        """Return the key of an open or live session.

        Raises:
            KeyNotFoundError: No identity at hand opens it.
            IntegrityError: The session is unknown, or its slot is missing or not the genuine one.
            StorageError: The store refused or did not answer.
        """
        with self._lock:
            known = self._opened.get((session, key_class))
        if known is None:
            known = self._open(session, key_class)
            with self._lock:
                self._opened[session, key_class] = known
        return known

    def slots(self, session: bytes) -> SlotRow:
        """Return which key slots of a session are the genuine ones, by the newest word on it.

        Raises:
            IntegrityError: No live snapshot needs such a session.
            KeyNotFoundError: Perhaps one does, but no identity at hand opens its list.
            StorageError: The store refused or did not answer.
        """
        return next(self._rows(session))

    def _rows(self, session: bytes) -> Iterator[SlotRow]:
        """Yield what is said of the key slots of a session: one thing, unless somebody lies.

        The journal's word is the last. Else snapshots are asked, from the newest back, as long as the
        caller wants to hear another word; one whose list cannot be read has none.

        Raises:
            IntegrityError: No live snapshot needs such a session.
            KeyNotFoundError: Perhaps one does, but no identity at hand opens its list.
        """
        state = self._journal.state
        known = state.slots_of(session.hex())
        if known is not None:
            parts = [bytes.fromhex(getattr(known.slots, each.value)) for each in KeyClass]
            yield SlotRow(session, known.keyring, *parts)
            return
        said: set[SlotRow] = set()
        for n in (None, *sorted(state.commits, reverse=True)):
            if n is not None:
                self._ask(n)
            with self._lock:
                told = [row for row in self._told.get(session, ()) if row not in said]
            said.update(told)
            yield from told
        if not said:
            raise self._silent or IntegrityError(
                f"session {session.hex()} is needed by no live snapshot",
                hint="Read the journal again; the snapshot may have expired.",
            )

    def _ask(self, n: int) -> None:
        """Take in what a snapshot says of the sessions that it needs, once."""
        with self._lock:
            if n in self._asked:
                return
            # Before it is read, so that a list which needs itself to be read ends there.
            self._asked.add(n)
        reading = _Reading(self._journal.state.repository, self._store, self)
        try:
            place = self._journal.commit(n).refs
            rows = decode_root(PartReader(reading).read_refs(place)).sessions
        except (IntegrityError, KeyNotFoundError, ObjectNotFoundError) as error:
            # Other hosts' lists are closed to a host; a damaged one must not close the rest.
            self._silent = self._silent or error
            return
        except BaseException:
            with self._lock:
                self._asked.discard(n)
            raise
        with self._lock:
            for row in rows:
                self._told.setdefault(row.session, {})[row] = None

    def _open(self, session: bytes, key_class: KeyClass) -> bytes:
        """Open the slot that anybody's word fits. Source: docs/format.md 8."""
        failure: IntegrityError | None = None
        for row in self._rows(session):
            name = keyslot_name(session, row.keyring, key_class)
            try:
                sealed = self._read(name)
            except IntegrityError as error:
                failure = failure or error
                continue
            if digest(sealed) == getattr(row, key_class.value):
                return self._decrypted(name, sealed, key_class)
            failure = failure or IntegrityError(
                f"{name} is not the key slot that its session signed",
                hint="Restore the object from a copy of the store.",
            )
        raise failure or AssertionError("rows end with an error when there are none")

    def unwrap(self, name: str, sealed: bytes, key_class: KeyClass) -> bytes:
        """Return the key in an age file, whoever wrote it: what it opens must prove itself.

        Args:
            name: Of the object it stands in, for messages.
            sealed: The age file.
            key_class: What it is for, for messages.

        Raises:
            KeyNotFoundError: No identity at hand opens it.
            IntegrityError: It is malformed, or holds no key.
        """
        return self._decrypted(name, sealed, key_class)

    def _decrypted(self, name: str, sealed: bytes, key_class: KeyClass) -> bytes:
        try:
            key = decrypt(sealed, self._identities)
        except KeyNotFoundError as error:
            raise self._no_key(key_class) from error
        if len(key) != KEY_BYTES:
            raise IntegrityError(f"{name} does not hold a key")
        return key

    def _read(self, name: str) -> bytes:
        point("repository.keyslots.get")
        try:
            length = self._store.info(name).stored_bytes
        except ObjectNotFoundError as error:
            raise IntegrityError(
                f"the key slot {name} is missing",
                hint="Restore the object from a copy of the store.",
            ) from error
        if length > MAX_SLOT_BYTES:
            raise IntegrityError(f"{name} is too large to be a key slot")
        return self._store.get(name, length=length)

    def _no_key(self, key_class: KeyClass) -> KeyNotFoundError:
        keyring = self._journal.state.keyring
        roles = [] if keyring is None else keyring.openers(key_class)
        who = " or ".join(roles)
        return KeyNotFoundError(
            f"no identity at hand opens the {key_class.value} of this repository",
            hint=f"Give a {who} identity of this repository.",
            key_class=key_class.value,
        )
