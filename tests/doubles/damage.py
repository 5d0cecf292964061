"""Judging one object of a repository as `check` does, without reading all the others.

A whole check for each of a hundred thousand flips would take hours. What reads an object is known, so
only that is run again, with the same code, keys and digests that `check` uses.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from doubles.memory_store import MemoryStore
from doubles.real_repository import RealRepository
from drkeeper.errors import DrkeeperError, IntegrityError
from drkeeper.operations.check import CheckReport, CheckRequest, Slice, check, open_for_check
from drkeeper.operations.check.data import ObjectCheck
from drkeeper.operations.check.findings import Notes
from drkeeper.operations.check.journal import live_commits
from drkeeper.operations.check.listing import list_objects
from drkeeper.operations.check.stored import Stored
from drkeeper.operations.check.structure import Structure
from drkeeper.repository.hint import HINT_NAME, read_hint
from drkeeper.repository.journal_entry import VoidError, entry_number, read_entry
from drkeeper.repository.places import ObjectKind, object_name
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.state import JournalState, step

WHOLE = CheckRequest(read=Slice(0, 1), grace=timedelta(days=100))


class Judge:
    """Knows what `check` knows of a sound repository, and judges other bytes for its objects.

    Attributes:
        names: Every object.
        garbage: Objects that nothing needs, and junk in the journal.
    """

    def __init__(self, made: RealRepository) -> None:
        self.made = made
        assert isinstance(made.store, MemoryStore)
        self.store = made.store.copy()
        self.names = sorted(self.store.objects)
        self._repository = self.open(self.store)
        notes = Notes()
        listing = list_objects(self.store.entries(), notes)
        commits = live_commits(self._repository, notes)
        self._structure = Structure(self._repository, listing, notes)
        self._structure.check(commits)
        needs = self._structure.needs
        self._stored = Stored(
            self._repository, listing, notes, needs, blind=False, wanted=lambda _name: True
        )
        self._stored.check_inventories(commits)
        self.objects = ObjectCheck(self._repository, needs, self._stored.digests, blind=False)
        self._states = self._replayed()
        assert not notes.sorted(), notes.sorted()
        self.garbage = {name for name in self.names if self._is_garbage(name)}

    def open(self, store: MemoryStore) -> object:
        """Open for a check with the recovery identity."""
        recovery = self.made.keys.recovery
        assert recovery is not None
        return open_for_check(
            store,
            clock=type(self.made.clock)(self.made.clock.now()),
            identities=recovery.identities,
            admins=self.made.keys.admins,
        )

    def check(self, store: MemoryStore, request: CheckRequest = WHOLE) -> CheckReport:
        """Run a whole check."""
        return check(self.open(store), request)

    def reads_all(self, store: MemoryStore) -> bool:
        """Whether every byte of every live snapshot can be read; a typed error is a no."""
        try:
            repository = self.made.open(store)
            objects = ObjectCheck(repository, self.objects.needs, {}, blind=False)
            for commit in repository.live_commits():
                reader = SnapshotReader(repository, commit)
                for number in range(len(reader.root.pieces)):
                    for _, pack in reader.piece(number).packs:
                        name = object_name(ObjectKind.PACKS, pack)
                        objects.open(name, store.get(name))
        except DrkeeperError:
            return False
        live = [commit.n for commit in repository.live_commits()]
        return live == [snapshot.n for snapshot in self.made.snapshots]

    def of_kind(self, kind: str) -> list[str]:
        """Return the names that begin with a word."""
        return [name for name in self.names if name.partition("/")[0] == kind]

    def detects(self, name: str, data: bytes) -> bool:
        """Whether what reads the object ``name`` in a check refuses these bytes.

        Raises:
            Exception: Anything but a refusal: a defect.
        """
        match name.partition("/")[0]:
            case "journal":
                return self._refuses_entry(name, data)
            case "packs" | "meta" | "refs":
                return self.refuses(lambda: self.objects.verify(name, data))
        with self.instead(name, data):
            match name.partition("/")[0]:
                case "keyslots":
                    return self._refuses_slot(name)
                case "inventory":
                    return self._refuses_inventory(name)
                case _:
                    assert name == HINT_NAME
                    return self.refuses(lambda: read_hint(self.store))

    @staticmethod
    def refuses(reads: object) -> bool:
        """Whether a reader raises an integrity violation."""
        try:
            reads()
        except IntegrityError:
            return True
        return False

    @contextmanager
    def instead(self, name: str, data: bytes) -> Iterator[None]:
        """Have other bytes in the store for a while."""
        before = self.store.objects[name]
        self.store.objects[name] = data
        try:
            yield
        finally:
            self.store.objects[name] = before

    def _refuses_entry(self, name: str, data: bytes) -> bool:
        n = entry_number(name)
        state = self._states[n]
        keyring = state.keyring
        keys = self.made.keys.admins if keyring is None else keyring.keys
        try:
            step(
                state.copy(),
                read_entry(data, repository=self.made.keys.id, n=n, keys=keys),
            )
        except VoidError:
            return True
        return False

    def _refuses_slot(self, name: str) -> bool:
        notes = Notes()
        self._stored.notes, before = notes, self._stored.notes
        self._stored.listing.lengths[name] = len(self.store.objects[name])
        session = name.split("/")[1]
        expected = dict(self._stored._expected_slots(session))
        self._stored._key_slot(name, session, expected[name], {session})
        self._stored.notes = before
        return any(finding.thing == name for finding in notes.sorted())

    def _refuses_inventory(self, name: str) -> bool:
        witness = self._repository.journal.witness
        self._stored.listing.lengths[name] = len(self.store.objects[name])
        return self.refuses(lambda: self._stored._inventory_bytes(name, witness.inventories[name]))

    def _replayed(self) -> dict[int, JournalState]:
        """Return the state before each entry."""
        state = JournalState(self.made.keys.id)
        before = {}
        for name in self.of_kind("journal"):
            n = entry_number(name)
            before[n] = state.copy()
            keys = self.made.keys.admins if state.keyring is None else state.keyring.keys
            try:
                data = self.store.objects[name]
                step(state, read_entry(data, repository=self.made.keys.id, n=n, keys=keys))
            except VoidError:
                continue
        return before

    def _is_garbage(self, name: str) -> bool:
        kind, _, rest = name.partition("/")
        if kind == "journal":
            return entry_number(name) in {void.n for void in self._repository.journal.voids}
        sessions = {session.hex() for session in self._structure.needs.sessions()}
        if kind in {"packs", "meta", "refs"}:
            # The header of a sealed object says its session: docs/format.md 4.
            return self.store.objects[name][32:48].hex() not in sessions
        return kind in {"keyslots", "inventory"} and rest.split("/")[0] not in sessions


def flips(data: bytes) -> Iterator[bytearray]:
    """Yield ``data`` with each byte in turn changed, another bit each time; reuses one buffer."""
    changed = bytearray(data)
    for at in range(len(data)):
        mask = 1 << at % 8
        changed[at] ^= mask
        yield changed
        changed[at] ^= mask


def random_flips(data: bytes, count: int, seed: int) -> Iterator[bytearray]:
    """Yield ``data`` with one byte changed, ``count`` times; reuses one buffer."""
    choose = random.Random(seed)
    changed = bytearray(data)
    for _ in range(count):
        at, mask = choose.randrange(len(data)), choose.randrange(1, 256)
        changed[at] ^= mask
        yield changed
        changed[at] ^= mask
