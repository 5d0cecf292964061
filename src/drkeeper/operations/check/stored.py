"""The part of a check that compares what the store lists with what was said to be stored.

It needs no key: inventories are public, and the journal names their digests and those of all key slots.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from sys import intern
from threading import Lock
from typing import Final

from drkeeper.crypto.digests import digest, equal
from drkeeper.errors import IntegrityError, ObjectNotFoundError, StorageError
from drkeeper.faults import point
from drkeeper.operations.check.bounded import for_each
from drkeeper.operations.check.findings import Notes, Severity
from drkeeper.operations.check.listing import Listing
from drkeeper.operations.check.needs import Needs
from drkeeper.repository import inventory
from drkeeper.repository.commit import Commit
from drkeeper.repository.inventory import StoredObject
from drkeeper.repository.keyslots import MAX_SLOT_BYTES
from drkeeper.repository.places import KeyClass, inventory_name, keyslot_name
from drkeeper.repository.repository import Repository
from drkeeper.repository.state import SessionSlots

_MAX_INVENTORY_BYTES: Final = 1 << 30
_KEYSLOTS: Final = "keyslots/"
_INVENTORY: Final = "inventory/"


@dataclass(slots=True)
class Stored:
    """Compares.

    Attributes:
        needs: What live snapshots need; empty when the check is blind.
        blind: Whether nothing is known of what snapshots need.
        wanted: Which objects will be read, so that their digests are worth keeping.
        digests: Name to digest of the wanted objects that an inventory names.
    """

    repository: Repository
    listing: Listing
    notes: Notes
    needs: Needs
    blind: bool
    wanted: Callable[[str], bool]
    digests: dict[str, bytes] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    # -- inventories

    def check_inventories(self, commits: Sequence[Commit]) -> None:
        """Compare every inventory with its digest, and the store with every inventory."""
        live: dict[str, tuple[bytes, int | None]] = {
            inventory_name(commit.session, commit.inventory_k): (commit.inventory_digest, commit.n)
            for commit in commits
        }
        witness = self.repository.journal.witness
        if witness is not None:
            # Inventories of expired snapshots may be gone; while they are there they say something.
            for name, expected in witness.inventories.items():
                if name in self.listing.lengths:
                    live.setdefault(name, (expected, None))
            self._unknown_sessions(set(witness.slots))
        for_each(
            live,
            lambda name: self._inventory(name, *live[name]),
            lambda name: self.listing.lengths.get(name, 0),
        )

    def _inventory(self, name: str, expected: bytes, n: int | None) -> None:
        try:
            for stored in inventory.each(self._inventory_bytes(name, expected)):
                with self._lock:
                    self._compare(stored, n)
        except (IntegrityError, StorageError) as error:
            severity = Severity.WARNING if n is None else Severity.ERROR
            snapshots = [] if n is None else [n]
            self.notes.add(severity, "inventory", name, str(error), snapshots=snapshots)

    def _inventory_bytes(self, name: str, expected: bytes) -> bytes:
        length = self.listing.lengths.get(name)
        if length is None:
            raise ObjectNotFoundError("is missing")
        if length > _MAX_INVENTORY_BYTES:
            raise IntegrityError("is too large to be an inventory")
        point("operations.check.inventory")
        data = self.repository.store.get(name, length=length)
        if not equal(digest(data), expected):
            raise IntegrityError("is not the one its commit names")
        return data

    def _compare(self, stored: StoredObject, n: int | None) -> None:
        name = stored.name
        if name.startswith(_KEYSLOTS):
            return  # judged by the digests that were signed
        needed = name in self.needs
        worst = Severity.ERROR if needed or self.blind else Severity.WARNING
        snapshots = self.needs.of(name) if needed else () if n is None else (n,)
        length = self.listing.lengths.get(name)
        if length is None:
            # Whatever was collected was condemned first; of an expired snapshot's objects, only
            # those with keys know better whether others still need them.
            if (self.blind or n is not None) and not self._condemned(name):
                self.notes.add(worst, "missing", name, "is missing", snapshots=snapshots)
        elif length != stored.stored_bytes:
            text = f"has {length} bytes; {stored.stored_bytes} were stored"
            self.notes.add(worst, "length", name, text, snapshots=snapshots)
        if self.wanted(name):
            known = self.digests.setdefault(intern(name), stored.digest)
            if known != stored.digest:
                text = "has other bytes in one inventory than in another"
                self.notes.add(worst, "inventory", name, text, snapshots=snapshots)

    def _condemned(self, name: str) -> bool:
        kind, _, rest = name.partition("/")
        reference = f"{kind}/{rest.rpartition('/')[2]}"
        witness = self.repository.journal.witness
        if witness is not None:
            return reference in witness.condemned
        return bool(self.repository.journal.state.condemned_among([reference]))

    def _unknown_sessions(self, known: set[str]) -> None:
        """Find proof that the journal was longer: what is only stored after a session has opened."""
        for name in self.listing.lengths:
            if name.startswith(_INVENTORY) and name.split("/")[1] not in known:
                self.notes.error(
                    "rollback",
                    name,
                    "is of a session that the journal does not know: the journal was cut off, or "
                    "somebody wrote this",
                )

    # -- key slots

    def check_key_slots(self) -> None:
        """Compare key slots with the digests that their sessions signed."""
        state, witness = self.repository.journal.state, self.repository.journal.witness
        live = {*state.keyslots, *state.sessions}
        needed = live.union(session.hex() for session in self.needs.masks())
        every = live if witness is None else live.union(witness.slots)
        expected = {
            name: (session, value)
            for session in every
            for name, value in self._expected_slots(session)
        }
        for_each(expected, lambda name: self._key_slot(name, *expected[name], needed))
        if witness is not None:
            self._left_over(expected)

    def _expected_slots(self, session: str) -> list[tuple[str, str]]:
        """Return name and hex digest of each key slot of a session."""
        slots = self._slots(session)
        return [
            (
                keyslot_name(bytes.fromhex(session), slots.keyring, key_class),
                getattr(slots.slots, key_class.value),
            )
            for key_class in KeyClass
            if slots is not None
        ]

    def _slots(self, session: str) -> SessionSlots | None:
        known = self.repository.journal.state.slots_of(session)
        witness = self.repository.journal.witness
        return known if known or witness is None else witness.slots.get(session)

    def _key_slot(self, name: str, session: str, expected: str, needed: set[str]) -> None:
        length = self.listing.lengths.get(name)
        if length is None:
            if session in needed:
                snapshots = self._snapshots(session)
                self.notes.error("missing", name, "is missing", snapshots=snapshots)
            return
        # Without keys nobody can say whether an expired session is still needed.
        worst = Severity.ERROR if session in needed or self.blind else Severity.WARNING
        try:
            point("operations.check.slot")
            genuine = (
                length <= MAX_SLOT_BYTES
                and digest(self.repository.store.get(name, length=length)).hex() == expected
            )
        except StorageError as error:
            snapshots = self._snapshots(session)
            self.notes.add(worst, "unreadable", name, str(error), snapshots=snapshots)
            return
        if not genuine:
            snapshots = self._snapshots(session)
            text = "is not the key slot that its session signed"
            self.notes.add(worst, "altered", name, text, snapshots=snapshots)

    def _snapshots(self, session: str) -> Sequence[int]:
        if needing := self.needs.needing_session(bytes.fromhex(session)):
            return needing
        if session not in self.repository.journal.state.keyslots:
            return []
        commits = self.repository.journal.state.commits
        return [n for n, live in commits.items() if live.session == session]

    def _left_over(self, expected: Container[str]) -> None:
        for name in self.listing.lengths:
            if name.startswith(_KEYSLOTS) and name not in expected:
                text = "is of a session that never opened"
                self.notes.add(Severity.NOTE, "left-over", name, text)
