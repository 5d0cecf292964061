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
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Self
from urllib.parse import parse_qs, unquote

import boto3

from doubles.s3actions import Actions, Answer, Request, error_body
from doubles.s3model import Bucket, Version
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
    "501": "NotImplemented, nothing done",
    "502": "a page of a proxy in place of an answer, nothing done",
    "307": "TemporaryRedirect to nowhere, nothing done",
    "reset-before-apply": "connection reset, nothing done",
    "reset-after-apply": "connection reset, yet it was done: a lost reply",
    "stall": "no answer for `seconds`, then a reset; nothing done",
    "stall-after-apply": "the same, yet it was done",
    "truncate": "half of the answer's body, then the end of the connection",
    "reset-in-body": "half of the answer's body, then a reset",
    "bit-flip": "one bit of the body changed; of a PUT: in what is stored",
    "swap": "the body of another object of the bucket",
    "stale-list": "a listing without the `missing` newest objects",
    "empty-page": "a page of a listing without objects, yet more are to come",
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
    "501": (501, "NotImplemented"),
    "307": (307, "TemporaryRedirect"),
}


_INSTEAD = {
    "502": Answer(502, {"content-type": "text/html"}, b"<html><br>Bad Gateway</html>"),
    "garbage": Answer(200, {"content-type": "application/xml"}, b"\x00<not><xml"),
}


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
    answer: Answer | None = None

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


class S3Chaos:  # noqa: PLR0904 - one object for tests to hold
    """The server; begins with ``with`` and ends with it."""

    def __init__(self, *, bucket: str = "bucket", tls: ssl.SSLContext | None = None) -> None:
        self.credential = Credential("CHAOSKEY", "chaos-secret")
        self.default_bucket = bucket
        self.buckets: dict[str, Bucket] = {bucket: Bucket()}
        self.history: list[Record] = []
        self.skew = timedelta(0)
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self.tls = tls
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
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

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

    def lie(self, verb: str, body: bytes = b"", *, status: int = 200, **headers: str) -> None:
        """Answer every request of a kind with the same words; a header's name may have ``_``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fault = Fault(verb, "lie", "", None, 0, 0, 0, answer=Answer(status, named, body))
        with self.lock:
            self._faults.append(fault)

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

    def struck(self, request: Request) -> Fault | None:
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

    def setup(self) -> None:
        if tls := self.server.chaos.tls:
            self.request.settimeout(self.timeout)
            self.request = tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.connection.close()

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
            answer = Answer(refusal.status, refusal.headers, error_body(refusal, request))
        record.status = answer.status
        self._write(request, answer, fault)
        return True

    def _read(self) -> Request | None:
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
        return Request(method, target, headers, body, bucket, key, pairs, began)

    def _answer(self, request: Request, fault: Fault | None, record: Record) -> Answer:
        kind = fault.kind if fault else ""
        if kind in _BEFORE:
            raise RefusedError(*_BEFORE[kind])
        if kind == "reset-before-apply":
            self._reset()
        if kind == "stall":
            self._stall(fault)
        if kind in _INSTEAD or (fault and fault.answer):
            return _INSTEAD.get(kind) or fault.answer
        chaos = self.chaos
        region = check(
            chaos.credential, request.method, request.target, request.headers, chaos.now()
        )
        check_body(request.headers, request.body)
        if request.method in {"PUT", "POST"} and "content-length" not in request.headers:
            raise RefusedError(411, "MissingContentLength")
        with chaos.lock:
            answer = Actions(chaos, request, fault).run(region)
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

    def _write(self, request: Request, answer: Answer, fault: Fault | None) -> None:
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
