"""A store in memory that counts requests, and a store whose answers get lost where told."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from doubles import stores
from drkeeper.errors import ObjectExistsError, StorageUnavailableError
from drkeeper.storage.base import ObjectInfo, ObjectStore

T = TypeVar("T")
Bytes = bytes | bytearray | memoryview


class MemoryStore(stores.MemoryStore):
    """The store in memory that passes the contract suite; counts requests, refuses other bytes.

    Attributes:
        requests: How many requests of each kind were made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[str, int] = {}

    def put(self, key: str, data: Bytes) -> None:
        self._count("put")
        if self.objects.get(key, data) != data:
            raise ObjectExistsError(f"other bytes have this name already: {key}", key=key)
        super().put(key, data)

    def create(self, key: str, data: Bytes) -> None:
        self._count("create")
        super().create(key, data)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._count("get")
        return super().get(key, offset=offset, length=length)

    def info(self, key: str) -> ObjectInfo:
        self._count("info")
        return super().info(key)

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        self._count("entries")
        at = datetime(2026, 11, 21, tzinfo=UTC)
        for key, data in sorted(self.objects.items()):
            if key.startswith(prefix) and key > start_after:
                yield ObjectInfo(key, len(data), at)

    def copy(self) -> "MemoryStore":
        """Return a store with the same objects, which goes its own way."""
        other = MemoryStore()
        other.objects = dict(self.objects)
        return other

    def _count(self, kind: str) -> None:
        self.requests[kind] = self.requests.get(kind, 0) + 1


class FaultyStore:
    """A store whose answers a script may take away, or be preceded by somebody else's deeds.

    Args:
        store: Where requests go.
        script: Called before each request with (kind, key, how often such a request was made);
            returns ``"lost reply"`` to do it and then say that nobody knows, ``"refused"`` to say so
            without doing it, or ``None``.
    """

    def __init__(self, store: ObjectStore, script: Callable[[str, str, int], str | None]) -> None:
        self._store = store
        self._script = script
        self._seen: dict[tuple[str, str], int] = {}

    @property
    def location(self) -> str:
        return self._store.location

    def put(self, key: str, data: Bytes) -> None:
        self._do("put", key, lambda: self._store.put(key, data))

    def create(self, key: str, data: Bytes) -> None:
        self._do("create", key, lambda: self._store.create(key, data))

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self._do("get", key, lambda: self._store.get(key, offset=offset, length=length))

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        self._do("read_into", key, lambda: self._store.read_into(key, into, offset=offset))

    def info(self, key: str) -> ObjectInfo:
        return self._do("info", key, lambda: self._store.info(key))

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        return self._do(
            "entries", prefix, lambda: self._store.entries(prefix, start_after=start_after)
        )

    def delete(self, key: str) -> None:
        self._do("delete", key, lambda: self._store.delete(key))

    def _do(self, kind: str, key: str, request: Callable[[], T]) -> T:
        count = self._seen[kind, key] = self._seen.get((kind, key), 0) + 1
        answer = self._script(kind, key, count)
        if answer == "refused":
            raise StorageUnavailableError(f"no answer to {kind}", key=key)
        result = request()
        if answer == "lost reply":
            raise StorageUnavailableError(f"no answer to {kind}", key=key)
        return result
