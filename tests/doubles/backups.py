"""A machine with a tree of files and a repository in a folder, to back up from tests.

What a snapshot holds is read back here with nothing but the sealing, the format's structures and
dictionaries, so that the writer is not judged by the reader that belongs to it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from blake3 import blake3

from doubles.clock import FakeClock
from doubles.memory_store import MemoryStore
from drkeeper.clock import SystemClock
from drkeeper.crypto.derive import Domain
from drkeeper.crypto.sealing import Header, Kind, open_sealed
from drkeeper.model.entry import Entry, FileType
from drkeeper.operations.backup import BackupReport, BackupRequest, back_up
from drkeeper.repository import packs, refs
from drkeeper.repository.commit import Commit
from drkeeper.repository.compression import decode
from drkeeper.repository.creation import NewRepository, create_repository
from drkeeper.repository.inventory import decode as decode_inventory
from drkeeper.repository.parts import PartReader
from drkeeper.repository.pieces import Piece, decode as decode_piece
from drkeeper.repository.places import KeyClass, inventory_name, object_name
from drkeeper.repository.repository import Repository, open_repository
from drkeeper.repository.writer import WriterOptions
from drkeeper.sources.base import Source
from drkeeper.sources.files.source import FilesSource
from drkeeper.sources.files.spec import FilesSpec
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.folder import FolderStore

SMALL_MACHINE = WriterOptions(memory_bytes=96 * 1024 * 1024, workers=2, uploads=1)


@cache
def _template() -> tuple[NewRepository, dict[str, bytes]]:
    store = MemoryStore()
    keys = create_repository(store, clock=SystemClock(), save=lambda _keys: None)
    return keys, dict(store.objects)


@dataclass
class Machine:
    """A host with one tree and one repository.

    Attributes:
        base: Everything is below it.
        keys: Of the repository.
        store: Where the repository is.
        clock: An hour ahead, so that fresh files do not count as racy.
    """

    base: Path
    keys: NewRepository
    store: ObjectStore
    clock: FakeClock = field(
        default_factory=lambda: FakeClock(datetime.now(UTC) + timedelta(hours=1))
    )

    @property
    def tree(self) -> Path:
        """What is backed up."""
        return self.base / "tree"

    @property
    def cache_file(self) -> Path:
        """The cache of the host."""
        return self.base / "cache" / self.keys.id.hex() / f"{self.keys.host.host.hex()}.sqlite"

    def write(self, name: str, data: bytes) -> Path:
        """Put a file into the tree."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def repository(self, store: ObjectStore | None = None) -> Repository:
        """Open the repository as the host does."""
        return open_repository(
            self.store if store is None else store,
            clock=self.clock,
            identities=self.keys.host.identities,
            admins=self.keys.admins,
            state_dir=str(self.base / "state"),
        )

    def request(self, **changes: object) -> BackupRequest:
        """Ask for a backup of the tree."""
        source = FilesSource(FilesSpec(paths=(os.fsencode(self.tree),)), clock=self.clock)
        facts = {
            "policy": "shop",
            "source": source,
            "repository": None,
            "host": self.keys.host,
            "host_name": "till",
            "cache_dir": str(self.base / "cache"),
            "state_dir": str(self.base / "state"),
            "clock": self.clock,
            "options": SMALL_MACHINE,
        } | changes
        if facts["repository"] is None:
            facts["repository"] = self.repository()
        return BackupRequest(**facts)

    def back_up(self, **changes: object) -> BackupReport:
        """Back the tree up."""
        self.clock.advance(timedelta(minutes=1))
        return back_up(self.request(**changes))

    def snapshot(self, commit: Commit) -> "Snapshot":
        """Read a snapshot back, with the verifier's identity."""
        repository = open_repository(
            self.store,
            clock=self.clock,
            identities=self.keys.verifier.identities,
            admins=self.keys.admins,
        )
        return Snapshot(repository, commit)

    def objects(self, prefix: str = "") -> list[str]:
        """Names of the objects in the store."""
        return [info.key for info in self.store.entries(prefix)]

    def assert_snapshot_is_tree(self, commit: Commit) -> None:
        """Compare a snapshot with the tree, path by path and byte by byte."""
        expected = {}
        for path in [self.tree, *self.tree.rglob("*")]:
            name = os.fsencode(path)[1:]
            expected[name] = path.read_bytes() if path.is_file() else None
        snapshot = self.snapshot(commit)
        found = {
            entry.path: content
            for entry, content in snapshot.contents()
            if entry.path.startswith(os.fsencode(self.tree)[1:])
        }
        assert found.keys() == expected.keys()
        assert found == expected
        snapshot.assert_needs_are_stored()


@dataclass
class Snapshot:
    """What one commit leads to."""

    repository: Repository
    commit: Commit

    def __post_init__(self) -> None:
        self.reader = PartReader(self.repository)
        self.root = self.reader.read_root(self.commit.root)
        self.opened: dict[bytes, bytes] = {}

    def pieces(self) -> list[Piece]:
        """Every piece, checked against the format."""
        domain = Domain(self.root.domain)
        found = []
        for at in self.root.pieces:
            piece = decode_piece(self.reader.read_meta(at.place, domain))
            assert piece.entries[0].path == at.first_path
            assert len(piece.entries) == at.entries
            found.append(piece)
        return found

    def contents(self) -> list[tuple[Entry, bytes | None]]:
        """Every entry with the bytes of its content, proven by chunk id and digest."""
        found: list[tuple[Entry, bytes | None]] = []
        for piece in self.pieces():
            for entry in piece.entries:
                if entry.type != FileType.FILE:
                    found.append((entry, None))
                    continue
                parts = [
                    self.chunk(piece, entry.extents[at])[
                        entry.extents[at + 1] : entry.extents[at + 1] + entry.extents[at + 2]
                    ]
                    for at in range(0, len(entry.extents), 3)
                ]
                data = b"".join(parts)
                if found and found[-1][0].path == entry.path:
                    first, begun = found.pop()
                    found.append((first, begun + data))
                else:
                    found.append((entry, data))
        for entry, data in found:
            if data is not None and entry.digest:
                assert blake3(data).digest() == entry.digest
        return found

    def chunk(self, piece: Piece, number: int) -> bytes:
        """One chunk, decoded, and proven by its id."""
        row = piece.chunks[number]
        session, pack = piece.packs[row.pack]
        plain = self.pack(session, pack)
        data = decode(row.codec, plain[row.offset : row.offset + row.stored], row.plain)
        assert blake3(data, key=Domain(self.root.domain).chunk_key).digest() == row.id
        return bytes(data)

    def pack(self, session: bytes, pack: bytes) -> bytes:
        """The plaintext of a pack."""
        if pack not in self.opened:
            key = self.repository.keys.key(session, KeyClass.DATA)
            header = Header(Kind.PACK, self.repository.id, session, pack)
            sealed = self.repository.store.get(object_name("packs", pack))
            self.opened[pack] = open_sealed(key, header, sealed)
            packs.read_directory(self.opened[pack])
        return self.opened[pack]

    def needed(self) -> set[refs.Ref]:
        """What the snapshot says it needs."""
        root = refs.decode_root(self.reader.read_refs(self.commit.refs)).parts
        return refs.read_refs(root, self.reader.read_refs)

    def assert_needs_are_stored(self) -> None:
        """The refs name all that the pieces use, all of it is there, and the inventory is right."""
        named = {(ref.kind, ref.id, ref.session) for ref in self.needed()}
        used = {(refs.RefKind.META, at.place.id, at.place.session) for at in self.root.pieces} | {
            (refs.RefKind.PACK, pack, session)
            for piece in self.pieces()
            for session, pack in piece.packs
        }
        used.add((refs.RefKind.META, self.commit.root.id, self.commit.root.session))
        held = {ref for ref in named if ref[0] == refs.RefKind.REFS}
        assert used == named - held
        for kind, object_id, _ in named:
            self.repository.store.info(object_name(refs.OBJECT_KINDS[kind], object_id))
        store = self.repository.store
        name = inventory_name(self.commit.session, self.commit.inventory_k)
        inventory = store.get(name)
        assert blake3(inventory).digest() == self.commit.inventory_digest
        for each in decode_inventory(inventory):
            data = store.get(each.name)
            assert (blake3(data).digest(), len(data)) == (each.digest, each.stored_bytes)


def new_machine(base: Path, wrap: Callable[[ObjectStore], ObjectStore] = lambda s: s) -> Machine:
    """Set up a machine with an empty tree and an empty repository."""
    keys, objects = _template()
    folder = FolderStore(base / "repository", create=True)
    for name, data in objects.items():
        folder.put(name, data)
    (base / "tree").mkdir()
    return Machine(base, keys, wrap(folder))


def with_options(request: BackupRequest, **changes: object) -> BackupRequest:
    """Return a request with other options."""
    return replace(request, **changes)


def on_source(request: BackupRequest, source: Source) -> BackupRequest:
    """Return a request for another source."""
    return replace(request, source=source)
