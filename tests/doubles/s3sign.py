"""Signature version 4, checked as strictly as Amazon does.

Source:
    "Create a signed AWS API request", AWS IAM user guide; written from it, not from a client.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import quote, unquote

MAX_SKEW = timedelta(minutes=15)


class RefusedError(Exception):
    """An S3 error answer."""

    def __init__(self, status: int, code: str, **headers: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = headers


@dataclass(frozen=True)
class Credential:
    """The one account of the server."""

    access_key: str
    secret_key: str


def check(
    credential: Credential, method: str, target: str, headers: dict[str, str], now: datetime
) -> str:
    """Raise ``RefusedError`` unless the request was signed with the credential, just now.

    Returns:
        The region it was signed for.
    """
    words = headers.get("authorization", "").split(" ", 1)
    if words[0] != "AWS4-HMAC-SHA256" or len(words) != 2:
        raise RefusedError(403, "AccessDenied")
    parts = dict(part.strip().split("=", 1) for part in words[1].split(","))
    access_key, *scope = parts["Credential"].split("/")
    if access_key != credential.access_key:
        raise RefusedError(403, "InvalidAccessKeyId")
    stamp = headers.get("x-amz-date", "")
    at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(at - now) > MAX_SKEW or scope[0] != stamp[:8] or scope[2:] != ["s3", "aws4_request"]:
        raise RefusedError(403, "RequestTimeTooSkewed")
    signed = parts["SignedHeaders"].split(";")
    must = {"host"} | {name for name in headers if name.startswith("x-amz-")}
    if not must <= set(signed):
        raise RefusedError(403, "AccessDenied")
    path, _, query = target.partition("?")
    canonical = "\n".join([
        method,
        path,
        _canonical_query(query),
        *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed),
        "",
        parts["SignedHeaders"],
        headers.get("x-amz-content-sha256", ""),
    ])  # fmt: skip
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), digest])
    key = _signing_key(credential.secret_key, scope[0], scope[1])
    wanted = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, parts["Signature"]):
        raise RefusedError(403, "SignatureDoesNotMatch")
    return scope[1]


def check_body(headers: dict[str, str], body: bytes) -> None:
    """Raise ``RefusedError`` when the signed digest is not the body's."""
    claimed = headers.get("x-amz-content-sha256", "")
    if claimed == "UNSIGNED-PAYLOAD":
        return
    if claimed.startswith("STREAMING-"):
        raise RefusedError(501, "NotImplemented")
    if claimed != hashlib.sha256(body).hexdigest():
        raise RefusedError(400, "XAmzContentSHA256Mismatch")


def _canonical_query(query: str) -> str:
    pairs = []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        pairs.append((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


@cache
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for word in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key
