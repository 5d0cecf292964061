"""A store that keeps to a bandwidth."""

import threading
from collections.abc import Callable, Iterator
from typing import Final

from drkeeper.clock import Clock
from drkeeper.storage.base import ObjectInfo, ObjectStore

_LOOK_EVERY_S: Final = 0.5
"""How often those who wait look whether the limit is lifted. Source: ours; a stop has seconds."""


def never() -> bool:
    """Lift no limit."""
    return False


class Rate:
    """A bandwidth that threads share, in the order in which they ask.

    It holds on average: an object goes at the speed of the line, and the next one waits until
    the time that the earlier ones were worth has passed. What was not used is not saved up.

    Args:
        bytes_per_s: More than 0; ``None`` for no limit.
        clock: Measures and waits.
        lifted: Whether nobody has to wait any more; once it says so, it always does.
    """

    def __init__(
        self, bytes_per_s: float | None, clock: Clock, *, lifted: Callable[[], bool] = never
    ) -> None:
        if bytes_per_s is not None and bytes_per_s <= 0:
            raise ValueError("a rate must be more than 0")
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._lifted = lifted
        self._lock = threading.Lock()
        self._free_at = clock.monotonic()

    def take(self, count: int) -> None:
        """Wait until earlier transfers are paid for, and go into debt for ``count`` bytes."""
        wait_s = self._book(count)
        longest_s = wait_s if self._lifted is never else _LOOK_EVERY_S
        while wait_s > 0 and not self._lifted():
            self._clock.sleep(min(wait_s, longest_s))
            wait_s -= longest_s

    def owe(self, count: int) -> None:
        """Go into debt for ``count`` bytes without waiting."""
        self._book(count)

    def _book(self, count: int) -> float:
        if self._bytes_per_s is None:
            return 0
        with self._lock:
            now = self._clock.monotonic()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self._bytes_per_s
        return begin - now


class LimitedStore:
    """``store`` at no more than ``up`` and ``down``; requests without content are free."""

    def __init__(self, store: ObjectStore, *, up: Rate, down: Rate) -> None:
        self._store = store
        self._up = up
        self._down = down

    @property
    def location(self) -> str:
        """Where the store is."""
        return self._store.location

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` when its turn comes."""
        self._up.take(memoryview(data).nbytes)
        self._store.put(key, data)

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under a free name, at once.

        What is created is small and decides (an entry of the journal): a session that is being
        aborted, or a commit, must not wait behind packs.
        """
        self._up.owe(memoryview(data).nbytes)
        self._store.create(key, data)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return a span when its turn comes."""
        self._down.take(length or 0)
        data = self._store.get(key, offset=offset, length=length)
        if length is None:
            self._down.owe(len(data))
        return data

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        """Fill ``into`` when its turn comes."""
        self._down.take(into.nbytes)
        self._store.read_into(key, into, offset=offset)

    def info(self, key: str) -> ObjectInfo:
        """Describe one object."""
        return self._store.info(key)

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects in key order."""
        return self._store.entries(prefix, start_after=start_after)

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._store.delete(key)
