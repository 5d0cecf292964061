"""What the tests' S3 server does with a valid request, and how it says so."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Protocol
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from doubles.s3model import Bucket, Version, check_checksums, parse_time
from doubles.s3sign import RefusedError

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class Fault(Protocol):
    """What an action needs to know of a fault that strikes it."""

    kind: str
    missing: int


class Server(Protocol):
    """What an action needs of the server."""

    buckets: dict[str, Bucket]

    def now(self) -> datetime:
        """Return the server's time."""
        ...

    def add_bucket(self, name: str, *, versioning: bool = False, object_lock: bool = False) -> None:
        """Make a bucket."""
        ...


@dataclass
class Request:
    """What a client asks."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    bucket: str = ""
    key: str = ""
    query: dict[str, str] = field(default_factory=dict)
    began: int = 0

    @property
    def verb(self) -> str:
        """The method, or ``LIST``."""
        if self.method == "GET" and not self.key and "list-type" in self.query:
            return "LIST"
        return self.method


@dataclass
class Answer:
    """What the server says."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None  # of HEAD answers, which have no body


class Actions:
    """What one valid request does; holds the server's lock."""

    def __init__(self, chaos: Server, request: Request, fault: Fault | None) -> None:
        self.chaos = chaos
        self.request = request
        self.fault = fault
        self.now = chaos.now()
        self.kind = fault.kind if fault else ""

    def run(self, region: str) -> Answer:
        """Do what was asked, signed for ``region``, or raise ``RefusedError``."""
        request = self.request
        if not request.bucket:
            raise RefusedError(501, "NotImplemented")
        scope = "object" if request.key else "bucket"
        if scope == "bucket" and request.method == "PUT" and not request.query:
            return self._make_bucket()
        if request.bucket not in self.chaos.buckets:
            raise RefusedError(404, "NoSuchBucket")
        self.bucket = self.chaos.buckets[request.bucket]
        if self.bucket.region not in {"", region}:
            headers = {"x-amz-bucket-region": self.bucket.region} if self.bucket.tells else {}
            raise RefusedError(400, "AuthorizationHeaderMalformed", **headers)
        known = {"retention", "versioning", "object-lock", "versions", "delete", "legal-hold"}
        what = next((name for name in request.query if name in known), "")
        name = f"_{scope}_{request.method.lower()}_{what.replace('-', '_')}".rstrip("_")
        action = getattr(self, name, None)
        if action is None:
            raise RefusedError(501, "NotImplemented")
        return action()

    # -- buckets

    def _make_bucket(self) -> Answer:
        if self.request.bucket in self.chaos.buckets:
            raise RefusedError(409, "BucketAlreadyOwnedByYou")
        lock = self.request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"
        self.chaos.add_bucket(self.request.bucket, object_lock=lock)
        return Answer()

    def _bucket_head(self) -> Answer:
        return Answer()

    def _bucket_get_versioning(self) -> Answer:
        status = "<Status>Enabled</Status>" if self.bucket.versioning else ""
        return _xml(f"<VersioningConfiguration {_NAMESPACE}>{status}</VersioningConfiguration>")

    def _bucket_put_versioning(self) -> Answer:
        on = _text(self.request.body, "Status") == "Enabled"
        if not on and self.bucket.object_lock:
            raise RefusedError(409, "InvalidBucketState")
        self.bucket.versioning = on
        return Answer()

    def _bucket_get_object_lock(self) -> Answer:
        if not self.bucket.object_lock:
            raise RefusedError(404, "ObjectLockConfigurationNotFoundError")
        return _xml(
            f"<ObjectLockConfiguration {_NAMESPACE}><ObjectLockEnabled>Enabled"
            "</ObjectLockEnabled></ObjectLockConfiguration>"
        )

    def _bucket_put_object_lock(self) -> Answer:
        if not self.bucket.versioning:
            raise RefusedError(409, "InvalidBucketState")
        self.bucket.object_lock = True
        mode, days = _text(self.request.body, "Mode"), _text(self.request.body, "Days")
        self.bucket.default_lock = (mode, timedelta(days=int(days))) if mode and days else None
        return Answer()

    def _bucket_get(self) -> Answer:
        query = self.request.query
        if query.get("list-type") != "2":
            raise RefusedError(501, "NotImplemented")
        prefix, limit = query.get("prefix", ""), min(1000, int(query.get("max-keys", "1000")))
        token = query.get("continuation-token")
        after = query.get("start-after", "") if token is None else _after(token)
        found = self.bucket.listed(prefix, after)
        if self.kind == "stale-list":
            newest = sorted(found, key=lambda pair: pair[1].order)[-self.fault.missing :]
            found = [pair for pair in found if pair not in newest]
        page, more = found[:limit], len(found) > limit
        if self.kind == "empty-page":
            page, more = [], True
        coded = query.get("encoding-type") == "url"
        items = "".join(
            f"<Contents><Key>{_spelt(key, coded=coded)}</Key>"
            f"<LastModified>{_stamp(version.at)}</LastModified>"
            f"<ETag>{escape(version.etag)}</ETag><Size>{len(version.data)}</Size></Contents>"
            for key, version in page
        )
        following = (page[-1][0] if page else after).encode().hex() if more else ""
        return _xml(
            f"<ListBucketResult {_NAMESPACE}><Name>{self.request.bucket}</Name>"
            f"<Prefix>{_spelt(prefix, coded=coded)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            + ("<EncodingType>url</EncodingType>" if coded else "")
            + (
                f"<NextContinuationToken>{_token(following)}</NextContinuationToken>"
                if more
                else ""
            )
            + f"{items}</ListBucketResult>"
        )

    def _bucket_get_versions(self) -> Answer:
        prefix = self.request.query.get("prefix", "")
        items = "".join(
            f"<{tag}><Key>{escape(key)}</Key><VersionId>{version.version_id}</VersionId>"
            f"<IsLatest>{str(version is versions[-1]).lower()}</IsLatest>"
            f"<LastModified>{_stamp(version.at)}</LastModified>"
            + ("" if version.marker else f"<Size>{len(version.data)}</Size>")
            + f"</{tag}>"
            for key, versions in sorted(self.bucket.keys.items())
            if key.startswith(prefix)
            for version in reversed(versions)
            for tag in ["DeleteMarker" if version.marker else "Version"]
        )
        return _xml(f"<ListVersionsResult {_NAMESPACE}>{items}</ListVersionsResult>")

    def _bucket_post_delete(self) -> Answer:
        headers = self.request.headers
        if "content-md5" not in headers and not any(
            h.startswith("x-amz-checksum-") for h in headers
        ):
            raise RefusedError(400, "InvalidRequest")
        check_checksums(headers, self.request.body)
        done = []
        for item in _all(self.request.body, "Object"):
            key = item["Key"]
            try:
                self._delete(key, item.get("VersionId"))
                done.append(f"<Deleted><Key>{escape(key)}</Key></Deleted>")
            except RefusedError as refusal:
                code = refusal.code
                done.append(f"<Error><Key>{escape(key)}</Key><Code>{code}</Code></Error>")
        return _xml(f"<DeleteResult {_NAMESPACE}>{''.join(done)}</DeleteResult>")

    # -- objects

    def _object_put(self) -> Answer:
        request, data = self.request, self.request.body
        if "x-amz-copy-source" in request.headers or "partNumber" in request.query:
            raise RefusedError(501, "NotImplemented")
        version = self.bucket.put(
            request.key, data, request.headers, now=self.now, began=request.began
        )
        headers = {"etag": version.etag}
        if self.kind == "bit-flip" and data:
            version.data = bytes([data[0] ^ 1]) + data[1:]
        if self.bucket.versioning:
            headers["x-amz-version-id"] = version.version_id
        return Answer(200, headers)

    def _object_head(self) -> Answer:
        answer = self._object_get()
        answer.length, answer.body = len(answer.body), b""
        return answer

    def _object_get(self) -> Answer:
        request = self.request
        version = self.bucket.newest(request.key, request.query.get("versionId"))
        if version.marker:
            raise RefusedError(405, "MethodNotAllowed")
        data = self._other(version) if self.kind == "swap" else version.data
        headers = {
            "etag": version.etag,
            "accept-ranges": "bytes",
            "last-modified": format_datetime(version.at, usegmt=True),
            "content-type": "binary/octet-stream",
        }
        if self.bucket.versioning:
            headers["x-amz-version-id"] = version.version_id
        if version.until:
            headers["x-amz-object-lock-mode"] = str(version.mode)
            headers["x-amz-object-lock-retain-until-date"] = _stamp(version.until)
        wanted = request.headers.get("range")
        if wanted is None:
            return Answer(200, headers, data)
        begin, end = _span(wanted, len(data))
        headers["content-range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        return Answer(206, headers, data[begin:end])

    def _other(self, version: Version) -> bytes:
        for versions in self.bucket.keys.values():
            if versions[-1] is not version and versions[-1].data != version.data:
                return versions[-1].data
        return version.data[::-1]

    def _object_delete(self) -> Answer:
        headers = self._delete(self.request.key, self.request.query.get("versionId"))
        return Answer(204, headers)

    def _delete(self, key: str, version_id: str | None) -> dict[str, str]:
        headers = self.request.headers
        bypass = headers.get("x-amz-bypass-governance-retention", "").lower() == "true"
        return self.bucket.delete(key, version_id, now=self.now, bypass=bypass)

    def _object_put_retention(self) -> Answer:
        body, headers = self.request.body, self.request.headers
        self.bucket.retain(
            self.request.key,
            self.request.query.get("versionId"),
            _text(body, "Mode"),
            parse_time(_text(body, "RetainUntilDate")),
            bypass=headers.get("x-amz-bypass-governance-retention", "").lower() == "true",
        )
        return Answer()

    def _object_get_retention(self) -> Answer:
        version = self.bucket.newest(self.request.key, self.request.query.get("versionId"))
        if version.until is None:
            raise RefusedError(404, "NoSuchObjectLockConfiguration")
        return _xml(
            f"<Retention {_NAMESPACE}><Mode>{version.mode}</Mode>"
            f"<RetainUntilDate>{_stamp(version.until)}</RetainUntilDate></Retention>"
        )

    def _object_put_legal_hold(self) -> Answer:
        version = self.bucket.newest(self.request.key, self.request.query.get("versionId"))
        version.hold = _text(self.request.body, "Status") == "ON"
        return Answer()


def _token(after: str) -> str:
    # As with Amazon, no two are alike.
    return f"{secrets.token_hex(4)}{after}"


def _after(token: str) -> str:
    return bytes.fromhex(token[8:]).decode()


def _span(wanted: str, size: int) -> tuple[int, int]:
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
    if begin >= size or begin >= end:
        raise RefusedError(416, "InvalidRange", **{"content-range": f"bytes */{size}"})
    return begin, end


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _spelt(text: str, *, coded: bool) -> str:
    return quote(text) if coded else escape(text)


def _xml(text: str) -> Answer:
    return Answer(200, {"content-type": "application/xml"}, text.encode())


def error_body(refusal: RefusedError, request: Request) -> bytes:
    """Return what an error looks like; the answer to a HEAD has no body."""
    if request.method == "HEAD":
        return b""
    region = refusal.headers.get("x-amz-bucket-region", "")
    where = f"<Region>{region}</Region>" if region else ""
    return f"<Error><Code>{refusal.code}</Code><Message>chaos</Message>{where}</Error>".encode()


def _text(body: bytes, tag: str) -> str:
    for element in ET.fromstring(body).iter():
        if element.tag.rpartition("}")[2] == tag:
            return element.text or ""
    return ""


def _all(body: bytes, tag: str) -> Iterable[dict[str, str]]:
    for element in ET.fromstring(body).iter():
        if element.tag.rpartition("}")[2] == tag:
            yield {child.tag.rpartition("}")[2]: child.text or "" for child in element}
