"""The promises of ``drkeeper.storage.base.ObjectStore``, asked of every adapter."""

import mmap
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from drkeeper.errors import ObjectExistsError, ObjectNotFoundError, StorageError
from drkeeper.storage.base import ObjectStore

ILLEGAL = [
    "", "/", "a/", "/a", "a//b", "..", "../a", "a/..", "a/../b", ".", "a/./b", "A", "a b", "a\n",
    "a\x00b", "é", "a\\b", "+tmp", "+tmp/x", "a" * 256, "a/" * 256 + "a", "*", "a?b", "a%2fb",
]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 4096, 70_001, (5 << 20) + 13])
def test_object_comes_back_byte_for_byte(store: ObjectStore, size: int) -> None:
    """What was put, and what was created, is read back exactly, whatever its length."""
    data = os.urandom(size)
    store.put("packs/ab/one", data)
    store.create("packs/ab/two", data)
    assert store.get("packs/ab/one") == data
    assert store.get("packs/ab/two") == data
    assert store.info("packs/ab/one").stored_bytes == size


def test_any_buffer_can_be_stored(store: ObjectStore) -> None:
    """bytes, bytearray and memoryview, also of mapped memory and of a part of it, are stored."""
    mapped = mmap.mmap(-1, 3 << 20)
    mapped.write(os.urandom(3 << 20))
    view = memoryview(mapped)
    store.put("a", bytearray(b"array"))
    store.create("b", memoryview(b"a view")[2:])
    store.put("c", view)
    store.put("d", view[5 : (2 << 20) + 7])
    store.put("e", view.toreadonly()[: 2 << 20])
    assert (store.get("a"), store.get("b")) == (b"array", b"view")
    assert store.get("c") == mapped[:]
    assert store.get("d") == mapped[5 : (2 << 20) + 7]
    assert store.get("e") == mapped[: 2 << 20]


def test_putting_the_same_bytes_again_is_harmless(store: ObjectStore) -> None:
    """A put may be repeated, as after an unclear answer."""
    for _ in range(3):
        store.put("packs/x", b"same" * 1000)
    assert store.get("packs/x") == b"same" * 1000


def test_create_refuses_a_taken_name_and_changes_nothing(store: ObjectStore) -> None:
    """Creation is exclusive, whether the name was taken by a put or a create."""
    store.put("a", b"first")
    store.create("b", b"first")
    for key in "ab":
        with pytest.raises(ObjectExistsError):
            store.create(key, b"second")
        with pytest.raises(ObjectExistsError):
            store.create(key, b"first")
        assert store.get(key) == b"first"


def test_one_of_racing_creations_wins(store: ObjectStore) -> None:
    """Of 8 threads that create one name at once, exactly one succeeds, and its bytes are there."""
    with ThreadPoolExecutor(8) as threads:
        for number in range(10):
            key, together = f"journal/{number:016d}", threading.Barrier(8)

            def run(who: int, key: str = key, together: threading.Barrier = together) -> int | None:
                together.wait()
                try:
                    store.create(key, b"%d" % who * 100)
                except ObjectExistsError:
                    return None
                return who

            winners = [who for who in threads.map(run, range(8)) if who is not None]
            assert len(winners) == 1
            assert store.get(key) == b"%d" % winners[0] * 100


@pytest.mark.parametrize(
    ("offset", "length", "wanted"),
    [
        (0, None, slice(0, None)),
        (0, 1, slice(0, 1)),
        (1, 3, slice(1, 4)),
        (9_999, 1, slice(9_999, None)),
        (4_096, 4_096, slice(4_096, 8_192)),
        (7, None, slice(7, None)),
        (0, 10_000, slice(0, None)),
        (5, 0, slice(0, 0)),
        (10_000, None, slice(0, 0)),
        (20_000, None, slice(0, 0)),
    ],
)
def test_get_returns_the_span(
    store: ObjectStore, offset: int, length: int | None, wanted: slice
) -> None:
    """A span comes back exactly; beyond the end without a length there is nothing."""
    data = os.urandom(10_000)
    store.put("a", data)
    assert store.get("a", offset=offset, length=length) == data[wanted]


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (9, 2), (10, 1), (50, 1), (50, 1 << 16)])
def test_span_beyond_the_end_is_refused(store: ObjectStore, offset: int, length: int) -> None:
    """Fewer bytes than asked for are never returned, and asking again is pointless."""
    store.put("a", b"0123456789")
    for read in (
        lambda: store.get("a", offset=offset, length=length),
        lambda: store.read_into("a", memoryview(bytearray(length)), offset=offset),
    ):
        with pytest.raises(StorageError) as caught:
            read()
        assert not isinstance(caught.value, ObjectNotFoundError)
        assert not caught.value.transient


def test_negative_spans_are_refused(store: ObjectStore) -> None:
    """A negative offset or length is an error, not a count from the end."""
    store.put("a", b"0123456789")
    with pytest.raises(StorageError):
        store.get("a", offset=-1)
    with pytest.raises(StorageError):
        store.get("a", length=-1)
    with pytest.raises(StorageError):
        store.read_into("a", memoryview(bytearray(1)), offset=-1)


def test_absent_object_is_not_found(store: ObjectStore) -> None:
    """Every way of reading says so, also when a similar name exists."""
    store.put("a/b", b"x")
    for key in ("b", "a", "a/c", "a/b/c", "a/bb"):
        for read in (
            lambda key=key: store.get(key),
            lambda key=key: store.get(key, length=0),
            lambda key=key: store.get(key, offset=3, length=5),
            lambda key=key: store.read_into(key, memoryview(bytearray(1))),
            lambda key=key: store.info(key),
        ):
            with pytest.raises(ObjectNotFoundError):
                read()


def test_read_into_fills_the_buffer(store: ObjectStore) -> None:
    """The span lands in the caller's memory, exactly, and nothing beside it changes."""
    data = os.urandom((3 << 20) + 100)
    store.put("a", data)
    mapped = mmap.mmap(-1, 4 << 20)
    view = memoryview(mapped)
    for offset in (0, 1, 4096, 1 << 20):
        for size in (0, 1, 5000, 1 << 20, (2 << 20) + 5):
            mapped[:] = bytes(len(mapped))
            store.read_into("a", view[:size], offset=offset)
            assert mapped[:size] == data[offset : offset + size]
            assert not any(mapped[size : size + 4096])


def test_info_tells_the_length_and_the_time(store: ObjectStore) -> None:
    """The time is aware, in UTC, and of now; listings say the same as a direct question."""
    store.put("a", b"12345")
    info = store.info("a")
    assert (info.key, info.stored_bytes) == ("a", 5)
    assert info.modified_at.utcoffset() == timedelta(0)
    assert abs(info.modified_at - datetime.now(UTC)) < timedelta(minutes=1)
    (listed,) = store.entries()
    assert (listed.key, listed.stored_bytes) == ("a", 5)
    assert abs(listed.modified_at - info.modified_at) <= timedelta(seconds=1)
    assert listed.modified_at.utcoffset() == timedelta(0)


KEYS = sorted([
    "a-b", "a.b", "a/b", "a/b-c", "a/b.c", "a/c/d", "a0", "a_", "aa", "b/-", "b/.x", "b/0",
    "drkeeper.json", "journal/0000000000000001", "journal/0000000000000010", "z",
])  # fmt: skip


@pytest.fixture
def listed(store: ObjectStore) -> ObjectStore:
    for key in random.Random(1).sample(KEYS, len(KEYS)):
        store.put(key, key.encode())
    return store


def test_entries_are_listed_in_order(listed: ObjectStore) -> None:
    """Every key of a prefix is listed once, by its bytes: a folder's order is not enough."""
    for prefix in ("", "a", "a/", "a/b", "a/b-c", "b/", "journal/00", "x", "zz"):
        wanted = [key for key in KEYS if key.startswith(prefix)]
        assert [entry.key for entry in listed.entries(prefix)] == wanted


def test_listing_begins_after_a_key(listed: ObjectStore) -> None:
    """Only greater keys are listed, whether or not the key exists."""
    for prefix in ("", "a/", "b"):
        for after in ("", "a", "a/b", "a/b-", "a/zzz", "a.b", "b/", "journal/5", "z"):
            wanted = [key for key in KEYS if key.startswith(prefix) and key > after]
            assert [entry.key for entry in listed.entries(prefix, start_after=after)] == wanted


def test_long_listing_is_complete(store: ObjectStore) -> None:
    """More objects than one page of S3 holds (1,000) are all listed, in order."""
    keys = [f"packs/{n % 16:02x}/{n:05d}" for n in range(1_003)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: store.put(key, b"x"), keys))
    assert [entry.key for entry in store.entries("packs/")] == sorted(keys)
    assert [entry.key for entry in store.entries(start_after=sorted(keys)[1])] == sorted(keys)[2:]


def test_listing_survives_deletions(listed: ObjectStore) -> None:
    """Objects may be deleted while a listing runs; what stays is listed."""
    seen = []
    for entry in listed.entries():
        seen.append(entry.key)
        listed.delete(entry.key)
    assert seen == KEYS
    assert list(listed.entries()) == []


def test_abandoned_listing_leaves_nothing_open(listed: ObjectStore) -> None:
    """A listing may be given up at any point."""
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        found = listed.entries("a")
        next(found)
        found.close()
    # A pooled connection may stay. A server in this process lets go of its end a little later.
    patience = time.monotonic() + 10
    while len(set(os.listdir("/proc/self/fd")) - before) > 1:
        assert time.monotonic() < patience
        time.sleep(0.01)


def test_deleted_object_is_gone(listed: ObjectStore) -> None:
    """A deleted object is neither found nor listed; its neighbours are; absent is harmless."""
    for _ in range(2):
        listed.delete("a/b")
        listed.delete("never/was")
    with pytest.raises(ObjectNotFoundError):
        listed.get("a/b")
    assert [entry.key for entry in listed.entries()] == [key for key in KEYS if key != "a/b"]
    listed.create("a/b", b"again")
    assert listed.get("a/b") == b"again"


def test_deleting_what_is_no_object_removes_nothing(listed: ObjectStore) -> None:
    """The common beginning of keys is not an object; deleting it leaves them alone."""
    listed.delete("a")
    listed.delete("a/c")
    listed.delete("a/b/c")
    assert [entry.key for entry in listed.entries()] == KEYS


def test_illegal_keys_are_refused(store: ObjectStore) -> None:
    """No operation takes a name that could mean a place outside the store or two things."""
    for key in ILLEGAL:
        for act in (
            lambda key=key: store.put(key, b"x"),
            lambda key=key: store.create(key, b"x"),
            lambda key=key: store.get(key),
            lambda key=key: store.get(key, length=1),
            lambda key=key: store.read_into(key, memoryview(bytearray(1))),
            lambda key=key: store.info(key),
            lambda key=key: store.delete(key),
        ):
            with pytest.raises(StorageError) as caught:
                act()
            assert not caught.value.transient
    assert list(store.entries()) == []


def test_illegal_prefixes_are_refused(store: ObjectStore) -> None:
    """A listing cannot be led out of the store."""
    for prefix in ("../", "A", "a b", "/", "a//", "é"):
        with pytest.raises(StorageError):
            list(store.entries(prefix))


@pytest.mark.parametrize(
    "key", ["a" * 255, "/".join(["abc"] * 128), "0", "-", "_.-", "a/" * 250 + "b"]
)
def test_extreme_keys_work(store: ObjectStore, key: str) -> None:
    """The shortest, longest and deepest legal names can be used like others."""
    store.create(key, b"x")
    assert store.get(key) == b"x"
    assert [entry.key for entry in store.entries()] == [key]
    store.delete(key)
    assert list(store.entries()) == []


def test_threads_share_one_store(store: ObjectStore) -> None:
    """Threads put, read, list and delete at once without disturbing one another."""

    def work(who: int) -> None:
        for turn in range(5):
            key, data = f"shared/{who % 3}/{who}-{turn}", os.urandom(1000)
            store.put(key, data)
            assert store.get(key) == data
            assert key in [entry.key for entry in store.entries("shared/")]
            store.delete(key)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert list(store.entries()) == []


def test_location_names_the_store_without_secrets(store: ObjectStore) -> None:
    """People can see where a store is; credentials are never part of it."""
    assert store.location.startswith(("file:///", "s3://", "memory:"))
    assert "@" not in store.location
    assert "secret" not in store.location.lower()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_store_behaves_as_a_dictionary(store: ObjectStore, seed: int) -> None:
    """After any sequence of operations, the store holds what a dictionary would."""
    rng, model = random.Random(seed), dict[str, bytes]()
    keys = ["a", "b/c", "b/d", "b/e/f", "b-", "c.d", "g/h"]
    for _ in range(60):
        key = rng.choice(keys)
        match rng.choice(["put", "create", "delete", "get", "list"]):
            case "put":
                model.setdefault(key, rng.randbytes(rng.choice([0, 10, 5000])))
                store.put(key, model[key])
            case "create" if key in model:
                with pytest.raises(ObjectExistsError):
                    store.create(key, b"other")
            case "create":
                model[key] = rng.randbytes(20)
                store.create(key, model[key])
            case "delete":
                model.pop(key, None)
                store.delete(key)
            case "get" if key in model:
                assert store.get(key) == model[key]
            case "get":
                with pytest.raises(ObjectNotFoundError):
                    store.get(key)
            case _:
                prefix = rng.choice(["", "b", "b/", key])
                wanted = sorted(each for each in model if each.startswith(prefix))
                assert [entry.key for entry in store.entries(prefix)] == wanted
    assert {entry.key: store.get(entry.key) for entry in store.entries()} == model
