"""An honest object store in memory, and one that answers as told.

``MemoryStore`` keeps every promise of the port except surviving the process. ``FaultyStore`` wraps
a store and misbehaves where a script says so.
"""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from drkeeper.errors import (
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from drkeeper.storage.base import ObjectInfo, ObjectStore

T = TypeVar("T")
Bytes = bytes | bytearray | memoryview


class MemoryStore:
    """Objects in a dictionary; the requests made are counted by kind."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: dict[str, int] = {}
        self._lock = threading.Lock()
        self._at = datetime(2026, 11, 21, tzinfo=UTC)

    @property
    def location(self) -> str:
        return "memory:"

    def put(self, key: str, data: Bytes) -> None:
        with self._lock:
            self._count("put")
            if self.objects.setdefault(key, bytes(data)) != bytes(data):
                raise ObjectExistsError(f"other bytes have this name already: {key}", key=key)

    def create(self, key: str, data: Bytes) -> None:
        with self._lock:
            self._count("create")
            if key in self.objects:
                raise ObjectExistsError(f"an object of this name exists: {key}", key=key)
            self.objects[key] = bytes(data)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        data = self._found("get", key)
        part = data[offset:] if length is None else data[offset : offset + length]
        if length is not None and len(part) != length:
            raise StorageError(f"object ends before the requested span: {key}", key=key)
        return part

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        into[:] = self.get(key, offset=offset, length=len(into))

    def info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self._found("info", key)), self._at)

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            self._count("entries")
            found = sorted(
                (key, len(data))
                for key, data in self.objects.items()
                if key.startswith(prefix) and key > start_after
            )
        for key, length in found:
            yield ObjectInfo(key, length, self._at)

    def delete(self, key: str) -> None:
        with self._lock:
            self._count("delete")
            self.objects.pop(key, None)

    def copy(self) -> "MemoryStore":
        """Return a store with the same objects, which goes its own way."""
        other = MemoryStore()
        other.objects = dict(self.objects)
        return other

    def _found(self, kind: str, key: str) -> bytes:
        with self._lock:
            self._count(kind)
            if key not in self.objects:
                raise ObjectNotFoundError(f"no such object: {key}", key=key)
            return self.objects[key]

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
