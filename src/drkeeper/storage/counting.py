"""A store that counts what passes through it."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from drkeeper.storage.base import ObjectInfo, ObjectStore


@dataclass(frozen=True, slots=True)
class Counts:
    """What has passed so far.

    Attributes:
        requests: Calls by the name of the operation, also those that failed.
        failures: Calls that raised, by the name of the operation.
        bytes_up: Content of the objects that were stored.
        bytes_down: Content that was read.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    bytes_up: int = 0
    bytes_down: int = 0


class CountingStore:
    """``store``, counted; threads may use it and take snapshots at any time."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._requests: dict[str, int] = {}
        self._failures: dict[str, int] = {}
        self._up = 0
        self._down = 0

    def snapshot(self) -> Counts:
        """Return the counts of one instant."""
        with self._lock:
            requests = MappingProxyType(dict(self._requests))
            failures = MappingProxyType(dict(self._failures))
            return Counts(requests, failures, self._up, self._down)

    @property
    def location(self) -> str:
        """Where the store is."""
        return self._store.location

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data``."""
        with _Counted(self, "put") as counted:
            self._store.put(key, data)
            counted.up = memoryview(data).nbytes

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under a free name."""
        with _Counted(self, "create") as counted:
            self._store.create(key, data)
            counted.up = memoryview(data).nbytes

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return a span."""
        with _Counted(self, "get") as counted:
            data = self._store.get(key, offset=offset, length=length)
            counted.down = len(data)
            return data

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        """Fill ``into``."""
        with _Counted(self, "read_into") as counted:
            self._store.read_into(key, into, offset=offset)
            counted.down = into.nbytes

    def info(self, key: str) -> ObjectInfo:
        """Describe one object."""
        with _Counted(self, "info"):
            return self._store.info(key)

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects in key order; one call counts once, however many pages."""
        with _Counted(self, "entries"):
            yield from self._store.entries(prefix, start_after=start_after)

    def delete(self, key: str) -> None:
        """Remove the object."""
        with _Counted(self, "delete"):
            self._store.delete(key)

    def _add(self, verb: str, *, failed: bool, up: int, down: int) -> None:
        with self._lock:
            self._requests[verb] = self._requests.get(verb, 0) + 1
            if failed:
                self._failures[verb] = self._failures.get(verb, 0) + 1
            self._up += up
            self._down += down


class _Counted:
    """One call on its way."""

    def __init__(self, store: CountingStore, verb: str) -> None:
        self._store = store
        self._verb = verb
        self.up = 0
        self.down = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        failed = kind is not None and issubclass(kind, Exception)
        self._store._add(self._verb, failed=failed, up=self.up, down=self.down)  # noqa: SLF001 - one module, one lock
