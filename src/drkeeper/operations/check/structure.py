"""The part of a check that opens metadata: does every snapshot have all it needs?

Snapshots share most of their lists and pieces. So first the roots are read and say which snapshots
use which part; then every part is read once, and what it names is needed by all of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from drkeeper.crypto.derive import Domain
from drkeeper.crypto.sealing import Kind, sealed_bytes
from drkeeper.errors import IntegrityError, KeyNotFoundError, StorageError
from drkeeper.faults import point
from drkeeper.model.entry import sort_key
from drkeeper.operations.check.findings import Notes, Severity
from drkeeper.operations.check.listing import Listing
from drkeeper.operations.check.needs import Needs
from drkeeper.repository.commit import Commit
from drkeeper.repository.parts import PartReader
from drkeeper.repository.pieces import Piece, decode
from drkeeper.repository.places import KeyClass, ObjectKind, Place, object_name
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.refs import OBJECT_KINDS, RefsPart, RefsRoot, decode_part, decode_root
from drkeeper.repository.repository import Repository
from drkeeper.repository.snapshot_root import PieceAt


@dataclass(slots=True)
class _Use:
    """How snapshots use a piece.

    Attributes:
        mask: Which snapshots do.
        following: Least first path, as a sort key, of what comes after it in any of them.
    """

    mask: int = 0
    following: bytes | None = None


@dataclass(slots=True)
class Structure:
    """Walks through the metadata of all live snapshots; every part is looked at once.

    Attributes:
        needs: What was found to be needed.
        unopened: Snapshots that no identity at hand opens.
    """

    repository: Repository
    listing: Listing
    notes: Notes
    needs: Needs = field(default_factory=Needs)
    unopened: list[int] = field(default_factory=list)
    _refs: dict[RefsPart, int] = field(default_factory=dict)
    _roots: list[tuple[Place, int]] = field(default_factory=list)
    _tables: dict[bytes, int] = field(default_factory=dict)
    """Session to the snapshots that name its key slots or are its own."""
    _pieces: dict[tuple[PieceAt, bytes], _Use] = field(default_factory=dict)
    _broken: int = 0
    """Snapshots whose list of needed objects is not fully known."""
    _unreadable: int = 0
    """Snapshots of which more may be needed than is known."""

    @property
    def complete(self) -> bool:
        """Whether it is known of every snapshot what it needs."""
        return not (self.unopened or self._unreadable)

    def check(self, commits: Sequence[Commit]) -> None:
        """Look at every snapshot.

        Raises:
            KeyNotFoundError: No identity at hand opens the metadata of any snapshot.
        """
        for commit in commits:
            point("operations.check.snapshot")
            try:
                self._begin(commit)
            except KeyNotFoundError as error:
                self.unopened.append(commit.n)
                if len(self.unopened) == len(commits):
                    raise
                text = f"was not looked into: {error}"
                self.notes.add(Severity.WARNING, "unchecked", f"snapshot {commit.n}", text)
        parts = PartReader(self.repository)
        for part, mask in self._refs.items():
            self._refs_part(parts, part, mask)
        for part, mask in self._refs.items():
            self._listed(object_name(ObjectKind.REFS, part.place.id), part.place.session, mask)
        for place, bit in self._roots:
            self._listed(object_name(ObjectKind.META, place.id), place.session, bit)
        for (at, secret), use in self._pieces.items():
            self._piece(parts, at, Domain(secret), use)
        self._key_slots()
        self._presence()

    def _begin(self, commit: Commit) -> None:
        """Read the roots of a snapshot.

        Raises:
            KeyNotFoundError: No identity at hand opens them.
        """
        # Both keys before anything is taken in, so that a snapshot counts wholly or not at all.
        reader = SnapshotReader(self.repository, commit)
        try:
            pieces: Sequence[PieceAt] | None = reader.root.pieces
        except (IntegrityError, StorageError) as error:
            pieces = None
            self._failed([commit.n], "manifest", f"snapshot {commit.n}", error)
        try:
            refs: RefsRoot | None = self._refs_root(commit)
        except (IntegrityError, StorageError) as error:
            refs = None
            self._failed([commit.n], "refs", f"snapshot {commit.n}", error)
        bit = self.needs.snapshot(commit.n)
        self._add(ObjectKind.REFS, commit.refs, bit)
        self._roots.append((commit.root, bit))
        if refs is None:
            self._broken |= bit
        else:
            self._list(refs, commit, bit)
        if pieces is None:
            self._unreadable |= bit
        else:
            self.needs.domains.setdefault(commit.session, reader.domain)
            self._use(pieces, reader.domain.secret, bit)

    def _refs_root(self, commit: Commit) -> RefsRoot:
        return decode_root(PartReader(self.repository).read_refs(commit.refs))

    def _list(self, refs: RefsRoot, commit: Commit, bit: int) -> None:
        for part in refs.parts:
            self._refs[part] = self._refs.get(part, 0) | bit
        witness = self.repository.journal.witness
        for row in refs.sessions:
            self._tables[row.session] = self._tables.get(row.session, 0) | bit
            opened = None if witness is None else witness.slots.get(row.session.hex())
            said = [row.keyring, row.data.hex(), row.meta.hex(), row.refs.hex()]
            if opened is not None and said != [
                opened.keyring,
                *(getattr(opened.slots, key_class.value) for key_class in KeyClass),
            ]:
                error = IntegrityError(
                    f"names other key slots than session {row.session.hex()} has"
                )
                self._failed([commit.n], "refs", f"snapshot {commit.n}", error)
        self._tables[commit.session] = self._tables.get(commit.session, 0) | bit

    def _use(self, pieces: Sequence[PieceAt], secret: bytes, bit: int) -> None:
        for at, after in zip(pieces, [*pieces[1:], None], strict=True):
            use = self._pieces.setdefault((at, secret), _Use())
            use.mask |= bit
            if after is not None:
                key = sort_key(after.first_path)
                use.following = key if use.following is None else min(use.following, key)

    def _refs_part(self, parts: PartReader, part: RefsPart, mask: int) -> None:
        name = object_name(ObjectKind.REFS, part.place.id)
        try:
            rows = decode_part(parts.read_refs(part.place), part)
        except KeyNotFoundError as error:
            self._closed(name, mask, error)
        except (IntegrityError, StorageError) as error:
            self._broken |= mask
            self._failed(self.needs.snapshots(mask), "refs", name, error)
        else:
            for row in rows:
                self._needed(object_name(OBJECT_KINDS[row.kind], row.id), row.session, mask)

    def _piece(self, parts: PartReader, at: PieceAt, domain: Domain, use: _Use) -> None:
        name = object_name(ObjectKind.META, at.place.id)
        self._listed(name, at.place.session, use.mask)
        try:
            point("operations.check.piece")
            piece = decode(parts.read_meta(at.place, domain))
            _belongs(piece, at, use.following)
            self._chunks_inside(piece)
        except KeyNotFoundError as error:
            self._closed(name, use.mask, error)
        except (IntegrityError, StorageError) as error:
            self._unreadable |= use.mask
            self._failed(self.needs.snapshots(use.mask), "manifest", name, error)
        else:
            for session, pack in piece.packs:
                self.needs.domains.setdefault(session, domain)
                self._listed(object_name(ObjectKind.PACKS, pack), session, use.mask)

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

    # -- what is needed

    def _add(self, kind: ObjectKind, place: Place, mask: int) -> None:
        self._needed(object_name(kind, place.id), place.session, mask)

    def _needed(self, name: str, session: bytes, mask: int) -> None:
        if not self.needs.add(name, session, mask):
            self.notes.error(
                "refs",
                name,
                "is said to be of two sessions, and has the key of one",
                snapshots=self.needs.snapshots(mask),
            )

    def _listed(self, name: str, session: bytes, mask: int) -> None:
        """Take in that a snapshot needs an object, which its list must have named."""
        unnamed = mask & ~self.needs.mask(name) & ~self._broken
        if unnamed:
            self.notes.error(
                "refs",
                name,
                "is needed and left out of the list of what the snapshot needs",
                snapshots=self.needs.snapshots(unnamed),
            )
        self._needed(name, session, mask)

    def _failed(self, snapshots: Sequence[int], code: str, thing: str, error: Exception) -> None:
        self.notes.error(code, thing, str(error), snapshots=snapshots)

    def _closed(self, name: str, mask: int, error: KeyNotFoundError) -> None:
        """Take in that a part is in an object that no identity at hand opens."""
        self._broken |= mask
        self._unreadable |= mask
        text = f"was not looked into: {error}"
        snapshots = self.needs.snapshots(mask)
        self.notes.add(Severity.WARNING, "unchecked", name, text, snapshots=snapshots)

    def _key_slots(self) -> None:
        """Make sure that every snapshot names the key slots of all sessions it needs."""
        for session, mask in self.needs.masks().items():
            unnamed = mask & ~self._tables.get(session, 0) & ~self._broken
            if unnamed:
                error = IntegrityError("is needed, and its key slots are not named")
                snapshots = self.needs.snapshots(unnamed)
                self._failed(snapshots, "refs", f"session {session.hex()}", error)

    def _presence(self) -> None:
        """Make sure that everything needed is there, and nothing of it is condemned."""
        condemned = {
            name for objects in self.repository.journal.state.condemned.values() for name in objects
        }
        for name in self.needs.names():
            if name not in self.listing.lengths:
                self.notes.error("missing", name, "is missing", snapshots=self.needs.of(name))
            if condemned and _reference(name) in condemned:
                text = "is condemned, and a live snapshot needs it"
                self.notes.error("condemned", name, text, snapshots=self.needs.of(name))


def _belongs(piece: Piece, at: PieceAt, following: bytes | None) -> None:
    """Compare a piece with what roots say of it.

    Raises:
        IntegrityError: It is another one.
    """
    if piece.entries[0].path != at.first_path or len(piece.entries) != at.entries:
        raise IntegrityError("holds a piece that does not begin or end where the root says")
    if following is not None and sort_key(piece.entries[-1].path) > following:
        raise IntegrityError("holds a piece that overlaps the next one")


def _reference(name: str) -> str:
    kind, _, object_id = name.split("/")
    return f"{kind}/{object_id}"
