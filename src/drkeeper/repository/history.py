"""What a session may build on: the newest snapshots of its lineage, and the chunks of its host.

All of it comes from commits that were live when the session opened (docs/format.md, 3.2: what a
live commit needs is not condemned, and what is condemned while the session is open stays listed).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from drkeeper.crypto.derive import Domain
from drkeeper.crypto.digests import digest, equal, keyed
from drkeeper.errors import IntegrityError
from drkeeper.faults import point
from drkeeper.model.entry import sort_key
from drkeeper.repository import snapshot_root
from drkeeper.repository.cache import Cache, ChunkAt
from drkeeper.repository.commit import Commit
from drkeeper.repository.compression import decode
from drkeeper.repository.parts import PartReader
from drkeeper.repository.pieces import Piece, decode as decode_piece
from drkeeper.repository.places import Place
from drkeeper.repository.previous import PieceLoader, Previous
from drkeeper.repository.refs import RefsPart, decode_root
from drkeeper.repository.session import Session
from drkeeper.repository.snapshot_root import PieceAt, SnapshotRoot


@dataclass(frozen=True, slots=True)
class History:
    """The newest snapshots of a lineage.

    Attributes:
        complete: The newest complete one.
        partial: A partial one after it, which this run continues.
        root: Root of ``complete``.
        previous: What a new snapshot is compared with.
    """

    complete: Commit | None
    partial: Commit | None
    root: SnapshotRoot | None
    previous: Previous


class Historian:
    """Reads the history of one session, from the cache where that is possible."""

    def __init__(self, session: Session, cache: Cache, domain: Domain) -> None:
        """Read for ``session``; ``cache`` is brought up to date first."""
        self._session = session
        self._cache = cache
        self._domain = domain
        self._reader = PartReader(session.repository)
        self._loader = PieceLoader(cache, session.lineage, self._reader, domain)

    def history(self) -> History:
        """Bring the cache up to date and return what to build on.

        Raises:
            IntegrityError: Metadata in the repository is not what it should be.
            KeyNotFoundError: The host cannot open its own metadata.
            StorageError: The store did not answer as it should.
        """
        session = self._session
        live = {
            n: bytes.fromhex(commit.digest)
            for n, commit in session.repository.journal.state.commits.items()
            if n in session.reusable
        }
        self._cache.begin(live)
        for n in self._cache.unknown_commits(live):
            self._relearn(session.repository.journal.commit(n))
        commits = [
            commit
            for commit in session.repository.live_commits(session.lineage)
            if commit.n in session.reusable
        ]
        complete = next((commit for commit in reversed(commits) if commit.complete), None)
        newest = commits[-1] if commits else None
        partial = newest if newest is not None and not newest.complete else None
        root = None if complete is None else self._root(complete.root)
        pieces = () if root is None else root.pieces
        refs = () if newest is None else self._refs(newest.refs)
        if partial is not None:
            pieces = _joined(self._root(partial.root).pieces, pieces)
        state = session.repository.journal.state
        condemned = {name for names in state.condemned.values() for name in names}
        self._cache.drop_packs(
            bytes.fromhex(name.partition("/")[2]) for name in condemned if name.startswith("packs/")
        )
        previous = Previous(self._loader, pieces, refs, condemned)
        return History(complete, partial, root, previous)

    def _root(self, place: Place) -> SnapshotRoot:
        data = self._cached(place, lambda data: keyed(self._domain.piece_key, data))
        if data is not None:
            return snapshot_root.decode(data)
        return self._reader.read_root(place)

    def _refs(self, place: Place) -> Sequence[RefsPart]:
        data = self._cached(place, digest)
        return decode_root(self._reader.read_refs(place) if data is None else data).parts

    def _cached(self, place: Place, digest_of: Callable[[bytes], bytes]) -> bytes | None:
        part = self._cache.part(self._session.lineage, place.digest)
        if part is None:
            return None
        try:
            data = bytes(decode(part.codec, part.body, part.plain))
        except (IntegrityError, TypeError, OverflowError):
            return None
        return data if equal(digest_of(data), place.digest) else None

    def _relearn(self, commit: Commit) -> None:
        """Read the chunks of a commit that the cache does not know into it."""
        packs: set[tuple[bytes, bytes]] = set()
        chunks: list[ChunkAt] = []
        if commit.host == self._session.host:
            point("repository.history.relearn")
            root = self._reader.read_root(commit.root)
            # Another secret names chunks differently: nothing there can be found again.
            if equal(root.domain, self._domain.secret):
                for at in root.pieces:
                    piece = decode_piece(self._reader.read_meta(at.place, self._domain))
                    packs.update(piece.packs)
                    chunks += _chunks(piece)
        self._cache.learn((commit.n, commit.digest), commit.lineage, packs, chunks)


def _chunks(piece: Piece) -> Iterator[ChunkAt]:
    for row in piece.chunks:
        session, pack = piece.packs[row.pack]
        yield ChunkAt(row.id, session, pack, row.offset, row.stored, row.plain, row.codec)


def _joined(partial: Sequence[PieceAt], complete: Sequence[PieceAt]) -> tuple[PieceAt, ...]:
    """Return the pieces of a partial snapshot and, for what it has not reached, of a complete one.

    Where the partial one ends is known only to its last piece; the piece of the complete one that
    holds that path comes again, and its earlier entries are passed over by whoever merges.
    """
    if not partial:
        return tuple(complete)
    last = sort_key(partial[-1].first_path)
    begin = 0
    while begin + 1 < len(complete) and sort_key(complete[begin + 1].first_path) <= last:
        begin += 1
    return (*partial, *complete[begin:])
