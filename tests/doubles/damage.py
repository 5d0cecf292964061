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
from drkeeper.repository.parts import PartReader
from drkeeper.repository.places import ObjectKind, inventory_name, object_name
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.refs import OBJECT_KINDS, decode_root, read_refs
from drkeeper.repository.state import JournalState
from drkeeper.repository.steps import step

WHOLE = CheckRequest(read=Slice(0, 1), grace=timedelta(days=100))


class Judge:
    """Knows what `check` knows of a sound repository, and judges other bytes for its objects.

    Attributes:
        names: Every object.
        needed: Sealed objects that live snapshots need, found by reading them.
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
        self.needed = set(self._needed())
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

    def _needed(self) -> Iterator[str]:
        parts = PartReader(self._repository)
        for commit in self._repository.live_commits():
            yield object_name(ObjectKind.REFS, commit.refs.id)
            root = decode_root(parts.read_refs(commit.refs))
            for ref in read_refs(root.parts, parts.read_refs):
                yield object_name(OBJECT_KINDS[ref.kind], ref.id)

    def session_of(self, name: str) -> str:
        """Return the session of a sealed object, which its header says: docs/format.md 4."""
        return self.store.objects[name][32:48].hex()

    def is_opened(self, key_slot: str) -> bool:
        """Whether reading what snapshots hold takes this key slot."""
        kind = {"data": "packs/", "meta": "meta/"}.get(key_slot.split(".")[1], "-")
        session = key_slot.split("/")[1]
        return any(n.startswith(kind) and self.session_of(n) == session for n in self.needed)

    def _is_garbage(self, name: str) -> bool:
        kind, _, rest = name.partition("/")
        match kind:
            case "journal":
                return entry_number(name) in {void.n for void in self._repository.journal.voids}
            case "packs" | "meta" | "refs":
                return name not in self.needed
            case "keyslots":
                return rest.split("/")[0] not in map(self.session_of, self.needed)
            case "inventory":
                commits = self._repository.live_commits()
                return name not in {inventory_name(c.session, c.inventory_k) for c in commits}
            case _:
                return False


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
