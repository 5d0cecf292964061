"""What Amazon S3 promises about the objects of one bucket, without any network.

Versions, delete markers, conditional writes, Object Lock, checksums, listings.
"""

import base64
import hashlib
import itertools
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from doubles.s3sign import RefusedError


@dataclass
class Version:
    """One version of one object, or a delete marker."""

    version_id: str
    data: bytes
    at: datetime
    order: int
    marker: bool = False
    mode: str | None = None
    until: datetime | None = None
    hold: bool = False

    @property
    def etag(self) -> str:
        """As S3 computes it for single-part objects."""
        return '"' + hashlib.md5(self.data, usedforsecurity=False).hexdigest() + '"'

    def locked(self, now: datetime, *, bypass: bool) -> bool:
        """Tell whether this version must stay."""
        if self.hold:
            return True
        kept = self.until is not None and now < self.until
        return kept and not (self.mode == "GOVERNANCE" and bypass)


@dataclass
class Bucket:
    """A bucket; the caller holds the server's lock around every call.

    Attributes:
        region: The only one for which requests may be signed; empty for any.
        tells: Whether a request for a wrong region learns the right one.
        conditional: Whether conditions are known; else they are refused, as Backblaze does.
        checksums: Whether newer checksums are known; else they are refused.
        deletes_absent: Whether deleting an absent object is fine; else it is 404, as with Google.
    """

    versioning: bool = False
    object_lock: bool = False
    region: str = ""
    tells: bool = True
    conditional: bool = True
    checksums: bool = True
    deletes_absent: bool = True
    default_lock: tuple[str, timedelta] | None = None
    keys: dict[str, list[Version]] = field(default_factory=dict)
    clock: itertools.count = field(default_factory=itertools.count)

    def newest(self, key: str, version_id: str | None = None) -> Version:
        """Return a version, or the newest that is not hidden by a marker."""
        versions = self.keys.get(key, [])
        if version_id is not None:
            for version in versions:
                if version.version_id == version_id:
                    return version
            raise RefusedError(404, "NoSuchVersion")
        if not versions or versions[-1].marker:
            raise RefusedError(404, "NoSuchKey")
        return versions[-1]

    def has(self, key: str) -> bool:
        """Tell whether the key names an object now."""
        versions = self.keys.get(key)
        return bool(versions) and not versions[-1].marker

    def put(
        self, key: str, data: bytes, headers: dict[str, str], *, now: datetime, began: int
    ) -> Version:
        """Store a version; ``began`` is the value of the clock when the request came in."""
        if not self.checksums and any(name.startswith("x-amz-checksum-") for name in headers):
            raise RefusedError(400, "InvalidArgument")
        check_checksums(headers, data)
        self._check_conditions(key, headers, began)
        mode, until = self._lock_from(headers, now)
        order = next(self.clock)
        version_id = f"v{order:08d}" if self.versioning else "null"
        version = Version(version_id, data, now, order, mode=mode, until=until)
        version.hold = headers.get("x-amz-object-lock-legal-hold") == "ON"
        if self.versioning:
            self.keys.setdefault(key, []).append(version)
        else:
            self.keys[key] = [version]
        return version

    def _check_conditions(self, key: str, headers: dict[str, str], began: int) -> None:
        wanted = headers.get("if-none-match")
        if not self.conditional and ("if-match" in headers or wanted is not None):
            raise RefusedError(501, "NotImplemented")
        if wanted is not None:
            if wanted != "*":
                raise RefusedError(501, "NotImplemented")
            if self.has(key):
                # Amazon: 409 when the winner came in between, 412 when it was there before.
                raced = self.newest(key).order >= began
                raise RefusedError(*((409, "ConditionalRequestConflict") if raced else _TAKEN))
        match = headers.get("if-match")
        if match is not None and self.newest(key).etag.strip('"') != match.strip('"'):
            raise RefusedError(*_TAKEN)

    def _lock_from(
        self, headers: dict[str, str], now: datetime
    ) -> tuple[str | None, datetime | None]:
        mode = headers.get("x-amz-object-lock-mode")
        asked = mode or "x-amz-object-lock-legal-hold" in headers
        if asked and not self.object_lock:
            raise RefusedError(400, "InvalidRequest")
        if (asked or self.default_lock) and not _has_checksum(headers):
            raise RefusedError(400, "InvalidRequest")
        if mode:
            until = parse_time(headers["x-amz-object-lock-retain-until-date"])
            if until <= now:
                raise RefusedError(400, "InvalidArgument")
            return mode, until
        if self.default_lock:
            return self.default_lock[0], now + self.default_lock[1]
        return None, None

    def delete(
        self, key: str, version_id: str | None, *, now: datetime, bypass: bool = False
    ) -> dict[str, str]:
        """Delete a version, or hide the object behind a marker; return answer headers."""
        if version_id is None:
            if not self.versioning:
                if not self.deletes_absent:
                    self.newest(key)
                self.keys.pop(key, None)
                return {}
            order = next(self.clock)
            marker = Version(f"v{order:08d}", b"", now, order, marker=True)
            self.keys.setdefault(key, []).append(marker)
            return {"x-amz-delete-marker": "true", "x-amz-version-id": marker.version_id}
        versions = self.keys.get(key, [])
        for version in versions:
            if version.version_id == version_id:
                if version.locked(now, bypass=bypass):
                    raise RefusedError(403, "AccessDenied")
                versions.remove(version)
                if not versions:
                    del self.keys[key]
                break
        return {"x-amz-version-id": version_id}

    def retain(
        self, key: str, version_id: str | None, mode: str, until: datetime, *, bypass: bool
    ) -> None:
        """Set a retention; COMPLIANCE only grows, GOVERNANCE shrinks only with a bypass."""
        if not self.object_lock:
            raise RefusedError(400, "InvalidRequest")
        version = self.newest(key, version_id)
        if version.until is not None:
            weaker = until < version.until or (
                version.mode == "COMPLIANCE" and mode != "COMPLIANCE"
            )
            if weaker and not (version.mode == "GOVERNANCE" and bypass):
                raise RefusedError(403, "AccessDenied")
        version.mode, version.until = mode, until

    def listed(self, prefix: str, after: str) -> list[tuple[str, Version]]:
        """Return what a listing shows, by the bytes of the keys."""
        return sorted(
            ((key, versions[-1]) for key, versions in self.keys.items()
             if key.startswith(prefix) and key > after and not versions[-1].marker),
            key=lambda pair: pair[0].encode(),
        )  # fmt: skip


_TAKEN = (412, "PreconditionFailed")
_CHECKSUMS = {
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
}


def _has_checksum(headers: dict[str, str]) -> bool:
    return "content-md5" in headers or any(name in headers for name in _CHECKSUMS)


def check_checksums(headers: dict[str, str], data: bytes) -> None:
    """Refuse a body that is not what its checksums say."""
    if claimed := headers.get("content-md5"):
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        if claimed != base64.b64encode(digest).decode():
            raise RefusedError(400, "BadDigest")
    for name, value in headers.items():
        if name.startswith("x-amz-checksum-") and name not in {
            "x-amz-checksum-mode",
            "x-amz-checksum-algorithm",
        }:
            if name not in _CHECKSUMS:
                raise RefusedError(501, "NotImplemented")
            if value != base64.b64encode(_CHECKSUMS[name](data)).decode():
                raise RefusedError(400, "XAmzContentChecksumMismatch")


def parse_time(text: str) -> datetime:
    """Read the times that S3 headers and bodies carry."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
