"""Creating a journal entry object so that it is known whether it was done.

A reply can get lost: then the object is read, and bytes of one's own mean that it was created.
"""

from typing import Final

from drkeeper.clock import Clock
from drkeeper.errors import (
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from drkeeper.faults import point
from drkeeper.repository.journal_entry import entry_name
from drkeeper.storage.base import ObjectStore

_ATTEMPTS: Final = 6
_FIRST_WAIT_S: Final = 0.2
"""Waits after unclear answers double from here: 6 attempts take at least 6 s."""


def create_entry(store: ObjectStore, clock: Clock, n: int, data: bytes) -> bool:
    """Create entry object ``n`` unless it exists; tell whether it is ours, however often asked.

    Raises:
        StorageUnavailableError: It is unclear whether it was created.
    """
    wait = _FIRST_WAIT_S
    unclear: StorageError | None = None
    for _ in range(_ATTEMPTS):
        try:
            return _create(store, n, data)
        except (StorageUnavailableError, ObjectNotFoundError) as error:
            unclear = error
        point("repository.journal_create.unclear")
        try:
            return _holds(store, n, data)
        except (StorageUnavailableError, ObjectNotFoundError):
            clock.sleep(wait)
            wait *= 2
    raise StorageUnavailableError(
        f"it is unclear whether journal entry {n} was created",
        hint="Try again when the store answers; nothing will be done twice.",
    ) from unclear


def _create(store: ObjectStore, n: int, data: bytes) -> bool:
    try:
        point("repository.journal_create.create")
        store.create(entry_name(n), data)
    except ObjectExistsError:
        # Perhaps by us: a reply may have been lost below, and the request repeated there.
        return _holds(store, n, data)
    point("repository.journal_create.created")
    return True


def _holds(store: ObjectStore, n: int, data: bytes) -> bool:
    """Tell whether entry object ``n`` has these bytes; one that is not there yet is an error."""
    if store.info(entry_name(n)).stored_bytes != len(data):
        return False
    return store.get(entry_name(n), length=len(data)) == data
