"""The part of a check that reads whole objects: bytes against digests, chunks against their ids."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Self

from drkeeper.crypto.digests import digest, equal, keyed
from drkeeper.crypto.sealing import Header, Kind, open_sealed
from drkeeper.errors import ConfigurationError, IntegrityError, KeyNotFoundError, StorageError
from drkeeper.faults import point
from drkeeper.operations.check.bounded import for_each
from drkeeper.operations.check.findings import Notes, Severity
from drkeeper.operations.check.listing import Listing
from drkeeper.operations.check.needs import Needs
from drkeeper.repository.compression import decode
from drkeeper.repository.packs import read_directory
from drkeeper.repository.pieces import MAX_PACK_BYTES
from drkeeper.repository.places import KeyClass
from drkeeper.repository.repository import Repository

_MAX_SEALED_BYTES: Final = MAX_PACK_BYTES + MAX_PACK_BYTES // 64
_COPIES: Final = 2
"""A pack is in memory sealed and open."""

_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Slice:
    """Which part of the packs to read.

    Ids are random, so equal ranges of them hold about equally much. Slices are disjoint and together
    are everything: reading number 0, 1, 2, ... in turn reads every byte once, which a
    random sample never promises.

    Attributes:
        number: From 0 to ``of`` - 1.
        of: Into how many slices the repository is divided.
    """

    number: int
    of: int

    @classmethod
    def percent(cls, percent: int, turn: int) -> Self:
        """Return the slice of about ``percent`` of everything that it is the turn of.

        Args:
            percent: 1 to 100.
            turn: Count of the checks, or of the days: each number in turn gives the next slice.

        Raises:
            ConfigurationError: There is no such percentage.
        """
        if not 1 <= percent <= _PERCENT:
            raise ConfigurationError(f"{percent} is not a percentage from 1 to 100")
        of = ceil(_PERCENT / percent)
        return cls(turn % of, of)

    def holds(self, name: str) -> bool:
        """Whether the object of this name is in the slice."""
        place = int(name.rpartition("/")[2][:8], 16)
        return place * self.of >> 32 == self.number


@dataclass(frozen=True, slots=True)
class ObjectCheck:
    """Judges the bytes of one object.

    Attributes:
        repository: Its keys open packs.
        needs: Says which session's key opens an object, and which domain names its chunks.
        digests: Name to digest, of objects that an inventory names.
        blind: Compare bytes with their digests only, and open nothing.
    """

    repository: Repository
    needs: Needs
    digests: Mapping[str, bytes]
    blind: bool

    def verify(self, name: str, sealed: bytes) -> None:
        """Compare an object with all that is known of it.

        Raises:
            IntegrityError: It is not what was stored.
            KeyNotFoundError: No identity at hand opens packs.
            StorageError: Its key slot cannot be read.
        """
        expected = self.digests.get(name)
        if expected is not None and not equal(digest(sealed), expected):
            raise IntegrityError("has other bytes than were stored")
        if not self.blind:
            self.open(name, sealed)

    def open(self, name: str, sealed: bytes) -> None:
        """Decrypt an object that a snapshot needs; prove each chunk of a pack by its id.

        Raises:
            IntegrityError: It is not what was sealed, or a chunk is not what it is named.
            KeyNotFoundError: No identity at hand opens it.
            StorageError: Its key slot cannot be read.
        """
        session = self.needs.session(name)
        if session is None:
            return
        kind, key_class = _KINDS[name.partition("/")[0]]
        object_id = bytes.fromhex(name.rpartition("/")[2])
        header = Header(kind, self.repository.id, session, object_id)
        key = self.repository.keys.key(session, key_class)
        plain = open_sealed(key, header, sealed)
        if kind is Kind.PACK:
            self._chunks(memoryview(plain), session)

    def _chunks(self, plain: memoryview, session: bytes) -> None:
        domain = self.needs.domains.get(session)
        for row in read_directory(plain):
            chunk = decode(row.codec, plain[row.offset : row.offset + row.stored], row.plain)
            if domain is not None and not equal(keyed(domain.chunk_key, chunk), row.id):
                raise IntegrityError(f"holds a chunk at {row.offset} that is not what it is named")


_KINDS: Final = {
    "packs": (Kind.PACK, KeyClass.DATA),
    "meta": (Kind.META, KeyClass.META),
    "refs": (Kind.REFS, KeyClass.REFS),
}


@dataclass(slots=True)
class DataCheck:
    """Reads objects, whole and in parallel, a bounded number of bytes at a time.

    Attributes:
        judge: Judges each.
        on_read: Called with objects and bytes read so far.
        read_objects: How many were read so far.
        read_bytes: Their total length.
    """

    judge: ObjectCheck
    listing: Listing
    notes: Notes
    on_read: Callable[[int, int], None]
    read_objects: int = 0
    read_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, names: Iterable[str]) -> None:
        """Read each of these objects, which the store lists.

        Raises:
            KeyNotFoundError: No identity at hand opens packs.
        """
        for_each(names, self._one, lambda name: _COPIES * self.listing.lengths[name])

    def _one(self, name: str) -> None:
        try:
            self.judge.verify(name, self._read(name))
        except KeyNotFoundError:
            raise
        except (IntegrityError, StorageError) as error:
            needs = self.judge.needs
            lost = self.judge.blind or name in needs
            self.notes.add(
                Severity.ERROR if lost else Severity.WARNING,
                "altered" if isinstance(error, IntegrityError) else "unreadable",
                name,
                str(error),
                snapshots=needs.of(name),
            )

    def _read(self, name: str) -> bytes:
        length = self.listing.lengths[name]
        if length > _MAX_SEALED_BYTES:
            raise IntegrityError("is longer than any such object")
        point("operations.check.read")
        sealed = self.judge.repository.store.get(name, length=length)
        with self._lock:
            self.read_objects += 1
            self.read_bytes += length
            self.on_read(self.read_objects, self.read_bytes)
        return sealed
