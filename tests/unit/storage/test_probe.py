"""The capability probe finds out what a store really does."""

import json
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from doubles.clock import FakeClock
from doubles.s3chaos import S3Chaos
from doubles.stores import FlakyStore, MemoryStore
from drkeeper.clock import SystemClock
from drkeeper.errors import ObjectNotFoundError, StorageDeniedError, StorageError
from drkeeper.storage.base import ObjectInfo
from drkeeper.storage.folder import FolderStore
from drkeeper.storage.probe import Capabilities, probe
from drkeeper.storage.s3 import Checksum


@pytest.fixture(scope="module")
def chaos() -> Iterator[S3Chaos]:
    with S3Chaos() as server:
        yield server


def test_folder_can_do_everything_a_repository_needs(tmp_path) -> None:
    """A folder is safe for several writers, and the probe leaves nothing in it."""
    found = probe(FolderStore(tmp_path, create=True), clock=SystemClock())
    assert found.safe_for_several_writers
    assert found.deletes
    assert found.problems == ()
    assert abs(found.clock_skew_s or 0) < 5
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert [path.name for path in tmp_path.iterdir()] == ["+tmp"]


def test_strict_s3_is_recognised(chaos: S3Chaos) -> None:
    """Versions, locks and checksums of an S3 store are told, and nothing is left behind."""
    chaos.add_bucket("locked", object_lock=True)
    found = probe(chaos.store("p"), clock=SystemClock())
    assert found.safe_for_several_writers
    assert (found.versions, found.object_lock) == (False, False)
    assert found.checksums == ("md5", "crc32", "sha256")
    assert chaos.objects() == {}
    found = probe(chaos.store(bucket="locked", checksum=Checksum.MD5), clock=SystemClock())
    assert (found.versions, found.object_lock) == (True, True)
    assert chaos.objects(bucket="locked") == {}


def test_bucket_that_wants_checksums_gets_them(chaos: S3Chaos) -> None:
    """A default retention makes S3 refuse objects without a checksum: they are sent with one."""
    chaos.add_bucket("kept", object_lock=True)
    chaos.buckets["kept"].default_lock = ("GOVERNANCE", timedelta(days=1))
    store = chaos.store(bucket="kept")
    store.create("a", b"x")
    assert store.get("a") == b"x"


def test_clock_skew_is_measured(chaos: S3Chaos) -> None:
    """The store's time minus ours is told, to about a second."""
    store = chaos.store("p")
    chaos.skew = timedelta(minutes=5)
    try:
        found = probe(store, clock=SystemClock())
    finally:
        chaos.skew = timedelta(0)
    assert found.clock_skew_s == pytest.approx(300, abs=3)


class _LosesRaces(MemoryStore):
    """Looks before it writes, as some stores do."""

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        taken = key in self.objects
        time.sleep(0.002)
        if taken:
            super().create(key, data)
        self.put(key, data)


class _IgnoresConditions(MemoryStore):
    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        self.put(key, data)


class _IgnoresRanges(MemoryStore):
    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        del offset, length
        return super().get(key)

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        del offset
        into[:] = super().get(key)[: into.nbytes]


class _ListsUnsorted(MemoryStore):
    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        found = list(super().entries(prefix, start_after=start_after))
        random.Random(1).shuffle(found)
        yield from found


class _ListsLikeAFolder(MemoryStore):
    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        found = super().entries(prefix, start_after=start_after)
        yield from sorted(found, key=lambda entry: entry.key.split("/"))


class _KeepsEverything(MemoryStore):
    def delete(self, key: str) -> None:
        raise StorageDeniedError(f"locked: {key}")


class _Mangles(MemoryStore):
    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        super().put(key, bytes(data).replace(b"\n", b"\r\n")[: len(data)] or b"\n")


@pytest.mark.parametrize(
    ("kind", "lacks"),
    [
        (_LosesRaces, {"exclusive_create"}),
        (_IgnoresConditions, {"exclusive_create"}),
        (_IgnoresRanges, {"ranges"}),
        (_ListsUnsorted, {"listing"}),
        (_ListsLikeAFolder, {"listing"}),
        (_KeepsEverything, {"deletes"}),
        (_Mangles, {"round_trip", "ranges"}),
    ],
)
def test_shortcomings_are_found_and_named(kind: type[MemoryStore], lacks: set[str]) -> None:
    """A store that breaks one promise is told from one that keeps it, with a sentence why."""
    found = probe(kind(), clock=FakeClock())
    missing = {
        name
        for name in ("round_trip", "ranges", "listing", "exclusive_create", "deletes")
        if not getattr(found, name)
    }
    assert missing == lacks
    assert len(found.problems) == len(lacks)
    assert found.safe_for_several_writers == (lacks == {"deletes"})
    assert found.usable == (not lacks & {"round_trip", "ranges", "listing"})


@pytest.mark.parametrize("error", [StorageDeniedError("no"), StorageError("no")])
def test_store_that_takes_nothing_is_an_error(error: StorageError) -> None:
    """When nothing can be stored at all there is nothing to describe."""
    flaky = FlakyStore(MemoryStore())
    flaky.fail("put", error)
    with pytest.raises(type(error)):
        probe(flaky, clock=FakeClock())


def test_failed_probe_leaves_nothing_behind() -> None:
    """Also a probe that breaks off removes its objects."""
    flaky = FlakyStore(MemoryStore())
    flaky.fail("read_into", RuntimeError("defect"))
    with pytest.raises(RuntimeError):
        probe(flaky, clock=FakeClock())
    assert list(flaky.entries()) == []


def test_probes_do_not_disturb_each_other_or_the_repository() -> None:
    """Two probes at once, beside a repository, touch only their own objects."""
    store = MemoryStore()
    store.put("drkeeper.json", b"{}")
    found: list[Capabilities] = []
    threads = [
        threading.Thread(target=lambda: found.append(probe(store, clock=SystemClock())))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.problems for each in found] == [(), (), ()]
    assert store.objects == {"drkeeper.json": b"{}"}


@given(
    st.builds(
        Capabilities,
        probed_at=st.datetimes(timezones=st.just(UTC)),
        checksums=st.lists(st.sampled_from(["md5", "crc32"])).map(tuple),
        problems=st.lists(st.text(max_size=10)).map(tuple),
        clock_skew_s=st.none() | st.floats(-1e6, 1e6),
    )
)
def test_record_survives_json(capabilities: Capabilities) -> None:
    """What is kept in the repository's hint file is read back equal."""
    assert Capabilities.from_json(capabilities.to_json()) == capabilities


GOOD = json.loads(
    Capabilities(datetime(2026, 1, 1, tzinfo=UTC), True, True, True, True, True).to_json()  # noqa: FBT003 - a record of answers
)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "1", "{}", "[" * 100_000,
        json.dumps(GOOD | {"exclusive_create": "yes"}),
        json.dumps(GOOD | {"probed_at": "soon"}),
        json.dumps(GOOD | {"clock_skew_s": "x"}),
        json.dumps(GOOD | {"versions": 1}),
        json.dumps(GOOD | {"problems": 1}),
    ],
    ids=range(11),
)  # fmt: skip
def test_hostile_records_are_refused(text: str) -> None:
    """The hint file is anybody's to write: what is not a record is an error, not a crash."""
    with pytest.raises(StorageError) as caught:
        Capabilities.from_json(text)
    assert not isinstance(caught.value, ObjectNotFoundError)
