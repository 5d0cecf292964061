"""Small repositories for tests: made once per process, copied as often as needed."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from doubles.memory_store import MemoryStore
from drkeeper.repository.commit import CommitDraft, Counts
from drkeeper.repository.creation import NewRepository, create_repository
from drkeeper.repository.journal import Journal
from drkeeper.repository.journal_entry import entry_name, write_entry
from drkeeper.repository.places import Codec, Place
from drkeeper.repository.repository import Repository, open_repository
from drkeeper.storage.base import ObjectStore


class SteppingClock:
    """A clock that moves a second with each look, and never really sleeps."""

    def __init__(self, start: datetime = datetime(2026, 11, 21, tzinfo=UTC)) -> None:
        self._now = start
        self.slept: list[float] = []

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def monotonic(self) -> float:
        return self.now().timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Fixture:
    """A repository with nothing but entry 1, and all its keys."""

    store: MemoryStore
    keys: NewRepository

    def open(self, store: ObjectStore | None = None, **options: object) -> Repository:
        """Open it with the verifier's identity, trusting its admin."""
        return open_repository(
            self.store if store is None else store,
            clock=SteppingClock(),
            identities=self.keys.verifier.identities,
            admins=self.keys.admins,
            **options,
        )

    def journal(self, store: ObjectStore | None = None, **options: object) -> Journal:
        """Return its journal, not yet read."""
        return Journal(
            self.store if store is None else store,
            self.keys.id,
            admins=self.keys.admins,
            clock=SteppingClock(),
            **options,
        )

    def forge(self, n: int, op: str, body: dict, **changes: object) -> bytes:
        """Return the bytes of an entry that claims whatever it is told to claim."""
        facts = {
            "repository": self.keys.id,
            "prev": bytes(32),
            "at": datetime(2026, 11, 21, tzinfo=UTC),
            "signer": self.keys.host.signing_key,
        } | changes
        return write_entry(n=n, op=op, body=body, **facts)


@cache
def _made() -> tuple[MemoryStore, NewRepository]:
    store = MemoryStore()
    return store, create_repository(store, clock=SteppingClock(), save=lambda _keys: None)


def new_repository() -> Fixture:
    """Return a fresh copy of a repository that nothing has been written to."""
    store, keys = _made()
    return Fixture(store.copy(), keys)


def place(session: bytes) -> Place:
    """Return a place that nothing is at."""
    return Place(session, os.urandom(16), 0, 5, 5, Codec.RAW, os.urandom(32))


def draft(session: bytes, *, complete: bool = True, **changes: object) -> CommitDraft:
    """Return what a writer would say of a snapshot."""
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    facts = {
        "consistent_at": at,
        "finished_at": at,
        "next_due": at + timedelta(days=1),
        "complete": complete,
        "consistency": "crash",
        "root": place(session),
        "refs": place(session),
        "inventory_k": 1,
        "inventory_digest": bytes(32),
        "counts": Counts(1, 2, 3, 4),
    } | changes
    return CommitDraft(**facts)


def entry_count(store: MemoryStore) -> int:
    """Return how many objects are in the journal, after making sure that none is missing."""
    names = sorted(name for name in store.objects if name.startswith("journal/"))
    assert names == [entry_name(n) for n in range(1, len(names) + 1)]
    return len(names)
