"""The one place that tries again.

Only what is harmless to repeat is repeated: a ``put`` writes the same bytes under a name that
has no other content, reads and deletes change nothing twice. A ``create`` is passed through
once: whether an unclear creation happened can be told only by somebody who knows what he
wrote, so the journal decides that (docs/format.md, "Write order").
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from drkeeper.clock import Clock
from drkeeper.errors import StorageError
from drkeeper.storage.base import ObjectInfo, ObjectStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often to try again.

    Attributes:
        total: From the first failure of one call to giving up.
        first: Longest pause after the first failure; doubled after each further one.
        longest: Longest pause of all.

    Source:
        "Exponential backoff and jitter", AWS Architecture Blog, "full jitter": the pause is
        drawn evenly between nothing and the longest, so that many writers do not return at once.
    """

    total: timedelta = timedelta(minutes=5)
    first: timedelta = timedelta(milliseconds=200)
    longest: timedelta = timedelta(seconds=20)


class RetryingStore:
    """``store``, asked again while its errors are ``transient``.

    A full store is not asked again: nobody frees space within minutes, and the run should say so.

    Args:
        store: What to ask.
        clock: Measures and waits.
        rng: Draws the pauses.
        patience: When to give up.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        clock: Clock,
        rng: random.Random,
        patience: Patience | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._patience = patience or Patience()

    @property
    def location(self) -> str:
        """Where the store is."""
        return self._store.location

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data``; the same bytes may go out several times."""
        self._again(lambda: self._store.put(key, data))

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` under a free name, asking exactly once."""
        self._store.create(key, data)

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return a span."""
        return self._again(lambda: self._store.get(key, offset=offset, length=length))

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        """Fill ``into``."""
        self._again(lambda: self._store.read_into(key, into, offset=offset))

    def info(self, key: str) -> ObjectInfo:
        """Describe one object."""
        return self._again(lambda: self._store.info(key))

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects; a listing that breaks off goes on after its last key.

        Raises:
            StorageError: The last failure.
        """
        trial = self._trial()
        while True:
            try:
                for entry in self._store.entries(prefix, start_after=start_after):
                    start_after = entry.key
                    trial = self._trial()
                    yield entry
            except StorageError as error:
                if not trial.wait(error):
                    raise
            else:
                return

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._again(lambda: self._store.delete(key))

    def _again(self, call: Callable[[], T]) -> T:
        trial = self._trial()
        while True:
            try:
                return call()
            except StorageError as error:
                if not trial.wait(error):
                    raise

    def _trial(self) -> "_Trial":
        return _Trial(self._clock, self._rng, self._patience)


class _Trial:
    """One call that may fail several times."""

    def __init__(self, clock: Clock, rng: random.Random, patience: Patience) -> None:
        self._clock = clock
        self._rng = rng
        self._patience = patience
        self._pause_s = patience.first.total_seconds()
        self._until: float | None = None

    def wait(self, error: StorageError) -> bool:
        """Pause after ``error``; return false, at once, when trying again is no use."""
        if not error.transient:
            return False
        now = self._clock.monotonic()
        if self._until is None:
            self._until = now + self._patience.total.total_seconds()
        pause_s = self._rng.uniform(0, self._pause_s)
        if now + pause_s > self._until:
            return False
        self._pause_s = min(self._pause_s * 2, self._patience.longest.total_seconds())
        self._clock.sleep(pause_s)
        return True
