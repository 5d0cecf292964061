"""One snapshot, read: its root, and those pieces of its manifest that can hold what is wanted."""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import Protocol

from drkeeper.crypto.derive import Domain
from drkeeper.errors import IntegrityError, ObjectNotFoundError
from drkeeper.faults import point
from drkeeper.model.entry import sort_key
from drkeeper.repository import pieces
from drkeeper.repository.commit import Counts
from drkeeper.repository.fetch import Fetcher
from drkeeper.repository.parts import PartReader
from drkeeper.repository.pieces import Piece
from drkeeper.repository.places import Place
from drkeeper.repository.snapshot_root import SnapshotRoot
from drkeeper.repository.spans import ReadsPacks

_MISSING = "{}: the snapshot needs it"
_HINT = "Run 'drkeeper check' to see which snapshots need it."


class NamesRoot(Protocol):
    """The part of a commit that a reader needs."""

    @property
    def digest(self) -> bytes:
        """Digest of the journal entry: the identity of the snapshot."""
        ...

    @property
    def root(self) -> Place:
        """Place of the snapshot root."""
        ...

    @property
    def counts(self) -> Counts:
        """How much is in it, for people: nothing may depend on these numbers."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the whole source is in it."""
        ...


class SnapshotReader:
    """Reads one snapshot of one repository; may be shared by threads."""

    def __init__(self, repository: ReadsPacks, commit: NamesRoot) -> None:
        """Read the snapshot that ``commit`` names; nothing is fetched yet."""
        self.repository = repository
        self.commit = commit
        self._parts = PartReader(repository)
        self._lock = Lock()

    @cached_property
    def root(self) -> SnapshotRoot:
        """The snapshot root.

        Raises:
            IntegrityError: It is missing, damaged or contradicts its commit.
            KeyNotFoundError: No identity at hand opens metadata.
        """
        point("repository.reader.root")
        try:
            root = self._parts.read_root(self.commit.root)
        except ObjectNotFoundError as error:
            raise IntegrityError(_MISSING.format(error), hint=_HINT) from error
        if root.complete != self.commit.complete:
            raise IntegrityError("snapshot root and commit disagree about completeness")
        return root

    @cached_property
    def domain(self) -> Domain:
        """Keys of the domain."""
        return Domain(self.root.domain)

    def piece(self, number: int) -> Piece:
        """Fetch one piece of the manifest, in the order of ``root.pieces``.

        Raises:
            IntegrityError: It is missing, damaged, or not where it says it belongs.
        """
        at = self.root.pieces[number]
        point("repository.reader.piece")
        domain = self.domain
        try:
            with self._lock:
                data = self._parts.read_meta(at.place, domain)
        except ObjectNotFoundError as error:
            raise IntegrityError(_MISSING.format(error), hint=_HINT) from error
        name = f"piece {number} of the manifest in meta object {at.place.id.hex()}"
        try:
            piece = pieces.decode(data)
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error}", hint=error.hint) from error
        if piece.entries[0].path != at.first_path or len(piece.entries) != at.entries:
            raise IntegrityError(f"{name} does not begin or end where the snapshot root says")
        following = self.root.pieces[number + 1 : number + 2]
        if following and sort_key(piece.entries[-1].path) > sort_key(following[0].first_path):
            raise IntegrityError(f"{name} overlaps the next one")
        return piece

    def pieces_holding(self, paths: Sequence[bytes]) -> list[int]:
        """Return the numbers of the pieces that can hold these paths or anything below them.

        No paths means everything. The directories above each path are looked up, too.
        """
        total = len(self.root.pieces)
        if not paths:
            return list(range(total))
        firsts = [sort_key(piece.first_path) for piece in self.root.pieces]
        wanted: set[int] = set()
        for path in paths:
            components = path.split(b"/")
            for depth in range(1, len(components)):
                above = sort_key(b"/".join(components[:depth]))
                wanted.update(_holding(firsts, above, above + b"\0"))
            key = sort_key(path)
            # 0x01 is the smallest byte that can follow a path and not lead below it.
            wanted.update(_holding(firsts, key, key + b"\1"))
        return sorted(wanted)

    def fetcher(self, workers: int) -> Fetcher:
        """Return a fetcher for the chunks of this snapshot; a context manager."""
        return Fetcher(self.repository, self.domain.chunk_key, workers=workers)


def _holding(firsts: list[bytes], low: bytes, high: bytes) -> range:
    """Return the pieces that can hold a key from ``low`` to before ``high``."""
    end = bisect_left(firsts, high)
    start = bisect_left(firsts, low)
    # The piece before the first that begins at ``low`` or later may reach it.
    return range(max(0, start - 1), end)
