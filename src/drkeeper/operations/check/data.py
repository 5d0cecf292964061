"""The part of a check that reads everything: bytes against digests, chunks against their ids."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from drkeeper.crypto.digests import digest, equal, keyed
from drkeeper.crypto.sealing import Header, Kind, open_sealed
from drkeeper.errors import IntegrityError, KeyNotFoundError, StorageError
from drkeeper.faults import point
from drkeeper.operations.check.findings import Notes, Severity
from drkeeper.operations.check.listing import Listing
from drkeeper.operations.check.structure import Needs
from drkeeper.repository.compression import decode
from drkeeper.repository.inventory import StoredObject
from drkeeper.repository.packs import read_directory
from drkeeper.repository.pieces import MAX_PACK_BYTES
from drkeeper.repository.places import KeyClass
from drkeeper.repository.repository import Repository

_WORKERS = 4
_MAX_SEALED_BYTES = MAX_PACK_BYTES + MAX_PACK_BYTES // 64


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

    def holds(self, name: str) -> bool:
        """Whether the object of this name is in the slice."""
        place = int(name.rpartition("/")[2][:8], 16)
        return place * self.of >> 32 == self.number


@dataclass(slots=True)
class DataCheck:
    """Reads objects, whole and in parallel.

    Attributes:
        read_objects: How many were read so far.
        read_bytes: Their total length.
    """

    repository: Repository
    listing: Listing
    notes: Notes
    needs: Needs
    known: dict[str, StoredObject]
    on_read: Callable[[int, int], None]
    read_objects: int = 0
    read_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, names: Iterable[str], *, blind: bool) -> None:
        """Read each of these objects.

        Args:
            names: Objects that the store lists.
            blind: Compare bytes with their digests only, and open nothing.

        Raises:
            KeyNotFoundError: No identity at hand opens packs.
        """
        with ThreadPoolExecutor(_WORKERS, "check") as pool:
            jobs = [pool.submit(self._one, name, blind=blind) for name in names]
            try:
                for job in jobs:
                    job.result()
            finally:
                for job in jobs:
                    job.cancel()

    def _one(self, name: str, *, blind: bool) -> None:
        snapshots = frozenset(self.needs.snapshots.get(name, ()))
        try:
            self._read(name, blind=blind)
        except KeyNotFoundError:
            raise
        except (IntegrityError, StorageError) as error:
            self.notes.add(Severity.ERROR, "altered", name, str(error), snapshots=snapshots)

    def _read(self, name: str, *, blind: bool) -> None:
        length = self.listing.lengths[name]
        if length > _MAX_SEALED_BYTES:
            raise IntegrityError("is longer than any such object")
        point("operations.check.read")
        sealed = self.repository.store.get(name, length=length)
        with self._lock:
            self.read_objects += 1
            self.read_bytes += length
            self.on_read(self.read_objects, self.read_bytes)
        stored = self.known.get(name)
        if stored is not None and not equal(digest(sealed), stored.digest):
            raise IntegrityError("has other bytes than were stored")
        if not blind and name.startswith("packs/") and name in self.needs.sessions:
            self._open_pack(name, sealed)

    def _open_pack(self, name: str, sealed: bytes) -> None:
        session = self.needs.sessions[name]
        header = Header(
            Kind.PACK, self.repository.id, session, bytes.fromhex(name.rpartition("/")[2])
        )
        plain = memoryview(
            open_sealed(self.repository.keys.key(session, KeyClass.DATA), header, sealed)
        )
        domain = self.needs.domains.get(session)
        for row in read_directory(plain):
            chunk = decode(row.codec, plain[row.offset : row.offset + row.stored], row.plain)
            if domain is not None and not equal(keyed(domain.chunk_key, chunk), row.id):
                raise IntegrityError(f"holds a chunk at {row.offset} that is not what it is named")
