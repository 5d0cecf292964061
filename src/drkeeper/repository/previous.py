"""The snapshot before: its pieces as they were, and its small files by content.

What is unchanged is taken over from here: whole pieces by their place, entries with their extents,
and the extents of small files that were moved or copied. Nothing is held in memory but the piece
at hand and 8 bytes a file, and those only when a new small file is met.
"""

import sys
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from drkeeper.crypto.derive import Domain
from drkeeper.crypto.digests import equal, keyed
from drkeeper.errors import IntegrityError
from drkeeper.model.entry import Entry
from drkeeper.repository.cache import Cache, CachedPart, ChunkAt
from drkeeper.repository.chunk_store import ChunkRef
from drkeeper.repository.compression import decode
from drkeeper.repository.content import StoredContent
from drkeeper.repository.parts import PartReader
from drkeeper.repository.pieces import Piece, decode_own, ends_piece, weight
from drkeeper.repository.places import KeyClass, ObjectKind, Place, reference_name
from drkeeper.repository.refs import RefsPart
from drkeeper.repository.snapshot_root import PieceAt

PREFIX_BYTES: Final = 8
_NO_PREFIX: Final = bytes(PREFIX_BYTES)
_PIECE_BITS: Final = 20
_PIECE_MASK: Final = (1 << _PIECE_BITS) - 1
_DECODED: Final = 4


def prefixes_of(entries: Sequence[Entry]) -> bytes:
    """Return the first 8 bytes of each content digest, zeros where there is none."""
    return b"".join([entry.digest[:PREFIX_BYTES] or _NO_PREFIX for entry in entries])


class PreviousPiece:
    """A piece of the snapshot before.

    Attributes:
        place: Where it is.
        piece: What it holds; entries may be taken over, and then change hands.
    """

    __slots__ = ("piece", "place")

    def __init__(self, place: Place, piece: Piece) -> None:
        """Join a piece and its place."""
        self.place = place
        self.piece = piece

    @property
    def entries(self) -> list[Entry]:
        """Its entries."""
        return self.piece.entries

    @property
    def is_cut(self) -> bool:
        """Whether it ends where a piece ends whatever follows."""
        entries = self.piece.entries
        path, count = entries[-1].path, len(entries)
        # Most pieces end by their last path; only then is there no need to weigh every entry.
        return ends_piece(path, count, 0) or ends_piece(path, count, sum(map(weight, entries)))


class PieceLoader:
    """Loads pieces of one lineage: from the cache, or else from the repository."""

    def __init__(self, cache: Cache, lineage: bytes, reader: PartReader, domain: Domain) -> None:
        """Look in ``cache`` first, then ask ``reader``."""
        self._cache = cache
        self._lineage = lineage
        self._reader = reader
        self._domain = domain

    def load(self, place: Place) -> Piece:
        """Return a piece, proven by its digest.

        Raises:
            IntegrityError: The piece in the repository is not what the place says.
            StorageError: The store did not answer as it should.
        """
        cached = self._cache.part(self._lineage, place.digest)
        if cached is not None and (data := self._proven(cached)) is not None:
            return decode_own(data)
        data = self._reader.read_meta(place, self._domain)
        piece = decode_own(data)
        body = bytes(self._reader.encoded(place, KeyClass.META))
        part = CachedPart(place.digest, place.codec, place.plain, body, prefixes_of(piece.entries))
        self._cache.keep_parts(self._lineage, [part])
        return piece

    def prefixes(self, places: Sequence[Place]) -> list[bytes]:
        """Return the digest prefixes of the entries of each piece."""
        found = self._cache.prefixes(self._lineage, [place.digest for place in places])
        return [
            prefixes_of(self.load(place).entries)
            if blob is None or len(blob) % PREFIX_BYTES
            else blob
            for place, blob in zip(places, found, strict=True)
        ]

    def _proven(self, cached: CachedPart) -> bytes | memoryview | None:
        try:
            data = decode(cached.codec, cached.body, cached.plain)
        except (IntegrityError, TypeError, OverflowError):
            return None
        return data if equal(keyed(self._domain.piece_key, data), cached.digest) else None


class Previous:
    """The manifest that a new snapshot is compared with; empty for a first one.

    Attributes:
        refs: Parts of the list of what the snapshot needed.
    """

    def __init__(
        self,
        loader: PieceLoader,
        pieces: Sequence[PieceAt],
        refs: Sequence[RefsPart] = (),
        condemned: Collection[str] = (),
    ) -> None:
        """Take ``pieces`` in path order, and the parts of the refs of the newest snapshot.

        Whatever lies in an object that is ``condemned`` (``<kind>/<hex id>``) is left out.

        They may come from two snapshots, a partial one and for the rest the complete one before
        it; then paths around the seam may occur out of order.
        """
        self._loader = loader
        self._condemned = frozenset(condemned)
        self.refs = tuple(
            part for part in refs if not self._is_condemned(ObjectKind.REFS, part.place.id)
        )
        self._places = [
            piece.place
            for piece in pieces
            if not self._is_condemned(ObjectKind.META, piece.place.id)
        ]
        self._index: array[int] | None = None
        self._decoded: OrderedDict[int, dict[bytes, tuple[Entry, Piece]]] = OrderedDict()

    @property
    def places(self) -> list[Place]:
        """Places of the pieces."""
        return self._places

    def __iter__(self) -> Iterator[PreviousPiece]:
        """Yield every piece, in path order."""
        for place in self._places:
            piece = self._loader.load(place)
            if self._usable(piece):
                yield PreviousPiece(place, piece)

    def find(self, name: bytes, length: int) -> StoredContent | None:
        """Return the content of this digest and length, if a file of the snapshot had it."""
        if not self._places or not length:
            return None
        index = self._index
        if index is None:
            index = self._index = self._indexed()
        prefix = int.from_bytes(name[:PREFIX_BYTES], sys.byteorder) & ~_PIECE_MASK
        at = bisect_left(index, prefix)
        while at < len(index) and index[at] & ~_PIECE_MASK == prefix:
            by_digest = self._by_digest(index[at] & _PIECE_MASK)
            if (found := by_digest.get(name)) is not None:
                content = _content(*found)
                if content.plain_bytes == length:
                    return content
            at += 1
        return None

    def _is_condemned(self, kind: ObjectKind, object_id: bytes) -> bool:
        return bool(self._condemned) and reference_name(kind, object_id) in self._condemned

    def _usable(self, piece: Piece) -> bool:
        return not self._condemned or not any(
            self._is_condemned(ObjectKind.PACKS, pack) for _, pack in piece.packs
        )

    def _indexed(self) -> "array[int]":
        """Return digest prefixes with the number of their piece in the low bits, sorted."""
        keys: list[int] = []
        for number, blob in enumerate(self._loader.prefixes(self._places)):
            prefixes = array("Q")
            prefixes.frombytes(blob)
            keys += [prefix & ~_PIECE_MASK | number for prefix in prefixes if prefix]
        keys.sort()
        return array("Q", keys)

    def _by_digest(self, number: int) -> dict[bytes, tuple[Entry, Piece]]:
        known = self._decoded.get(number)
        if known is not None:
            self._decoded.move_to_end(number)
            return known
        piece = self._loader.load(self._places[number])
        known = {}
        if self._usable(piece):
            known = {entry.digest: (entry, piece) for entry in piece.entries if entry.digest}
        self._decoded[number] = known
        if len(self._decoded) > _DECODED:
            self._decoded.popitem(last=False)
        return known


def _content(entry: Entry, piece: Piece) -> StoredContent:
    extents = entry.extents
    runs = []
    for at in range(0, len(extents), 3):
        row = piece.chunks[extents[at]]
        session, pack = piece.packs[row.pack]
        ref = ChunkRef(row.plain)
        ref.settle(ChunkAt(row.id, session, pack, row.offset, row.stored, row.plain, row.codec))
        runs.append((ref, extents[at + 1], extents[at + 2]))
    content = StoredContent(entry.digest, sum(length for _, _, length in runs))
    content.extents = tuple(runs)
    return content
