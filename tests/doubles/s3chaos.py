"""A strict S3 server inside the test process that misbehaves on request.

    with S3Chaos() as chaos:                              # one bucket, named "bucket"
        store = chaos.store("prefix")                     # an S3Store with its credentials
        chaos.fault(verb="PUT", key_prefix="journal/", kind="reset-after-apply", times=1)
        ...
        chaos.objects("prefix")                           # {key: bytes}: what is really there
        chaos.history                                     # every request, with its outcome
        chaos.clear()                                     # no more faults

Verbs: PUT GET HEAD DELETE LIST POST, or "*". ``key_prefix`` is compared with the key *below
the prefix of the store*, when the request's key has that prefix, else with the whole key.
``after`` lets that many matching requests through first. Kinds of faults: see ``KINDS``.
"""

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Self
from urllib.parse import parse_qs, quote, unquote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import boto3

from doubles.s3model import Bucket, Version, check_checksums, parse_time
from doubles.s3sign import Credential, RefusedError, check, check_body
from drkeeper.storage.s3 import S3Store
from drkeeper.storage.s3client import S3Options, open_s3

KINDS = {
    "500": "InternalError, nothing done",
    "500-after-apply": "InternalError, yet it was done",
    "503": "SlowDown, nothing done",
    "403": "AccessDenied, nothing done",
    "expired": "ExpiredToken, nothing done",
    "quota": "QuotaExceeded, nothing done",
    "409": "ConditionalRequestConflict, nothing done",
    "reset-before-apply": "connection reset, nothing done",
    "reset-after-apply": "connection reset, yet it was done: a lost reply",
    "stall": "no answer for `seconds`, then a reset; nothing done",
    "stall-after-apply": "the same, yet it was done",
    "truncate": "half of the answer's body, then the end of the connection",
    "reset-in-body": "half of the answer's body, then a reset",
    "bit-flip": "one bit of the body changed; of a PUT: in what is stored",
    "swap": "the body of another object of the bucket",
    "stale-list": "a listing without the `missing` newest objects",
    "garbage": "status 200 and a body that is no XML",
    "skewed-date": "a Date one day ahead",
}

_BEFORE = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "403": (403, "AccessDenied"),
    "expired": (400, "ExpiredToken"),
    "quota": (403, "QuotaExceeded"),
    "409": (409, "ConditionalRequestConflict"),
}
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class _HangupError(Exception):
    """Close the connection without an answer."""


@dataclass
class Fault:
    """A fault that waits for its requests."""

    verb: str
    kind: str
    key_prefix: str
    times: int | None
    after: int
    seconds: float
    missing: int
    hits: int = 0

    def strikes(self, verb: str, key: str) -> bool:
        """Count a matching request and tell whether it is struck."""
        if self.verb not in {verb, "*"} or not key.startswith(self.key_prefix):
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times is not None and self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass
class Record:
    """One request and what became of it."""

    verb: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int | None = None
    code: str = ""
    fault: str | None = None
    applied: bool = False


@dataclass
class _Request:
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
        if self.method == "GET" and not self.key and "list-type" in self.query:
            return "LIST"
        return self.method


@dataclass
class _Answer:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None  # of HEAD answers, which have no body


class S3Chaos:  # noqa: PLR0904 - one object for tests to hold
    """The server; begins with ``with`` and ends with it."""

    def __init__(self, *, bucket: str = "bucket") -> None:
        self.credential = Credential("CHAOSKEY", "chaos-secret")
        self.default_bucket = bucket
        self.buckets: dict[str, Bucket] = {bucket: Bucket()}
        self.history: list[Record] = []
        self.skew = timedelta(0)
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self._prefix = ""
        self._faults: list[Fault] = []
        self._clients: list = []
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.chaos = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for client in self._clients:
            client.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- for tests

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(  # noqa: PLR0913 - keywords, each with a default
        self,
        *,
        kind: str,
        verb: str = "*",
        key_prefix: str = "",
        times: int | None = 1,
        after: int = 0,
        seconds: float = 30,
        missing: int = 1,
    ) -> Fault:
        """Let requests go wrong; ``times=None`` for all of them."""
        assert kind in KINDS, kind
        fault = Fault(verb, kind, key_prefix, times, after, seconds, missing)
        with self.lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Behave from now on."""
        with self.lock:
            self._faults.clear()

    def add_bucket(self, name: str, *, versioning: bool = False, object_lock: bool = False) -> None:
        """Make a bucket; Object Lock brings versions with it."""
        self.buckets[name] = Bucket(versioning or object_lock, object_lock)

    def session(self, access_key: str = "", secret_key: str = "") -> boto3.session.Session:
        """Return a boto3 session with the right credentials, or with wrong ones."""
        return _session(
            access_key or self.credential.access_key, secret_key or self.credential.secret_key
        )

    def client(self):
        """Return a boto3 client tuned as drkeeper's own, for what the port cannot say."""
        return self.store()._client

    def store(
        self,
        prefix: str = "",
        *,
        bucket: str | None = None,
        session: boto3.session.Session | None = None,
        **options,
    ) -> S3Store:
        """Return a store with the right credentials; options are fields of ``S3Options``."""
        self._prefix = prefix.strip("/") + "/" if prefix else ""
        where = S3Options(bucket or self.default_bucket, prefix, self.endpoint, **options)
        store = open_s3(where, session=session or self.session())
        self._clients.append(store._client)
        return store

    def objects(self, prefix: str = "", *, bucket: str | None = None) -> dict[str, bytes]:
        """Return every visible object below a prefix, by its key there."""
        prefix = prefix.strip("/") + "/" if prefix else ""
        with self.lock:
            found = self.buckets[bucket or self.default_bucket].listed(prefix, "")
            return {key.removeprefix(prefix): version.data for key, version in found}

    def tamper(self, key: str, data: bytes | None, *, bucket: str | None = None) -> None:
        """Change an object behind everybody's back, or with ``None`` remove it (whole key)."""
        with self.lock:
            keys = self.buckets[bucket or self.default_bucket].keys
            if data is None:
                keys.pop(key, None)
            else:
                versions = keys.setdefault(key, [Version("null", b"", datetime.now(UTC), -1)])
                versions[-1].data = data

    # -- for the server

    def now(self) -> datetime:
        """Return the server's time."""
        return datetime.now(UTC) + self.skew

    def struck(self, request: _Request) -> Fault | None:
        """Return the first fault that strikes a request."""
        key = request.query.get("prefix", "") if request.verb == "LIST" else request.key
        with self.lock:
            for fault in self._faults:
                if fault.strikes(request.verb, key.removeprefix(self._prefix)):
                    return fault
        return None


@cache
def _session(access_key: str, secret_key: str) -> boto3.session.Session:
    # Reading boto3's description of S3 takes a tenth of a second a session.
    return boto3.session.Session(access_key, secret_key)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    chaos: S3Chaos

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up as they like, and so do we."""


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def handle(self) -> None:
        self.chaos = self.server.chaos
        try:
            while not self.chaos.ended.is_set() and self._serve():
                pass
        except (_HangupError, OSError, ValueError):
            pass

    # -- one request

    def _serve(self) -> bool:
        request = self._read()
        if request is None:
            return False
        chaos = self.chaos
        fault = chaos.struck(request)
        record = Record(request.verb, request.key, request.query, request.headers)
        record.fault = fault.kind if fault else None
        with chaos.lock:
            chaos.history.append(record)
        try:
            answer = self._answer(request, fault, record)
        except RefusedError as refusal:
            record.code = refusal.code
            answer = _Answer(refusal.status, refusal.headers, _error(refusal, request))
        record.status = answer.status
        self._write(request, answer, fault)
        return True

    def _read(self) -> _Request | None:
        line = self.rfile.readline(65536)
        if not line.strip():
            return None
        method, target, _ = line.decode("ascii").split(" ")
        headers = {}
        while (line := self.rfile.readline(65536)) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        path, _, query = target.partition("?")
        bucket, _, key = unquote(path.lstrip("/")).partition("/")
        pairs = {k: v[0] for k, v in parse_qs(query, keep_blank_values=True).items()}
        with self.chaos.lock:
            known = self.chaos.buckets.get(bucket)
            began = next(known.clock) if known else 0
        length = int(headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) != length:
            return None  # the client gave up half-way: nothing is stored
        return _Request(method, target, headers, body, bucket, key, pairs, began)

    def _answer(self, request: _Request, fault: Fault | None, record: Record) -> _Answer:
        kind = fault.kind if fault else ""
        if kind in _BEFORE:
            raise RefusedError(*_BEFORE[kind])
        if kind == "reset-before-apply":
            self._reset()
        if kind == "stall":
            self._stall(fault)
        if kind == "garbage":
            return _Answer(200, {"content-type": "application/xml"}, b"\x00<not><xml")
        chaos = self.chaos
        check(chaos.credential, request.method, request.target, request.headers, chaos.now())
        check_body(request.headers, request.body)
        if request.method in {"PUT", "POST"} and "content-length" not in request.headers:
            raise RefusedError(411, "MissingContentLength")
        with chaos.lock:
            answer = _Actions(chaos, request, fault).run()
        record.applied = True
        if kind == "500-after-apply":
            raise RefusedError(500, "InternalError")
        if kind == "reset-after-apply":
            record.status = answer.status
            self._reset()
        if kind == "stall-after-apply":
            self._stall(fault)
        return answer

    def _stall(self, fault: Fault | None) -> None:
        self.chaos.ended.wait(fault.seconds if fault else 0)
        self._reset()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise _HangupError

    def _write(self, request: _Request, answer: _Answer, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        at = self.chaos.now() + timedelta(days=1 if kind == "skewed-date" else 0)
        body = answer.body
        length = len(body) if answer.length is None else answer.length
        if request.method == "HEAD":
            body = b""
        if kind == "bit-flip" and body and request.method != "PUT" and answer.status < 300:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        lines = [f"HTTP/1.1 {answer.status} Chaos", f"date: {format_datetime(at, usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        if answer.status != 204:
            lines.append(f"content-length: {length}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if kind in {"truncate", "reset-in-body"} and body:
            self.wfile.write(head + body[: len(body) // 2])
            if kind == "truncate":
                raise _HangupError
            time.sleep(0.05)  # else the reset overtakes what was sent
            self._reset()
        self.wfile.write(head + body)


class _Actions:
    """What one valid request does; holds the server's lock."""

    def __init__(self, chaos: S3Chaos, request: _Request, fault: Fault | None) -> None:
        self.chaos = chaos
        self.request = request
        self.fault = fault
        self.now = chaos.now()
        self.kind = fault.kind if fault else ""

    def run(self) -> _Answer:
        request = self.request
        if not request.bucket:
            raise RefusedError(501, "NotImplemented")
        scope = "object" if request.key else "bucket"
        if scope == "bucket" and request.method == "PUT" and not request.query:
            return self._make_bucket()
        if request.bucket not in self.chaos.buckets:
            raise RefusedError(404, "NoSuchBucket")
        self.bucket = self.chaos.buckets[request.bucket]
        known = {"retention", "versioning", "object-lock", "versions", "delete", "legal-hold"}
        what = next((name for name in request.query if name in known), "")
        name = f"_{scope}_{request.method.lower()}_{what.replace('-', '_')}".rstrip("_")
        action = getattr(self, name, None)
        if action is None:
            raise RefusedError(501, "NotImplemented")
        return action()

    # -- buckets

    def _make_bucket(self) -> _Answer:
        if self.request.bucket in self.chaos.buckets:
            raise RefusedError(409, "BucketAlreadyOwnedByYou")
        lock = self.request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"
        self.chaos.add_bucket(self.request.bucket, object_lock=lock)
        return _Answer()

    def _bucket_head(self) -> _Answer:
        return _Answer()

    def _bucket_get_versioning(self) -> _Answer:
        status = "<Status>Enabled</Status>" if self.bucket.versioning else ""
        return _xml(f"<VersioningConfiguration {_NAMESPACE}>{status}</VersioningConfiguration>")

    def _bucket_put_versioning(self) -> _Answer:
        on = _text(self.request.body, "Status") == "Enabled"
        if not on and self.bucket.object_lock:
            raise RefusedError(409, "InvalidBucketState")
        self.bucket.versioning = on
        return _Answer()

    def _bucket_get_object_lock(self) -> _Answer:
        if not self.bucket.object_lock:
            raise RefusedError(404, "ObjectLockConfigurationNotFoundError")
        return _xml(
            f"<ObjectLockConfiguration {_NAMESPACE}><ObjectLockEnabled>Enabled"
            "</ObjectLockEnabled></ObjectLockConfiguration>"
        )

    def _bucket_put_object_lock(self) -> _Answer:
        if not self.bucket.versioning:
            raise RefusedError(409, "InvalidBucketState")
        self.bucket.object_lock = True
        mode, days = _text(self.request.body, "Mode"), _text(self.request.body, "Days")
        self.bucket.default_lock = (mode, timedelta(days=int(days))) if mode and days else None
        return _Answer()

    def _bucket_get(self) -> _Answer:
        query = self.request.query
        if query.get("list-type") != "2":
            raise RefusedError(501, "NotImplemented")
        prefix, limit = query.get("prefix", ""), min(1000, int(query.get("max-keys", "1000")))
        token = query.get("continuation-token")
        after = query.get("start-after", "") if token is None else bytes.fromhex(token).decode()
        found = self.bucket.listed(prefix, after)
        if self.kind == "stale-list":
            newest = sorted(found, key=lambda pair: pair[1].order)[-self.fault.missing :]
            found = [pair for pair in found if pair not in newest]
        page, more = found[:limit], len(found) > limit
        coded = query.get("encoding-type") == "url"
        items = "".join(
            f"<Contents><Key>{_spelt(key, coded=coded)}</Key>"
            f"<LastModified>{_stamp(version.at)}</LastModified>"
            f"<ETag>{escape(version.etag)}</ETag><Size>{len(version.data)}</Size></Contents>"
            for key, version in page
        )
        following = page[-1][0].encode().hex() if more else ""
        return _xml(
            f"<ListBucketResult {_NAMESPACE}><Name>{self.request.bucket}</Name>"
            f"<Prefix>{_spelt(prefix, coded=coded)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
            + ("<EncodingType>url</EncodingType>" if coded else "")
            + (f"<NextContinuationToken>{following}</NextContinuationToken>" if more else "")
            + f"{items}</ListBucketResult>"
        )

    def _bucket_get_versions(self) -> _Answer:
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

    def _bucket_post_delete(self) -> _Answer:
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

    def _object_put(self) -> _Answer:
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
        return _Answer(200, headers)

    def _object_head(self) -> _Answer:
        answer = self._object_get()
        answer.length, answer.body = len(answer.body), b""
        return answer

    def _object_get(self) -> _Answer:
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
            return _Answer(200, headers, data)
        begin, end = _span(wanted, len(data))
        headers["content-range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        return _Answer(206, headers, data[begin:end])

    def _other(self, version: Version) -> bytes:
        for versions in self.bucket.keys.values():
            if versions[-1] is not version and versions[-1].data != version.data:
                return versions[-1].data
        return version.data[::-1]

    def _object_delete(self) -> _Answer:
        headers = self._delete(self.request.key, self.request.query.get("versionId"))
        return _Answer(204, headers)

    def _delete(self, key: str, version_id: str | None) -> dict[str, str]:
        headers = self.request.headers
        bypass = headers.get("x-amz-bypass-governance-retention", "").lower() == "true"
        return self.bucket.delete(key, version_id, now=self.now, bypass=bypass)

    def _object_put_retention(self) -> _Answer:
        body, headers = self.request.body, self.request.headers
        self.bucket.retain(
            self.request.key,
            self.request.query.get("versionId"),
            _text(body, "Mode"),
            parse_time(_text(body, "RetainUntilDate")),
            bypass=headers.get("x-amz-bypass-governance-retention", "").lower() == "true",
        )
        return _Answer()

    def _object_get_retention(self) -> _Answer:
        version = self.bucket.newest(self.request.key, self.request.query.get("versionId"))
        if version.until is None:
            raise RefusedError(404, "NoSuchObjectLockConfiguration")
        return _xml(
            f"<Retention {_NAMESPACE}><Mode>{version.mode}</Mode>"
            f"<RetainUntilDate>{_stamp(version.until)}</RetainUntilDate></Retention>"
        )

    def _object_put_legal_hold(self) -> _Answer:
        version = self.bucket.newest(self.request.key, self.request.query.get("versionId"))
        version.hold = _text(self.request.body, "Status") == "ON"
        return _Answer()


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


def _xml(text: str) -> _Answer:
    return _Answer(200, {"content-type": "application/xml"}, text.encode())


def _error(refusal: RefusedError, request: _Request) -> bytes:
    if request.method == "HEAD":
        return b""
    return f"<Error><Code>{refusal.code}</Code><Message>chaos</Message></Error>".encode()


def _text(body: bytes, tag: str) -> str:
    for element in ET.fromstring(body).iter():
        if element.tag.rpartition("}")[2] == tag:
            return element.text or ""
    return ""


def _all(body: bytes, tag: str) -> Iterable[dict[str, str]]:
    for element in ET.fromstring(body).iter():
        if element.tag.rpartition("}")[2] == tag:
            yield {child.tag.rpartition("}")[2]: child.text or "" for child in element}
