"""From entries to the pieces of a manifest, in path order.

Runs in the thread that reads the source. An entry waits here until its piece is cut and the chunks
of its content have their places; then the piece is encoded, and workers compress and append it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Protocol

import msgspec

from drkeeper.crypto.digests import keyed
from drkeeper.model.entry import Entry, EntryFlag, Extra
from drkeeper.repository import pieces
from drkeeper.repository.cache import CachedPart
from drkeeper.repository.chunk_store import ChunkRef
from drkeeper.repository.compression import Compressor
from drkeeper.repository.content import Sink, StoredContent
from drkeeper.repository.parts import PartWriter
from drkeeper.repository.pieces import MAX_ENTRY_EXTENTS, ChunkRow, Piece, ends_piece, weight
from drkeeper.repository.previous import PreviousPiece, prefixes_of
from drkeeper.repository.snapshot_root import PieceAt
from drkeeper.repository.workers import Workers

Origin = StoredContent | PreviousPiece | None

_CACHED_AT_ONCE: Final = 16
"""So many new pieces, some 1.5 MB, wait for the cache: few writes, and little memory."""

_MOST_UNCUT: Final = 16_384
"""Entries, some 10 MB, that wait for joined files; then these are cut, however little they fill.

Where one file in a hundred has changed, most pieces have to wait for one, and with them everything
that has not changed.
"""


class OwnerNames(Protocol):
    """Names of users and groups."""

    def user(self, uid: int, /) -> str:
        """Return the user's name, or ``""``."""
        ...

    def group(self, gid: int, /) -> str:
        """Return the group's name, or ``""``."""
        ...


@dataclass(slots=True)
class _Cut:
    """A piece that has been cut and not yet encoded.

    Attributes:
        entries: Its entries.
        origins: Where the content of each is.
        generation: Joined small files up to this cut are needed.
        work: All work up to this number is needed; -1 while the joined files are not cut.
        slot: Its number among the pieces.
    """

    entries: list[Entry]
    origins: list[Origin]
    generation: int
    work: int
    slot: int


@dataclass(slots=True)
class Tables:
    """What the finished pieces refer to.

    Attributes:
        pieces: In path order; ``None`` for one that is being compressed.
        packs: (session, id) of all packs.
        cached: New pieces that the cache does not have yet.
    """

    pieces: list[PieceAt | None] = field(default_factory=list)
    packs: set[tuple[bytes, bytes]] = field(default_factory=set)
    cached: list[CachedPart] = field(default_factory=list)


class ManifestWriter:
    """Collects the entries of one snapshot."""

    def __init__(
        self,
        owners: OwnerNames,
        sink: Sink,
        workers: Workers[Compressor],
        meta: PartWriter,
        *,
        piece_key: bytes,
        remember: Callable[[list[CachedPart]], None],
    ) -> None:
        """Append pieces to ``meta``.

        Args:
            owners: Names for the owner tables.
            sink: Where the content went.
            workers: Those that place chunks; they compress pieces too.
            meta: Takes the pieces; used under a lock of this object.
            piece_key: Names pieces.
            remember: Takes pieces for the cache, from any thread.
        """
        self.tables = Tables()
        self._owners = owners
        self._sink = sink
        self._workers = workers
        self._meta = meta
        self._meta_lock = Lock()
        self._piece_key = piece_key
        self._remember = remember
        self._entries: list[Entry] = []
        self._origins: list[Origin] = []
        self._weight = 0
        self._held: PreviousPiece | None = None
        self._cuts: deque[_Cut] = deque()
        self._uncut = 0
        self._uncut_generation = 0

    def add(self, entry: Entry, content: StoredContent | None) -> None:
        """Add an entry that was read."""
        if self._held is not None:
            self._unhold()
        if (
            content is not None
            and content.extents is not None
            and len(content.extents) > MAX_ENTRY_EXTENTS
        ):
            for part, some in _continued(entry, content):
                self._append(part, some)
            return
        self._append(entry, content)

    def keep(self, previous: PreviousPiece, begin: int, end: int) -> None:
        """Take over entries ``begin`` to ``end`` of a piece of the snapshot before."""
        if self._held is not None:
            self._unhold()
        entries = previous.entries
        if not begin and not self._entries and end == len(entries) and self._same_owners(previous):
            if previous.is_cut:
                self._reuse(previous)
            else:
                # The last piece; it is reused if nothing follows it.
                self._held = previous
            return
        for entry in entries[begin:end]:
            self._append(entry, previous)

    def finish(self) -> None:
        """Cut the last piece, and have every piece encoded and appended.

        Raises:
            BaseException: The first error of any thread.
        """
        if self._held is not None:
            held, self._held = self._held, None
            self._reuse(held)
        if self._entries:
            self._cut()
        self.settle()

    def settle(self) -> None:
        """Have every piece that has been cut encoded and appended.

        Raises:
            BaseException: The first error of any thread.
        """
        self._sink.cut_joined()
        while self._cuts:
            self._workers.wait(self._workers.handed)
            self._encode_ready()
        self._workers.wait(self._workers.handed)

    def finished(self) -> tuple[PieceAt, ...]:
        """Return the pieces, all of which have been appended.

        Raises:
            AssertionError: One has not: a defect, and no snapshot may come of it.
        """
        found = tuple(piece for piece in self.tables.pieces if piece is not None)
        if len(found) != len(self.tables.pieces):
            raise AssertionError("a piece of the manifest has not been appended")
        return found

    def _append(self, entry: Entry, origin: Origin) -> None:
        self._entries.append(entry)
        self._origins.append(origin)
        self._weight += weight(entry)
        if ends_piece(entry.path, len(self._entries), self._weight):
            self._cut()

    def _unhold(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            for entry in held.entries:
                self._append(entry, held)

    def _same_owners(self, previous: PreviousPiece) -> bool:
        owners = self._owners
        return all(owners.user(uid) == name for uid, name in previous.piece.users.items()) and all(
            owners.group(gid) == name for gid, name in previous.piece.groups.items()
        )

    def _reuse(self, previous: PreviousPiece) -> None:
        entries = previous.entries
        self.tables.pieces.append(PieceAt(entries[0].path, len(entries), previous.place))
        self.tables.packs.update(previous.piece.packs)

    def _cut(self) -> None:
        # Its number is taken now; the piece itself comes when its chunks have their places.
        slot = len(self.tables.pieces)
        self.tables.pieces.append(None)
        work = -1 if self._sink.waiting else self._workers.handed
        generation = self._sink.generation
        self._cuts.append(_Cut(self._entries, self._origins, generation, work, slot))
        if work < 0:
            self._limit_uncut(generation, len(self._entries))
        self._entries, self._origins, self._weight = [], [], 0
        self._encode_ready()

    def _limit_uncut(self, generation: int, entries: int) -> None:
        """Cut the joined files when too many entries wait for that."""
        if generation != self._uncut_generation:
            self._uncut_generation, self._uncut = generation, 0
        self._uncut += entries
        if self._uncut >= _MOST_UNCUT:
            self._sink.cut_joined()

    def _encode_ready(self) -> None:
        cuts = self._cuts
        while cuts:
            first = cuts[0]
            if first.work < 0:
                if self._sink.generation == first.generation:
                    return
                first.work = self._sink.cut_through
            if self._workers.done_through < first.work:
                return
            self._encode(cuts.popleft())

    def _encode(self, cut: _Cut) -> None:
        tables = PieceTables(self._placed)
        for entry, origin in zip(cut.entries, cut.origins, strict=True):
            if origin is None:
                continue
            if isinstance(origin, StoredContent):
                entry.extents = tables.extents(origin)
            elif entry.extents:
                entry.extents = tables.moved(entry.extents, origin)
        owners = self._owners
        users = {uid: owners.user(uid) for uid in sorted({entry.uid for entry in cut.entries})}
        groups = {gid: owners.group(gid) for gid in sorted({entry.gid for entry in cut.entries})}
        piece = Piece(
            {uid: name for uid, name in users.items() if name},
            {gid: name for gid, name in groups.items() if name},
            tables.packs,
            tables.chunks,
            cut.entries,
        )
        self.tables.packs.update(piece.packs)
        data = pieces.encode(piece)
        prefixes = prefixes_of(cut.entries)
        first, count = cut.entries[0].path, len(cut.entries)

        def work(compressor: Compressor) -> None:
            name = keyed(self._piece_key, data)
            codec, body = compressor.encode(data)
            with self._meta_lock:
                place = self._meta.append(body, plain=len(data), codec=codec, part_digest=name)
                self.tables.pieces[cut.slot] = PieceAt(first, count, place)
                cached = self.tables.cached
                cached.append(CachedPart(name, codec, len(data), bytes(body), prefixes))
                full = len(cached) >= _CACHED_AT_ONCE
                if full:
                    self.tables.cached = []
            if full:
                self._remember(cached)

        self._workers.hand(work)

    def _placed(self, ref: ChunkRef) -> ChunkRef:
        """Return the reference that has the location, waiting for it if need be."""
        settled = ref.same or ref
        if not settled.pack:
            # The same chunk came later as well, and was claimed there.
            self._workers.wait(self._workers.handed)
        return settled


class PieceTables:
    """The tables of one piece: packs and chunks in order of first use.

    Attributes:
        packs: (session, id) of each.
        chunks: Where each is.
    """

    def __init__(self, placed: Callable[[ChunkRef], ChunkRef]) -> None:
        """Begin with empty tables; ``placed`` gives a reference its location."""
        self.packs: list[tuple[bytes, bytes]] = []
        self.chunks: list[ChunkRow] = []
        self._placed = placed
        self._pack_numbers: dict[bytes, int] = {}
        self._by_id: dict[bytes, int] = {}
        self._by_ref: dict[ChunkRef, int] = {}
        self._by_piece: dict[int, dict[int, int]] = {}

    def extents(self, content: StoredContent) -> tuple[int, ...]:
        """Return the extents of content that was read or found, and has been cut.

        Raises:
            AssertionError: It has not: a defect, and no snapshot may come of it.
        """
        runs = content.extents
        if runs is None:
            raise AssertionError("an entry is written before its content has been cut")
        by_ref = self._by_ref
        flat: list[int] = []
        for ref, offset, length in runs:
            number = by_ref.get(ref)
            if number is None:
                placed = self._placed(ref)
                number = by_ref[ref] = self._number(
                    placed, (placed.session, placed.pack), placed.id
                )
            flat += (number, offset, length)
        return tuple(flat)

    def moved(self, extents: tuple[int, ...], previous: PreviousPiece) -> tuple[int, ...]:
        """Return the extents of an entry that is taken over from another piece."""
        piece = previous.piece
        numbers = self._by_piece.setdefault(id(previous), {})
        flat = list(extents)
        for at in range(0, len(flat), 3):
            old = flat[at]
            number = numbers.get(old)
            if number is None:
                row = piece.chunks[old]
                number = numbers[old] = self._number(row, piece.packs[row.pack], row.id)
            flat[at] = number
        return tuple(flat)

    def _number(self, at: ChunkRef | ChunkRow, pack: tuple[bytes, bytes], chunk_id: bytes) -> int:
        known = self._by_id.get(chunk_id)
        if known is not None:
            return known
        pack_number = self._pack_numbers.get(pack[1])
        if pack_number is None:
            pack_number = self._pack_numbers[pack[1]] = len(self.packs)
            self.packs.append(pack)
        number = self._by_id[chunk_id] = len(self.chunks)
        self.chunks.append(
            ChunkRow(pack_number, at.offset, at.stored, at.plain, at.codec, chunk_id)
        )
        return number


def _continued(entry: Entry, content: StoredContent) -> list[tuple[Entry, StoredContent]]:
    """Split a file of very many extents into entries that follow each other."""
    extents = content.extents or ()
    parts: list[tuple[Entry, StoredContent]] = []
    for begin in range(0, len(extents), MAX_ENTRY_EXTENTS):
        some = StoredContent(content.digest, content.plain_bytes)
        some.extents = extents[begin : begin + MAX_ENTRY_EXTENTS]
        more = begin + MAX_ENTRY_EXTENTS < len(extents)
        if begin:
            extra = Extra(flags=int(EntryFlag.CONTINUED) if more else 0)
            size = sum(length for _, _, length in some.extents)
        else:
            extra = msgspec.structs.replace(
                entry.extra, flags=entry.extra.flags | EntryFlag.CONTINUED
            )
            size = entry.size
        parts.append((msgspec.structs.replace(entry, size=size, extra=extra), some))
    return parts
