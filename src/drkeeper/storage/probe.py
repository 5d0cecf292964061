"""Find out what a store really does, before anything is trusted to it.

Stores that speak S3 differ: some let several writers win the same conditional create, some
ignore it, some ignore checksums or byte ranges. So drkeeper asks, with objects of its own
below ``probe/``, and removes them again. Ask the adapter itself, not a wrapper that retries.
"""

import json
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from drkeeper.clock import Clock
from drkeeper.errors import (
    DrkeeperError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)
from drkeeper.faults import point
from drkeeper.storage.base import ObjectStore

RACERS = 8
ROUNDS = 6
"""Source: OpenStack Swift's S3 layer let 1 to 5 of 8 racers win within ten rounds; with six,
a store that lets a second one in every other time escapes once in 64 probes."""

LISTED = 7
PAGE_OBJECTS = 3
BODY_BYTES = 70_001
"""Longer than one read of a socket, and no multiple of anything."""


class Extras(Protocol):
    """What only some stores can be asked."""

    def now(self) -> datetime | None:
        """Return the store's own time, to the second, or ``None`` when it does not tell."""
        ...

    def keeps_versions(self) -> bool | None:
        """Tell whether overwritten and deleted objects are kept; ``None`` when not told."""
        ...

    def locks_objects(self) -> bool | None:
        """Tell whether objects can be locked against deletion; ``None`` when not told."""
        ...

    def refused_checksums(self, key: str, data: bytes) -> tuple[str, ...]:
        """Return the kinds of checksums that are taken when right and refused when wrong."""
        ...

    def paged(self, prefix: str, *, page_objects: int) -> list[str]:
        """Return the keys of a listing that is asked for in small pages."""
        ...


@runtime_checkable
class HasExtras(Protocol):
    """A store that can be asked more than the port says."""

    def extras(self) -> Extras:
        """Return what answers."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store did when it was asked.

    Attributes:
        probed_at: When, by this machine's clock.
        round_trip: Objects, also empty ones, come back byte for byte.
        ranges: Spans of objects come back exactly, and spans beyond the end are refused.
        listing: Listings are complete and in order, also over several pages.
        exclusive_create: Exactly one of several racing creations wins, every time.
        deletes: Deleted objects are gone; false where a lock keeps them.
        checksums: Kinds of checksums that the store compares; empty when it ignores them.
        clock_skew_s: The store's time minus this machine's; ``None`` when not told.
        versions: Overwritten and deleted objects are kept; ``None`` when not told.
        object_lock: Objects can be locked; ``None`` when not told.
        problems: What to tell the owner of the store, one sentence each.
    """

    probed_at: datetime
    round_trip: bool
    ranges: bool
    listing: bool
    exclusive_create: bool
    deletes: bool
    checksums: tuple[str, ...] = ()
    clock_skew_s: float | None = None
    versions: bool | None = None
    object_lock: bool | None = None
    problems: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a repository may live here at all."""
        return self.round_trip and self.ranges and self.listing

    @property
    def safe_for_several_writers(self) -> bool:
        """Whether the journal's compare-and-swap holds; without it, one writer only."""
        return self.usable and self.exclusive_create

    def to_json(self) -> str:
        """Return one line of JSON, keys sorted."""
        values = asdict(self) | {"probed_at": self.probed_at.isoformat()}
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Capabilities":
        """Return what ``to_json`` was made of; unknown keys are left out.

        Raises:
            StorageError: The text is something else.
        """
        try:
            values = json.loads(text)
            known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
            known["probed_at"] = datetime.fromisoformat(known["probed_at"])
            known["checksums"] = tuple(map(str, known.get("checksums", ())))
            known["problems"] = tuple(map(str, known.get("problems", ())))
            _check_types(known)
            return cls(**known)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise StorageError("not a record of capabilities") from error


def _check_types(known: dict[str, object]) -> None:
    for name in ("round_trip", "ranges", "listing", "exclusive_create", "deletes"):
        if not isinstance(known[name], bool):
            raise TypeError(name)
    for name in ("versions", "object_lock"):
        if not isinstance(known.get(name), bool | None):
            raise TypeError(name)
    skew = known.get("clock_skew_s")
    if isinstance(skew, bool) or not isinstance(skew, int | float | None):
        raise TypeError("clock_skew_s")


def probe(store: ObjectStore, *, clock: Clock) -> Capabilities:
    """Ask ``store`` what it does; takes about a hundred small requests.

    Raises:
        StorageDeniedError: The credentials or rights do not suffice.
        StorageUnavailableError: It does not answer.
        StorageError: It does not even store an object.
        NoSpaceError: It is full.
    """
    probing = _Probing(store, clock)
    point("storage.probe.begin")
    try:
        return probing.run()
    finally:
        # Also after a failure; what cannot be removed then is named by the first error.
        with suppress(DrkeeperError):
            probing.clear()
        point("storage.probe.end")


class _Probing:
    """One probe: its own corner of the store, and what it found wrong."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._corner = f"probe/{secrets.token_hex(16)}/"
        self._problems: list[str] = []

    def run(self) -> Capabilities:
        store, body = self._store, secrets.token_bytes(BODY_BYTES)
        key = f"{self._corner}body"
        store.put(key, body)
        round_trip = self._judged("objects do not come back as they were", self._returns, key, body)
        ranges = self._judged("byte ranges are wrong or ignored", self._cuts, key, body)
        listing = self._judged("listings are incomplete or out of order", self._lists)
        exclusive = self._judged(
            "several writers can create the same object: one writer only", self._races
        )
        checksums, versions, locks = self._extras()
        return Capabilities(
            probed_at=self._clock.now(),
            round_trip=round_trip,
            ranges=ranges,
            listing=listing,
            exclusive_create=exclusive,
            deletes=self._judged("deleted objects stay", self._deletes, key),
            checksums=checksums,
            clock_skew_s=self._skew(key, body),
            versions=versions,
            object_lock=locks,
            problems=tuple(self._problems),
        )

    def clear(self) -> None:
        """Remove everything below the corner; some stores hide an object that others deleted."""
        for entry in list(self._store.entries(self._corner)):
            self._store.delete(entry.key)

    def _judged(self, problem: str, question: Callable[..., bool], *given: object) -> bool:
        try:
            good = question(*given)
        except StorageUnavailableError:
            raise  # no answer is not an answer
        except StorageDeniedError:
            if question != self._deletes:  # which a machine that only writes may not do
                raise
            good = False
        except StorageError:
            good = False
        if not good:
            self._problems.append(problem)
        return good

    def _returns(self, key: str, body: bytes) -> bool:
        empty = f"{self._corner}empty"
        self._store.put(empty, b"")
        lengths = [self._store.info(each).stored_bytes for each in (key, empty)]
        # With lengths, so that a store that lies cannot fill the memory.
        read = [self._store.get(key, length=len(body)), self._store.get(empty, length=0)]
        return lengths == [len(body), 0] and read == [body, b""]

    def _cuts(self, key: str, body: bytes) -> bool:
        into = bytearray(1000)
        self._store.read_into(key, memoryview(into), offset=BODY_BYTES - 1000)
        good = into == body[-1000:] and self._store.get(key, offset=1, length=99) == body[1:100]
        try:
            self._store.get(key, offset=BODY_BYTES - 10, length=11)
        except ObjectNotFoundError:
            return False
        except StorageUnavailableError:
            raise
        except StorageError:
            return good
        return False

    def _lists(self) -> bool:
        # The names tell a listing in byte order from one that sorts by words or by folders.
        at = f"{self._corner}list"
        keys = [f"{at}-a", f"{at}.b", *(f"{at}/{n}" for n in range(LISTED - 3)), f"{at}0"]
        for key in reversed(keys):
            self._store.put(key, b"x")
        whole = [entry.key for entry in self._store.entries(at)]
        rest = [entry.key for entry in self._store.entries(at, start_after=keys[2])]
        return whole == keys and rest == keys[3:] and self._pages(at) in (None, keys)

    def _pages(self, prefix: str) -> list[str] | None:
        if not isinstance(self._store, HasExtras):
            return None
        return self._store.extras().paged(prefix, page_objects=PAGE_OBJECTS)

    def _races(self) -> bool:
        with ThreadPoolExecutor(RACERS) as threads:
            return all(self._race(threads, f"{self._corner}race-{n}") for n in range(ROUNDS))

    def _race(self, threads: ThreadPoolExecutor, key: str) -> bool:
        together = threading.Barrier(RACERS)

        def run(body: bytes) -> bool | None:
            together.wait()
            try:
                self._store.create(key, body)
            except ObjectExistsError:
                return False
            except StorageUnavailableError:
                return None  # unclear: the content decides
            return True

        bodies = [secrets.token_bytes(64) for _ in range(RACERS)]
        won = dict(zip(bodies, threads.map(run, bodies), strict=True))
        content = self._store.get(key)
        winners = sum(result is True for result in won.values())
        return won.get(content) is not False and content in won and winners <= 1

    def _extras(self) -> tuple[tuple[str, ...], bool | None, bool | None]:
        if not isinstance(self._store, HasExtras):
            return (), None, None
        extras = self._store.extras()
        refused = extras.refused_checksums(f"{self._corner}checksum", b"drkeeper")
        return refused, extras.keeps_versions(), extras.locks_objects()

    def _deletes(self, key: str) -> bool:
        self._store.delete(key)
        self._store.delete(key)
        try:
            self._store.info(key)
        except ObjectNotFoundError:
            return key not in [entry.key for entry in self._store.entries(self._corner)]
        return False

    def _skew(self, key: str, body: bytes) -> float | None:
        """Return the store's time minus ours, as far as both can be told."""
        before = self._clock.now()
        if isinstance(self._store, HasExtras):
            theirs = self._store.extras().now()
            if theirs is None:
                return None
            theirs += timedelta(seconds=0.5)  # told in whole seconds, cut off
        else:
            self._store.put(key, body)
            theirs = self._store.info(key).modified_at
        middle = before + (self._clock.now() - before) / 2
        return round((theirs - middle).total_seconds(), 1)
