"""The part of a check that opens metadata: does every snapshot have all it needs?"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from drkeeper.crypto.derive import Domain
from drkeeper.crypto.sealing import Kind, sealed_bytes
from drkeeper.errors import IntegrityError, StorageError
from drkeeper.faults import point
from drkeeper.operations.check.findings import Notes, Severity
from drkeeper.operations.check.listing import Listing
from drkeeper.repository.commit import Commit
from drkeeper.repository.parts import PartReader
from drkeeper.repository.pieces import Piece
from drkeeper.repository.places import ObjectKind, Place, object_name
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.refs import OBJECT_KINDS, Ref, RefKind, decode_part, decode_root
from drkeeper.repository.repository import Repository


@dataclass(slots=True)
class Needs:
    """Which objects the live snapshots need.

    Attributes:
        snapshots: Object name to the entry numbers of the snapshots that need it.
        sessions: Object name to the session whose key opens it.
        domains: Session to the domain its chunks were named in.
    """

    snapshots: dict[str, set[int]] = field(default_factory=dict)
    sessions: dict[str, bytes] = field(default_factory=dict)
    domains: dict[bytes, Domain] = field(default_factory=dict)

    def add(self, kind: ObjectKind, object_id: bytes, session: bytes, n: int) -> None:
        """Say that snapshot ``n`` needs an object."""
        name = object_name(kind, object_id)
        self.snapshots.setdefault(name, set()).add(n)
        self.sessions[name] = session


@dataclass(slots=True)
class Structure:
    """Walks through the metadata of all live snapshots; every part is looked at once."""

    repository: Repository
    listing: Listing
    notes: Notes
    needs: Needs = field(default_factory=Needs)
    _refs_seen: dict[Place, list[Ref]] = field(default_factory=dict)
    _pieces_seen: dict[Place, frozenset[tuple[bytes, bytes]]] = field(default_factory=dict)

    def check(self, commits: Iterable[Commit]) -> None:
        """Look at every snapshot.

        Raises:
            KeyNotFoundError: No identity at hand opens metadata.
        """
        for commit in commits:
            point("operations.check.snapshot")
            refs = self._refs(commit)
            self._manifest(commit, refs)
        self._presence()

    def _fail(self, commit: Commit, code: str, thing: str, error: Exception) -> None:
        self.notes.add(Severity.ERROR, code, thing, str(error), snapshots=frozenset({commit.n}))

    def _refs(self, commit: Commit) -> set[tuple[RefKind, bytes, bytes]] | None:
        """Take in what the snapshot says it needs; ``None`` when that cannot be read."""
        self.needs.add(ObjectKind.REFS, commit.refs.id, commit.refs.session, commit.n)
        self.needs.add(ObjectKind.META, commit.root.id, commit.root.session, commit.n)
        reader = PartReader(self.repository)
        rows: set[tuple[RefKind, bytes, bytes]] = set()
        try:
            for part in decode_root(reader.read_refs(commit.refs)):
                self.needs.add(ObjectKind.REFS, part.place.id, part.place.session, commit.n)
                if part.place not in self._refs_seen:
                    self._refs_seen[part.place] = decode_part(reader.read_refs(part.place), part)
                for ref in self._refs_seen[part.place]:
                    rows.add((ref.kind, ref.id, ref.session))
                    self.needs.add(OBJECT_KINDS[ref.kind], ref.id, ref.session, commit.n)
        except (IntegrityError, StorageError) as error:
            self._fail(commit, "refs", f"snapshot {commit.n}", error)
            return None
        return rows

    def _manifest(self, commit: Commit, refs: set[tuple[RefKind, bytes, bytes]] | None) -> None:
        reader = SnapshotReader(self.repository, commit)
        try:
            pieces = reader.root.pieces
            self.needs.domains.setdefault(commit.session, reader.domain)
        except (IntegrityError, StorageError) as error:
            self._fail(commit, "manifest", f"snapshot {commit.n}", error)
            return
        wanted = {(RefKind.META, commit.root.id, commit.root.session)}
        for number, at in enumerate(pieces):
            wanted.add((RefKind.META, at.place.id, at.place.session))
            packs = self._piece(commit, reader, number, at.place)
            for session, pack in packs:
                wanted.add((RefKind.PACK, pack, session))
                self.needs.add(ObjectKind.PACKS, pack, session, commit.n)
                self.needs.domains.setdefault(session, reader.domain)
        if refs is not None and (unnamed := wanted - refs):
            kind, object_id, _ = min(unnamed)
            name = object_name(OBJECT_KINDS[kind], object_id)
            self._fail(
                commit,
                "refs",
                f"snapshot {commit.n}",
                IntegrityError(f"needs {name}, which its list of needed objects leaves out"),
            )

    def _piece(
        self, commit: Commit, reader: SnapshotReader, number: int, place: Place
    ) -> frozenset[tuple[bytes, bytes]]:
        """Check one piece of a manifest and return the packs it names."""
        self.needs.add(ObjectKind.META, place.id, place.session, commit.n)
        if place not in self._pieces_seen:
            try:
                piece = reader.piece(number)
                self._chunks_inside(piece)
            except (IntegrityError, StorageError) as error:
                self._fail(commit, "manifest", object_name(ObjectKind.META, place.id), error)
                return frozenset()
            self._pieces_seen[place] = frozenset(piece.packs)
        return self._pieces_seen[place]

    def _chunks_inside(self, piece: Piece) -> None:
        """Make sure that no chunk lies beyond the end of its pack.

        Raises:
            IntegrityError: One does.
        """
        ends: dict[int, int] = {}
        for chunk in piece.chunks:
            ends[chunk.pack] = max(ends.get(chunk.pack, 0), chunk.offset + chunk.stored)
        for pack, end in ends.items():
            name = object_name(ObjectKind.PACKS, piece.packs[pack][1])
            length = self.listing.lengths.get(name)
            if length is not None and sealed_bytes(Kind.PACK, end) > length:
                raise IntegrityError(f"names a chunk beyond the end of {name}")

    def _presence(self) -> None:
        """Make sure that everything needed is there, and nothing of it is condemned."""
        condemned = {
            name for objects in self.repository.journal.state.condemned.values() for name in objects
        }
        for name, snapshots in self.needs.snapshots.items():
            kind, _, object_id = name.split("/")
            touched = frozenset(snapshots)
            if name not in self.listing.lengths:
                self.notes.add(Severity.ERROR, "missing", name, "is missing", snapshots=touched)
            if f"{kind}/{object_id}" in condemned:
                self.notes.add(
                    Severity.ERROR,
                    "condemned",
                    name,
                    "is condemned, and a live snapshot needs it",
                    snapshots=touched,
                )
