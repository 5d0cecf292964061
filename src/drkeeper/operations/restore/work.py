"""From a manifest to batches of work, in path order.

A batch is a run of paths whose content is fetched together; a large file is cut over several. Only
a few batches exist at a time, so memory follows the batch, not the snapshot.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

from drkeeper.errors import IntegrityError
from drkeeper.model.entry import Entry, EntryFlag, FileType
from drkeeper.operations.restore.layout import has_content
from drkeeper.operations.restore.rights import Owners
from drkeeper.repository.pieces import Piece
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.reads import ChunkRef

LARGE_BYTES = 4 * 1024 * 1024
"""Files from here on are written chunk by chunk, by several threads: as long as the longest chunk."""

_UNITS = 2048
"""Most paths in a batch, so that a million empty files are not one batch."""

_KEPT_ENTRIES = 16 * 1024
"""Manifests up to here are kept decoded between planning and restoring: about 9 MB."""

_SLASH = ord("/")
_CONTINUED = int(EntryFlag.CONTINUED)
_PARENT = int(EntryFlag.PARENT)


class Kind(IntEnum):
    """What a unit asks for."""

    WHOLE = 0  # everything about a path
    PART = 1  # some of the content of a large file
    KEPT = 2  # the content is there already; only metadata
    LINK = 3  # another name of a file that came earlier
    SKIP = 4  # leave what is there alone


@dataclass(slots=True)
class Unit:
    """One path, or a part of one.

    Attributes:
        entry: From the manifest; for a part, the entry that carries the metadata.
        refs: The piece's chunks, by number.
        extents: As in ``Entry``; of this part.
        owner: User and group on this machine.
        kind: What to do.
        first: The first part of its file.
        last: The last part of its file.
        position: Where in the content (holes left out) this part begins.
        local: Numbers of extents whose bytes the present file has in their place.
        parent: Only there because it is above something that was asked for.
    """

    entry: Entry
    refs: list[ChunkRef]
    extents: tuple[int, ...]
    owner: tuple[int, int]
    kind: Kind = Kind.WHOLE
    first: bool = True
    last: bool = True
    position: int = 0
    local: frozenset[int] = frozenset()
    parent: bool = False


@dataclass(slots=True)
class Work:
    """A batch: what to do, and the chunks it takes."""

    units: list[Unit] = field(default_factory=list)
    needed: dict[bytes, ChunkRef] = field(default_factory=dict)
    plain_bytes: int = 0


class Found(NamedTuple):
    """An entry of the manifest that was asked for, with its piece and its chunks by number."""

    entry: Entry
    piece: Piece
    refs: list[ChunkRef]
    parent: bool


class Manifest:
    """The entries of some paths, of all below them, and of the directories above them.

    A short manifest that is needed twice is kept decoded; a long one is read again. The next piece
    is fetched while one is used.
    """

    def __init__(self, reader: SnapshotReader, paths: tuple[bytes, ...], pool: Executor) -> None:
        """Read with ``reader``; no paths means all."""
        self._reader = reader
        self._pool = pool
        self._exact = frozenset(paths)
        self._below = tuple(path + b"/" for path in paths)
        self._above = frozenset(
            path[:at] for path in paths for at in range(len(path)) if path[at] == _SLASH
        )
        self._numbers = reader.pieces_holding(paths)
        self._known: dict[int, tuple[Piece, list[ChunkRef]]] = {}
        self._short = sum(reader.root.pieces[n].entries for n in self._numbers) <= _KEPT_ENTRIES

    @property
    def pieces(self) -> int:
        """How many pieces there are to read."""
        return len(self._numbers)

    def found(
        self, on_damage: Callable[[bytes, IntegrityError], None], *, again: bool = False
    ) -> Iterator[Found]:
        """Yield entries in path order; a piece that cannot be read is told, and passed over.

        ``again`` says that another pass will follow.
        """
        keep = again and self._short
        arriving: Future[tuple[Piece, list[ChunkRef]]] | None = None
        for at, number in enumerate(self._numbers):
            current = arriving or self._pool.submit(self._load, number, keep=keep)
            following = self._numbers[at + 1 : at + 2]
            arriving = self._pool.submit(self._load, following[0], keep=keep) if following else None
            try:
                piece, refs = current.result()
            except IntegrityError as error:
                on_damage(self._reader.root.pieces[number].first_path, error)
                continue
            yield from self._chosen(piece, refs)

    def _load(self, number: int, *, keep: bool) -> tuple[Piece, list[ChunkRef]]:
        known = self._known.pop(number, None)  # kept from one pass to the next, and no longer
        if known is not None:
            return known
        piece = self._reader.piece(number)
        packs = piece.packs
        refs = [
            ChunkRef(*packs[row.pack], row.offset, row.stored, row.plain, row.codec, row.id)
            for row in piece.chunks
        ]
        if keep:
            self._known[number] = piece, refs
        return piece, refs

    def _chosen(self, piece: Piece, refs: list[ChunkRef]) -> Iterator[Found]:
        every = not self._exact
        for entry in piece.entries:
            path = entry.path
            if every or path in self._exact or path.startswith(self._below):
                yield Found(entry, piece, refs, bool(entry.extra.flags & _PARENT))
            elif path in self._above:
                yield Found(entry, piece, refs, parent=True)


@dataclass(slots=True)
class _Group:
    """The names of one file: what it is, and how many are still to come."""

    what: tuple[int, int, bytes]
    left: int


class Decides(Protocol):
    """Decides what has to be done for a file."""

    def decide(self, unit: Unit) -> None:
        """Set ``unit.kind``; called once for each path, in order."""
        ...

    def compare(self, unit: Unit) -> None:
        """Set ``unit.local`` of one part of a large file; called in order."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class Everything:
    """Restores everything, whatever is there."""

    def decide(self, unit: Unit) -> None:
        """Leave the unit as it is."""

    def compare(self, unit: Unit) -> None:
        """Leave the part as it is."""

    def close(self) -> None:
        """Hold nothing."""


class Planner:
    """Cuts a manifest into batches."""

    def __init__(self, decides: Decides, owners: Owners, batch_bytes: int) -> None:
        """Cut after ``batch_bytes`` plain bytes of chunks."""
        self._decides = decides
        self._owners = owners
        self._batch_bytes = batch_bytes
        self._work = Work()
        self._groups: dict[tuple[int, int], _Group] = {}

    def batches(self, found: Iterator[Found]) -> Iterator[Work]:
        """Yield batches, in path order."""
        running: Unit | None = None  # a large file whose further extents may follow
        for each in found:
            entry = each.entry
            if running is not None and entry.path == running.entry.path:
                unit = self._further(running, each)
            else:
                unit = self._unit(each)
            more = bool(entry.extra.flags & _CONTINUED)
            running = unit if more else None
            if unit.kind == Kind.PART:
                yield from self._parts(unit, more=more)
            else:
                self._add(unit)
            if self._full():
                yield self._cut()
        if self._work.units:
            yield self._cut()

    def _unit(self, found: Found) -> Unit:
        entry = found.entry
        piece = found.piece
        unit = Unit(
            entry,
            found.refs,
            entry.extents,
            (
                self._owners.user(entry.uid, piece.users),
                self._owners.group(entry.gid, piece.groups),
            ),
            parent=found.parent,
        )
        if entry.links > 1 and entry.type != FileType.DIRECTORY and self._seen(entry):
            unit.kind = Kind.LINK
            return unit
        self._decides.decide(unit)
        if unit.kind == Kind.WHOLE and _in_parts(entry):
            unit.kind = Kind.PART
        return unit

    def _further(self, running: Unit, found: Found) -> Unit:
        """Return the unit for more extents of a file; only the first entry's metadata counts."""
        return Unit(
            running.entry,
            found.refs,
            found.entry.extents,
            running.owner,
            running.kind,
            first=False,
            position=running.position + sum(running.extents[2::3]),
            parent=running.parent,
        )

    def _seen(self, entry: Entry) -> bool:
        """Whether a hard link to the same file came before; forgotten after the last.

        Entries that contradict each other are no links, whatever their numbers say.
        """
        key = (entry.device, entry.inode)
        what = (entry.type, entry.size, entry.digest)
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = _Group(what, entry.links - 1)
            return False
        if group.what != what:
            return False
        group.left -= 1
        if group.left <= 0:
            del self._groups[key]
        return True

    def _parts(self, unit: Unit, *, more: bool) -> Iterator[Work]:
        """Cut one entry of a large file into parts that fit into batches."""
        extents = unit.extents
        position = unit.position
        start = 0
        room = max(self._batch_bytes - self._work.plain_bytes, LARGE_BYTES)
        taken = 0
        for at in range(0, len(extents), 3):
            taken += unit.refs[extents[at]].plain
            if taken >= room and at + 3 < len(extents):
                part = self._part(unit, start, at + 3, position)
                position += sum(part.extents[2::3])
                self._add(part)
                yield self._cut()
                start, taken, room = at + 3, 0, self._batch_bytes
        part = self._part(unit, start, len(extents), position)
        part.last = not more
        self._add(part)

    def _part(self, unit: Unit, start: int, end: int, position: int) -> Unit:
        part = Unit(
            unit.entry,
            unit.refs,
            unit.extents[start:end],
            unit.owner,
            Kind.PART,
            first=unit.first and start == 0,
            last=False,
            position=position,
            parent=unit.parent,
        )
        self._decides.compare(part)
        return part

    def _add(self, unit: Unit) -> None:
        work = self._work
        work.units.append(unit)
        if unit.kind > Kind.PART:
            return
        extents = unit.extents
        for at in range(0, len(extents), 3):
            if at // 3 in unit.local:
                continue
            ref = unit.refs[extents[at]]
            if ref.id not in work.needed:
                work.needed[ref.id] = ref
                work.plain_bytes += ref.plain

    def _full(self) -> bool:
        return self._work.plain_bytes >= self._batch_bytes or len(self._work.units) >= _UNITS

    def _cut(self) -> Work:
        done, self._work = self._work, Work()
        return done


def _in_parts(entry: Entry) -> bool:
    """Whether a file is written part by part: large ones, and those with holes."""
    if entry.type != FileType.FILE or not has_content(entry):
        return False
    extra = entry.extra
    return entry.size > LARGE_BYTES or extra.segments is not None or bool(extra.flags & _CONTINUED)
