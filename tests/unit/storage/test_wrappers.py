"""The wrappers around stores: bandwidth, counting, trying again."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from doubles.clock import FakeClock
from doubles.stores import FlakyStore, MemoryStore
from drkeeper.clock import StoppedError, SystemClock
from drkeeper.errors import (
    IntegrityError,
    NoSpaceError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageUnavailableError,
)
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.counting import CountingStore
from drkeeper.storage.limited import LimitedStore, Rate
from drkeeper.storage.retrying import Patience, RetryingStore

BUSY = StorageUnavailableError("busy")


def retrying(inner: ObjectStore, clock: FakeClock, **patience: timedelta) -> RetryingStore:
    return RetryingStore(inner, clock=clock, rng=random.Random(7), patience=Patience(**patience))


CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda store: store.put("b", b"new"),
    "get": lambda store: store.get("a"),
    "read_into": lambda store: store.read_into("a", memoryview(bytearray(3))),
    "info": lambda store: store.info("a").stored_bytes,
    "delete": lambda store: store.delete("a"),
}


@pytest.mark.parametrize("operation", sorted(CALLS))
@pytest.mark.parametrize("after_apply", [True, False], ids=["done", "undone"])
def test_passing_troubles_are_ridden_out(operation: str, *, after_apply: bool) -> None:
    """What may work later is asked again, with growing pauses, and its answer is the answer."""
    flaky, clock = FlakyStore(MemoryStore()), FakeClock()
    flaky.inner.put("a", b"old")
    flaky.fail(operation, BUSY, after_apply=after_apply, times=3)
    answer = CALLS[operation](retrying(flaky, clock))
    assert len(flaky.calls) == 4
    assert len(clock.slept) == 3
    assert answer == {"get": b"old", "info": 3}.get(operation)


@pytest.mark.parametrize(
    "error",
    [
        StorageDeniedError("no"),
        ObjectNotFoundError("none"),
        NoSpaceError("full"),
        IntegrityError("bad"),
        RuntimeError("defect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_will_not_pass_is_reported_at_once(error: Exception) -> None:
    """Errors that need a human, or show a defect, are not asked again."""
    flaky, clock = FlakyStore(MemoryStore()), FakeClock()
    flaky.fail("get", error)
    with pytest.raises(type(error)):
        retrying(flaky, clock).get("a")
    assert clock.slept == []


def test_creation_is_asked_exactly_once() -> None:
    """An unclear creation is the caller's to resolve: repeating it would hide who won."""
    flaky, clock = FlakyStore(MemoryStore()), FakeClock()
    flaky.fail("create", BUSY, after_apply=True)
    with pytest.raises(StorageUnavailableError):
        retrying(flaky, clock).create("a", b"x")
    assert flaky.calls == [("create", "a")]
    assert clock.slept == []


@given(
    seed=st.integers(0, 1000),
    total=st.floats(0, 60),
    first=st.floats(0.5, 5),
    longest=st.floats(0.5, 60),
)
def test_patience_has_an_end(seed: int, total: float, first: float, longest: float) -> None:
    """Pauses stay within their bounds, and all of them together within the patience."""
    flaky, clock = FlakyStore(MemoryStore()), FakeClock()
    flaky.fail("get", BUSY, times=2_000)
    patience = Patience(*(timedelta(seconds=each) for each in (total, first, longest)))
    store = RetryingStore(flaky, clock=clock, rng=random.Random(seed), patience=patience)
    with pytest.raises(StorageUnavailableError):
        store.get("a")
    assert sum(clock.slept) <= total + 0.001
    assert all(pause <= max(first, longest) + 0.001 for pause in clock.slept)


def test_listing_goes_on_after_its_last_key() -> None:
    """A listing that breaks off again and again yields every key once, in order."""
    flaky, clock = FlakyStore(MemoryStore()), FakeClock()
    for key in "abcdef":
        flaky.inner.put(key, b"x")
    flaky.fail("entries", BUSY, times=4)
    assert [entry.key for entry in retrying(flaky, clock).entries()] == list("abcdef")
    assert [after for _, after in flaky.calls] == ["", "a", "b", "c", "d"]


def test_listing_without_progress_gives_up() -> None:
    """A listing that never yields anything ends with its error."""
    flaky, clock = FlakyStore(MemoryStore()), FakeClock()
    flaky.inner.put("a", b"x")
    flaky.fail("entries", StorageDeniedError("no"))
    with pytest.raises(StorageDeniedError):
        list(retrying(flaky, clock).entries())


def test_bandwidth_is_kept_on_average() -> None:
    """Ten objects of 1,000 bytes at 1,000 bytes a second take nine seconds before the last."""
    clock = FakeClock()
    store = LimitedStore(MemoryStore(), up=Rate(1000, clock), down=Rate(500, clock))
    for number in range(10):
        store.put(f"a{number}", bytes(1000))
    assert sum(clock.slept) == pytest.approx(9)
    clock.slept.clear()
    clock.advance(timedelta(seconds=60))  # idle time is not saved up
    store.get("a0")  # length unknown before, so it is paid for by the next
    store.get("a1", length=500)
    store.read_into("a2", memoryview(bytearray(1000)))
    assert sum(clock.slept) == pytest.approx(2 + 1)


def test_up_and_down_are_apart_and_other_requests_free() -> None:
    """A limit in one direction does not slow the other, nor listings and deletions."""
    clock = FakeClock()
    store = LimitedStore(MemoryStore(), up=Rate(1, clock), down=Rate(None, clock))
    store.create("a", b"x" * 100)
    for _ in range(5):
        store.get("a")
        store.info("a")
        list(store.entries())
    store.delete("a")
    assert clock.slept == []
    store.put("b", b"")
    assert sum(clock.slept) == pytest.approx(100)


def test_what_decides_does_not_wait_for_packs() -> None:
    """An entry of the journal is created at once, whatever was uploaded before, and is paid for."""
    clock = FakeClock()
    store = LimitedStore(MemoryStore(), up=Rate(1, clock), down=Rate(None, clock))
    store.put("pack", b"x" * 100)
    store.create("entry", b"y" * 10)
    assert clock.slept == []
    store.put("next", b"")
    assert sum(clock.slept) == pytest.approx(110)


def test_a_limit_that_is_lifted_holds_nobody_up() -> None:
    """Those who wait already go on within a second, and nobody waits any more."""

    class Lifting(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if sum(self.slept) >= 30:
                wishes.append("end")

    wishes: list[str] = []
    clock = Lifting()
    up = Rate(1, clock, lifted=lambda: bool(wishes))
    store = LimitedStore(MemoryStore(), up=up, down=Rate(None, clock))
    for number in range(5):
        store.put(f"a{number}", bytes(100))
    assert 30 <= sum(clock.slept) <= 31


@pytest.mark.parametrize("rate", [0, -1])
def test_rates_must_be_positive(rate: float) -> None:
    """A rate of nothing would wait for ever."""
    with pytest.raises(ValueError, match="rate"):
        Rate(rate, FakeClock())


def test_threads_share_a_rate() -> None:
    """Threads together get the bandwidth, not each of them."""
    clock = FakeClock()
    began = clock.monotonic()
    store = LimitedStore(MemoryStore(), up=Rate(1000, clock), down=Rate(None, clock))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: store.put(f"a{n}", bytes(100)), range(40)))
    store.put("last", b"")
    assert clock.monotonic() - began >= 4 - 0.001


def test_everything_is_counted() -> None:
    """Requests by operation, failures too, and the bytes that really passed."""
    store = CountingStore(MemoryStore())
    store.put("a", b"12345")
    store.create("b", memoryview(b"123"))
    store.get("a")
    store.get("a", offset=1, length=2)
    store.read_into("b", memoryview(bytearray(3)))
    store.info("a")
    assert len(list(store.entries())) == 2
    store.delete("a")
    with pytest.raises(ObjectNotFoundError):
        store.get("a")
    counts = store.snapshot()
    assert counts.requests == {
        "put": 1, "create": 1, "get": 3, "read_into": 1, "info": 1, "entries": 1, "delete": 1,
    }  # fmt: skip
    assert counts.failures == {"get": 1}
    assert (counts.bytes_up, counts.bytes_down) == (8, 10)
    assert store.location == "memory:"


def test_counting_is_exact_with_threads() -> None:
    """No request is lost when threads count at once, and a snapshot does not change later."""
    store = CountingStore(MemoryStore())
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: store.put(f"a{n}", b"xy"), range(500)))
    counts = store.snapshot()
    store.put("more", b"x")
    assert (counts.requests["put"], counts.bytes_up) == (500, 1000)


@pytest.mark.parametrize("wrap", ["limited", "retrying"])
def test_nothing_is_sent_by_who_is_woken_to_end(wrap):
    """When the run ends, an upload that waits for the limit or to try again is given up at once, and
    what the main thread still has to say gets through.
    """
    clock, store, ended = SystemClock(), MemoryStore(), []
    if wrap == "limited":
        wrapped = LimitedStore(store, up=Rate(0.01, clock), down=Rate(None, clock))
        wrapped.put("first", b"1")
    else:
        inner = FlakyStore(store)
        inner.fail("put", BUSY, times=10)
        patience = Patience(timedelta(hours=1), timedelta(hours=1), timedelta(hours=1))
        wrapped = RetryingStore(inner, clock=clock, rng=random.Random(1), patience=patience)

    def upload() -> None:
        try:
            wrapped.put("second", b"2")
        except StoppedError as error:
            ended.append(error)

    threads = [threading.Thread(target=upload) for _ in range(3)]
    for thread in threads:
        thread.start()
    clock.stop()
    for thread in threads:
        thread.join(20)
    assert len(ended) == 3
    wrapped.create("journal", b"abort")
    clock.sleep(0)
    assert store.get("journal") == b"abort"
    with pytest.raises(ObjectNotFoundError):
        store.get("second")
