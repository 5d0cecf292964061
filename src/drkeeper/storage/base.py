"""The storage port: a flat namespace of objects that are written once."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says about one object, without reading it.

    Attributes:
        key: Full name, ``/``-separated.
        stored_bytes: Length of the object.
        modified_at: When the store says it was written, aware, UTC; by the store's clock.
    """

    key: str
    stored_bytes: int
    modified_at: datetime


class ObjectStore(Protocol):
    """A flat, durable namespace of objects that are written once.

    Promises, checked by ``tests/contract/test_object_store.py`` for every adapter:

    * *Atomic*: a reader sees a whole object or none.
    * *Durable*: when ``put`` or ``create`` returns, the object survives a power cut.
    * *Read-after-write*: ``get``, ``info`` and ``entries`` see what was stored.
    * *Exclusive*: of any number of racing ``create`` calls for one key, at most one succeeds.
    * *Closed errors*: only ``StorageError``, its subclasses and ``NoSpaceError`` leave an adapter.
    * *Threads*: one instance may be used by any number of threads.

    Stores do not retry, cache, encrypt or check digests; the repository and the
    wrappers in this package do. Keys are 1 to 512 characters of ``[a-z0-9/._-]``.
    """

    @property
    def location(self) -> str:
        """Where this store is, for people: a URL without credentials."""
        ...

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under ``key``.

        A key is used for one content only, ever; storing the same bytes again is harmless.

        Raises:
            StorageUnavailableError: Try later; the object may or may not exist.
            NoSpaceError: The store is full; nothing exists under ``key``.
            StorageError: The store refused.
        """
        ...

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under ``key`` only if no object has that name.

        Raises:
            ObjectExistsError: The name is taken; nothing was changed.
            StorageUnavailableError: Unknown whether the object was created; read it to find out.
            NoSpaceError: The store is full; nothing was created.
            StorageError: The store refused.
        """
        ...

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return ``length`` bytes from ``offset``, or to the end when ``None``.

        Without a length, the store decides how much memory that takes: for stores one trusts.

        Raises:
            ObjectNotFoundError: No such object.
            StorageUnavailableError: Try later.
            StorageError: Fewer than ``length`` bytes exist, or the store refused.
        """
        ...

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        """Fill ``into`` with the bytes that start at ``offset``; for large objects.

        Raises:
            ObjectNotFoundError: No such object.
            StorageUnavailableError: Try later; ``into`` may hold anything.
            StorageError: The object ends before ``into`` is full, or the store refused.
        """
        ...

    def info(self, key: str) -> ObjectInfo:
        """Describe one object.

        Raises:
            ObjectNotFoundError: No such object.
            StorageError: The store refused or did not answer.
        """
        ...

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with ``prefix``, in key order (by bytes).

        Only keys greater than ``start_after`` are yielded. Objects stored or deleted while the
        listing runs may or may not appear.

        Raises:
            StorageError: The store refused or did not answer.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object; removing an absent object is harmless.

        Raises:
            StorageDeniedError: The store keeps it (retention, lock, or rights).
            StorageError: The store refused or did not answer.
        """
        ...
