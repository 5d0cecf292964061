"""The tests' own S3 server is as strict as Amazon, or what passes on it means nothing."""

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from doubles.s3chaos import S3Chaos

SOON, LATER = (datetime.now(UTC) + timedelta(days=days) for days in (1, 2))


@pytest.fixture(scope="module")
def chaos() -> Iterator[S3Chaos]:
    with S3Chaos() as server:
        server.add_bucket("locked", object_lock=True)
        yield server


@pytest.fixture
def s3(chaos: S3Chaos):
    for bucket in chaos.buckets.values():
        bucket.keys.clear()
    return chaos.client()


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def code(call) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


def locked(s3, mode: str, until: datetime = LATER) -> dict[str, str]:
    version = s3.put_object(
        Bucket="locked",
        Key="a",
        Body=b"x",
        ContentMD5=md5(b"x"),
        ObjectLockMode=mode,
        ObjectLockRetainUntilDate=until,
    )["VersionId"]
    return {"Bucket": "locked", "Key": "a", "VersionId": version}


@pytest.mark.parametrize(
    "header", ["ContentMD5", "ChecksumCRC32", "ChecksumSHA1", "ChecksumSHA256"]
)
def test_wrong_checksums_are_refused(s3, chaos: S3Chaos, header: str) -> None:
    """A body that is not what its checksum says is not stored."""
    wrong = base64.b64encode(b"0" * 16).decode()
    call = lambda: s3.put_object(Bucket="bucket", Key="a", Body=b"x", **{header: wrong})  # noqa: E731 - one call, three tests
    assert code(call) in {"BadDigest", "XAmzContentChecksumMismatch"}
    assert chaos.objects() == {}


def test_compliance_cannot_be_shortened_or_bypassed(s3) -> None:
    """A COMPLIANCE retention only grows, for anybody."""
    where = locked(s3, "COMPLIANCE")
    for mode, until in (("COMPLIANCE", SOON), ("GOVERNANCE", LATER)):
        retention = {"Mode": mode, "RetainUntilDate": until}
        assert (
            code(
                lambda retention=retention: s3.put_object_retention(
                    **where, Retention=retention, BypassGovernanceRetention=True
                )
            )
            == "AccessDenied"
        )
    assert code(lambda: s3.delete_object(**where, BypassGovernanceRetention=True)) == "AccessDenied"
    longer = {"Mode": "COMPLIANCE", "RetainUntilDate": LATER + timedelta(days=1)}
    s3.put_object_retention(**where, Retention=longer)


def test_governance_yields_only_to_a_bypass(s3) -> None:
    """A GOVERNANCE retention is shortened, or deleted, only when the request says so."""
    where = locked(s3, "GOVERNANCE")
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": SOON}
    assert code(lambda: s3.put_object_retention(**where, Retention=shorter)) == "AccessDenied"
    assert code(lambda: s3.delete_object(**where)) == "AccessDenied"
    s3.put_object_retention(**where, Retention=shorter, BypassGovernanceRetention=True)
    s3.delete_object(**where, BypassGovernanceRetention=True)


def test_versions_survive_deletion(s3) -> None:
    """Deleting hides an object behind a marker; its versions can still be read."""
    where = locked(s3, "COMPLIANCE")
    assert s3.delete_object(Bucket="locked", Key="a")["DeleteMarker"]
    assert code(lambda: s3.get_object(Bucket="locked", Key="a")) == "NoSuchKey"
    assert s3.get_object(**where)["Body"].read() == b"x"
    listed = s3.list_object_versions(Bucket="locked")
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (1, 1)


def test_locked_buckets_want_checksums(s3) -> None:
    """Object Lock headers without a checksum are refused, as Amazon does."""
    call = lambda: s3.put_object(  # noqa: E731 - one call
        Bucket="locked",
        Key="a",
        Body=b"x",
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=LATER,
    )
    assert code(call) == "InvalidRequest"


def test_many_objects_are_deleted_at_once(s3, chaos: S3Chaos) -> None:
    """The multi-object delete wants a checksum, and removes what it names."""
    for key in ("a", "b", "c"):
        s3.put_object(Bucket="bucket", Key=key, Body=b"x")
    s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "a"}, {"Key": "c"}]})
    assert chaos.objects() == {"b": b"x"}


def test_pages_and_ranges_follow_the_rules(s3) -> None:
    """Small pages continue where they ended; ranges beyond the end are 416, at the end cut."""
    for key in "abcde":
        s3.put_object(Bucket="bucket", Key=key, Body=b"0123456789")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="bucket", StartAfter="a", PaginationConfig={"PageSize": 2}
    )
    assert [[item["Key"] for item in page["Contents"]] for page in pages] == [
        ["b", "c"],
        ["d", "e"],
    ]
    get = lambda span: s3.get_object(Bucket="bucket", Key="a", Range=span)  # noqa: E731 - short
    assert get("bytes=8-99")["Body"].read() == b"89"
    assert get("bytes=-3")["Body"].read() == b"789"
    assert code(lambda: get("bytes=10-")) == "InvalidRange"


def test_history_tells_what_was_asked_and_done(s3, chaos: S3Chaos) -> None:
    """Every request is recorded, with its fault and whether it was applied."""
    chaos.history.clear()
    chaos.fault(verb="PUT", kind="500-after-apply")
    code(lambda: s3.put_object(Bucket="bucket", Key="a", Body=b"x"))
    (record,) = chaos.history
    assert (record.verb, record.key, record.status) == ("PUT", "a", 500)
    assert (record.fault, record.applied) == ("500-after-apply", True)
