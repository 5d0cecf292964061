"""The journal as objects in a store: which numbers exist, and their bytes; nothing is believed.

Sizes are known before anything is read, so that a huge object at a journal number costs a
request and no memory.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from drkeeper.errors import ObjectNotFoundError
from drkeeper.faults import point
from drkeeper.repository.journal_entry import (
    JOURNAL_PREFIX,
    MAX_ENTRY_BYTES,
    entry_name,
    entry_number,
)
from drkeeper.storage.base import ObjectStore

_THREADS: Final = 16
"""Requests in flight when much is read: hides the latency of a remote store."""

_WINDOW: Final = 256
_WINDOW_BYTES: Final = 64 * 1024 * 1024
"""Most entries, and most bytes of them, held while they wait for their turn."""

_PARALLEL_FROM: Final = 8
"""Fewer entries than this are read faster without threads."""

MAX_NUMBER: Final = 10**16 - 1


@dataclass(frozen=True, slots=True)
class EntryObject:
    """An object with the name of a journal entry.

    Attributes:
        n: The number in its name.
        stored_bytes: Its length.
    """

    n: int
    stored_bytes: int


class JournalObjects:
    """Reads the objects of the journal of one store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def find(self, n: int) -> EntryObject | None:
        """Return entry object ``n``, or ``None`` when there is none."""
        point("repository.journal_objects.find")
        try:
            info = self._store.info(entry_name(n))
        except ObjectNotFoundError:
            return None
        return EntryObject(n, info.stored_bytes)

    def find_all(self, numbers: Sequence[int]) -> list[EntryObject | None]:
        """Return entry objects in the order of ``numbers``, asking for many at a time."""
        if len(numbers) < _PARALLEL_FROM:
            return [self.find(n) for n in numbers]
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="journal") as pool:
            return list(pool.map(self.find, numbers))

    def listed(self, after: int) -> list[EntryObject]:
        """Return every entry object with a number above ``after``, ascending."""
        point("repository.journal_objects.list")
        found = self._store.entries(JOURNAL_PREFIX, start_after=entry_name(after))
        numbered = ((entry_number(info.key), info.stored_bytes) for info in found)
        return [EntryObject(n, length) for n, length in numbered if n is not None]

    def read(self, item: EntryObject) -> bytes | None:
        """Return the bytes of an entry object; ``None`` when it is too large to be one.

        Raises:
            ObjectNotFoundError: It is gone.
            StorageError: It is shorter than it was, or the store refused.
        """
        if item.stored_bytes > MAX_ENTRY_BYTES:
            return None
        return self._store.get(entry_name(item.n), length=item.stored_bytes)

    def read_all(self, items: Sequence[EntryObject]) -> Iterator[tuple[EntryObject, bytes | None]]:
        """Yield (object, bytes) in the order given, reading ahead with threads."""
        if len(items) < _PARALLEL_FROM:
            for item in items:
                yield item, self.read(item)
            return
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="journal") as pool:
            for window in _windows(items):
                point("repository.journal_objects.window")
                yield from zip(window, pool.map(self.read, window), strict=True)

    def find_end(self) -> int:
        """Return a number n so that entry n exists and n+1 does not, or 0; by few requests.

        With holes in the journal it is the end before one of them; a listing decides.

        Source:
            docs/format.md 3.4.
        """
        low, high = 0, 1
        while high < MAX_NUMBER and self.find(high) is not None:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self.find(middle) is None:
                high = middle
            else:
                low = middle
        return low


def _windows(items: Sequence[EntryObject]) -> Iterator[list[EntryObject]]:
    window: list[EntryObject] = []
    held = 0
    for item in items:
        length = min(item.stored_bytes, MAX_ENTRY_BYTES)
        if window and (len(window) == _WINDOW or held + length > _WINDOW_BYTES):
            yield window
            window, held = [], 0
        window.append(item)
        held += length
    if window:
        yield window
