"""Where real endpoints differ from one another, and what is made of it.

Source of the quirks: the reports of users of Backblaze B2, Ceph RGW, MinIO, Google Cloud Storage
and Amazon S3 about clients that expected one and met another.
"""

from collections.abc import Callable, Iterator

import pytest

from doubles.clock import FakeClock
from doubles.s3chaos import S3Chaos
from doubles.s3model import Bucket
from drkeeper.errors import (
    ObjectExistsError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.probe import probe


@pytest.fixture(scope="module")
def server() -> Iterator[S3Chaos]:
    with S3Chaos() as chaos:
        yield chaos


@pytest.fixture
def chaos(server: S3Chaos) -> Iterator[S3Chaos]:
    server.buckets["bucket"] = Bucket()
    server.history.clear()
    yield server
    server.clear()


def operations(store: ObjectStore) -> dict[str, Callable[[], object]]:
    """Return each operation; what they read is an object ``old`` of ten bytes."""
    return {
        "put": lambda: store.put("put", b"x"),
        "create": lambda: store.create("create", b"x"),
        "get": lambda: store.get("old"),
        "span": lambda: store.get("old", offset=2, length=3),
        "read_into": lambda: store.read_into("old", memoryview(bytearray(10))),
        "info": lambda: store.info("old").stored_bytes,
        "entries": lambda: [entry.key for entry in store.entries()],
        "delete": lambda: store.delete("old"),
    }


def test_every_operation_is_one_plain_request(chaos: S3Chaos) -> None:
    """No retries, no 100-continue, no trailing checksums and no chunked signatures: the headers
    that Ceph, Backblaze and others stumble over are not sent unless asked for.
    """
    store = chaos.store("p")
    store.put("old", b"0123456789" * 700_000)
    for act in operations(store).values():
        act()
    assert len(chaos.history) == 1 + len(operations(store))
    for record in chaos.history:
        unusual = {"expect", "x-amz-trailer", "transfer-encoding", "content-encoding"}
        assert not unusual & set(record.headers)
        assert not [name for name in record.headers if "checksum" in name]


def test_placeholder_of_a_folder_is_no_object(chaos: S3Chaos) -> None:
    """Consoles make a folder by storing an empty object named as the prefix: it is passed over."""
    store = chaos.store("backups/host")
    store.put("a/b", b"x")
    for marker in ("backups/", "backups/host/", "backups/host/a/", "backups/host/a//"):
        chaos.tamper(marker, b"")
    assert [entry.key for entry in store.entries()] == ["a/b"]
    assert [entry.key for entry in store.entries("a/")] == ["a/b"]
    assert [entry.key for entry in store.entries(start_after="a/a")] == ["a/b"]


def test_empty_pages_are_turned(chaos: S3Chaos) -> None:
    """A page without objects that says there are more is followed by the next one."""
    store = chaos.store("p")
    store.put("a", b"x")
    chaos.fault(verb="LIST", kind="empty-page", times=5)
    assert [entry.key for entry in store.entries()] == ["a"]
    assert len(chaos.history) == 1 + 6


def test_endless_empty_pages_are_an_error(chaos: S3Chaos) -> None:
    """A store that promises more for ever, under ever new tokens, is not listened to for ever."""
    store = chaos.store("p")
    chaos.fault(verb="LIST", kind="empty-page", times=None)
    with pytest.raises(StorageError) as caught:
        list(store.entries())
    assert not caught.value.transient
    assert "empty pages" in str(caught.value)


def test_bucket_of_another_region_is_found(chaos: S3Chaos) -> None:
    """A wrong region costs a request more: the store tells the right one, and it is asked again."""
    chaos.buckets["bucket"].region = "eu-north-1"
    store = chaos.store("p", region="us-west-2")
    store.put("old", b"0123456789")
    assert [record.applied for record in chaos.history] == [False, True]
    for act in operations(store).values():
        act()
    with pytest.raises(ObjectExistsError):
        store.create("create", b"y")


@pytest.mark.parametrize("operation", ["create", "delete", "entries", "get", "info", "put"])
def test_unknown_region_is_named(chaos: S3Chaos, operation: str) -> None:
    """A store that does not tell the right region leaves a hint to set it."""
    chaos.buckets["bucket"].region = "eu-north-1"
    chaos.buckets["bucket"].tells = False
    store = chaos.store("p", region="us-west-2")
    with pytest.raises(StorageError) as caught:
        operations(store)[operation]()
    assert "region" in f"{caught.value} {caught.value.hint}"
    assert not caught.value.transient
    assert not isinstance(caught.value, ObjectNotFoundError)


def test_store_without_conditions_is_refused_with_a_reason(chaos: S3Chaos) -> None:
    """Backblaze answers a conditional upload with 501: creation says so, nothing else suffers."""
    chaos.buckets["bucket"].conditional = False
    store = chaos.store("p")
    with pytest.raises(StorageError) as caught:
        store.create("a", b"x")
    assert not caught.value.transient
    assert "create-if-absent" in str(caught.value.hint)
    found = probe(store, clock=FakeClock())
    assert (found.round_trip, found.ranges, found.listing) == (True, True, True)
    assert not found.exclusive_create
    assert len(found.problems) == 1
    assert "creat" in found.problems[0]


def test_checksums_that_are_refused_are_not_compared(chaos: S3Chaos) -> None:
    """A store that turns down every checksum of a kind is not said to compare them."""
    chaos.buckets["bucket"].checksums = False
    found = probe(chaos.store("p"), clock=FakeClock())
    assert found.checksums == ("md5",)
    assert chaos.objects() == {}


def test_deleting_what_is_absent_may_be_refused(chaos: S3Chaos) -> None:
    """Google's store answers the deletion of an absent object with 404: absent is absent."""
    chaos.buckets["bucket"].deletes_absent = False
    store = chaos.store("p")
    store.delete("never")
    assert [record.code for record in chaos.history] == ["NoSuchKey"]


def test_rights_that_are_missing_are_not_shortcomings(chaos: S3Chaos) -> None:
    """When listing is forbidden, the owner is told that, not that the store lists wrongly."""
    chaos.fault(verb="LIST", kind="403", times=None)
    with pytest.raises(StorageDeniedError):
        probe(chaos.store("p"), clock=FakeClock())


def test_busy_store_is_not_one_that_checks(chaos: S3Chaos) -> None:
    """An answer to slow down, to a lie about a checksum, proves nothing about checksums."""
    chaos.fault(verb="PUT", kind="503", after=1)
    with pytest.raises(StorageUnavailableError):
        chaos.store("p").extras().refused_checksums("probe/x", b"data")


ITEM = "<Key>p/old</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>1</Size>"
AGES = ["9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00", "9" * 24, "1e400", "nan", ""]
LISTINGS = [
    *(ITEM.replace("2026-01-01T00:00:00Z", age) for age in AGES),
    ITEM + "<Size>2</Size>",
    ITEM + "<Key>p/older</Key>",
    ITEM.replace("<Size>1</Size>", ""),
    ITEM.replace(">1<", f">{'9' * 5000}<"),
    ITEM.replace(">1<", ">one<"),
    ITEM.replace("p/old", "<b/>"),
    ITEM
    + "</Contents><EncodingType>url</EncodingType><Prefix>a</Prefix><Prefix>b</Prefix><Contents>",
    f"{ITEM}</Contents><Contents>{ITEM}",
    ITEM + "</Contents><IsTruncated>true</IsTruncated><Contents>",
]


@pytest.mark.parametrize("listing", LISTINGS, ids=range(len(LISTINGS)))
def test_listings_that_make_no_sense_are_refused(chaos: S3Chaos, listing: str) -> None:
    """What a hostile store lists ends in a typed error, or in nothing, and never in a defect."""
    body = f"<ListBucketResult><Contents>{listing}</Contents></ListBucketResult>"
    chaos.lie("LIST", body.encode())
    store = chaos.store("p")
    try:
        found = list(store.entries())
    except StorageError:
        found = []
    assert found == []


@pytest.mark.parametrize("verb", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [
        *({"last_modified": age} for age in [*AGES, "Fri, 31 Dec 9999 23:59:59 -2300"]),
        {"x_amz_mp_parts_count": "many"},
        {"x_amz_object_lock_retain_until_date": "9" * 40},
        {"content_range": "bytes 7-9/10"},
    ],
    ids=str,
)
def test_headers_that_make_no_sense_are_refused(
    chaos: S3Chaos, verb: str, headers: dict[str, str]
) -> None:
    """Headers of a hostile store end in a typed error, or do not matter."""
    chaos.lie(verb, b"12345", **headers)
    store = chaos.store("p")
    for act in (
        lambda: store.info("old").stored_bytes,
        lambda: len(store.get("old")),
        lambda: len(store.get("old", offset=2, length=5)),
    ):
        try:
            answer = act()
        except StorageError:
            continue
        assert answer == 5
