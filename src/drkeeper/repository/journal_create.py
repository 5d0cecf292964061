"""Creating an object, such as a journal entry, so that it is known whether it was done.

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
    return create_once(store, clock, entry_name(n), data, what=f"journal entry {n}")


def create_once(store: ObjectStore, clock: Clock, name: str, data: bytes, *, what: str) -> bool:
    """Create an object unless it exists; tell whether it is ours, however often asked.

    Args:
        store: Where.
        clock: Waits after unclear answers.
        name: Of the object.
        data: Its bytes; nobody else could have made the same.
        what: What it is, for people.

    Raises:
        StorageUnavailableError: It is unclear whether it was created.
    """
    wait = _FIRST_WAIT_S
    unclear: StorageError | None = None
    for _ in range(_ATTEMPTS):
        try:
            return _create(store, name, data)
        except (StorageUnavailableError, ObjectNotFoundError) as error:
            unclear = error
        point("repository.journal_create.unclear")
        try:
            return _holds(store, name, data)
        except (StorageUnavailableError, ObjectNotFoundError):
            clock.sleep(wait)
            wait *= 2
    raise StorageUnavailableError(
        f"it is unclear whether {what} was created",
        hint="Try again when the store answers; nothing will be done twice.",
    ) from unclear


def _create(store: ObjectStore, name: str, data: bytes) -> bool:
    try:
        point("repository.journal_create.create")
        store.create(name, data)
    except ObjectExistsError:
        # Perhaps by us: a reply may have been lost below, and the request repeated there.
        return _holds(store, name, data)
    point("repository.journal_create.created")
    return True


def _holds(store: ObjectStore, name: str, data: bytes) -> bool:
    """Tell whether entry object ``n`` has these bytes; one that is not there yet is an error."""
    if store.info(name).stored_bytes != len(data):
        return False
    return store.get(name, length=len(data)) == data
