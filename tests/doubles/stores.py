"""Stores for tests: one in memory, one that fails by script."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from drkeeper.errors import ObjectExistsError, ObjectNotFoundError, StorageError
from drkeeper.storage.base import ObjectInfo, ObjectStore
from drkeeper.storage.keys import check_span, checked_key, checked_prefix


class MemoryStore:
    """The port's promises without a disk; passes the contract suite like any other adapter.

    Attributes:
        objects: What is stored; tests may look and tamper.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._at: dict[str, datetime] = {}
        self._lock = threading.Lock()

    @property
    def location(self) -> str:
        """Where this store is."""
        return "memory:"

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data``."""
        with self._lock:
            self._keep(checked_key(key), data)

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under a free name."""
        with self._lock:
            if checked_key(key) in self.objects:
                raise ObjectExistsError(f"an object of this name exists: {key}", key=key)
            self._keep(key, data)

    def _keep(self, key: str, data: bytes | bytearray | memoryview) -> None:
        self.objects[key] = bytes(data)
        self._at[key] = datetime.now(UTC)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return a span."""
        check_span(checked_key(key), offset, length)
        data = self._data(key)[offset:]
        if length is None:
            return data
        if len(data) < length:
            raise StorageError(f"object ends before the requested span: {key}", key=key)
        return data[:length]

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        """Fill ``into``."""
        into[:] = self.get(key, offset=offset, length=into.nbytes)

    def _data(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise ObjectNotFoundError(f"no such object: {key}", key=key) from None

    def info(self, key: str) -> ObjectInfo:
        """Describe one object."""
        with self._lock:
            size = len(self._data(checked_key(key)))
            return ObjectInfo(key, size, self._at.get(key, datetime.fromtimestamp(0, UTC)))

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects in key order."""
        checked_prefix(prefix)
        for key in sorted(self.objects):
            if key.startswith(prefix) and key > start_after and key in self.objects:
                yield self.info(key)

    def delete(self, key: str) -> None:
        """Remove the object."""
        with self._lock:
            self.objects.pop(checked_key(key), None)


@dataclass
class FlakyStore:
    """``inner``, failing as scripted: ``fail("put", error, after_apply=True)``.

    Attributes:
        inner: What does the work.
        calls: (operation, key) of every call.
    """

    inner: ObjectStore
    calls: list[tuple[str, str]] = field(default_factory=list)
    _script: list[tuple[str, Exception, bool]] = field(default_factory=list)

    def fail(
        self, operation: str, error: Exception, *, after_apply: bool = False, times: int = 1
    ) -> None:
        """Let the next calls of an operation raise, before or after they did their work."""
        self._script += [(operation, error, after_apply)] * times

    @property
    def location(self) -> str:
        """Where the store is."""
        return self.inner.location

    def _call(self, operation: str, key: str, work):
        self.calls.append((operation, key))
        for index, (name, error, after_apply) in enumerate(self._script):
            if name == operation:
                del self._script[index]
                if after_apply:
                    work()
                raise error
        return work()

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data``."""
        self._call("put", key, lambda: self.inner.put(key, data))

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under a free name."""
        self._call("create", key, lambda: self.inner.create(key, data))

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return a span."""
        return self._call("get", key, lambda: self.inner.get(key, offset=offset, length=length))

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        """Fill ``into``."""
        self._call("read_into", key, lambda: self.inner.read_into(key, into, offset=offset))

    def info(self, key: str) -> ObjectInfo:
        """Describe one object."""
        return self._call("info", key, lambda: self.inner.info(key))

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects; a scripted failure strikes after the first one."""
        found = self.inner.entries(prefix, start_after=start_after)
        self.calls.append(("entries", start_after))
        for index, (name, error, _) in enumerate(self._script):
            if name == "entries":
                del self._script[index]
                yield next(found)
                raise error
        yield from found

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._call("delete", key, lambda: self.inner.delete(key))
