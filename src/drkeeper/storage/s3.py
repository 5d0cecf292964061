"""Objects in an S3 bucket.

One request an operation: no multipart, no hidden retries. botocore's own retries are off,
because a repeated ``If-None-Match: *`` whose first answer was lost would meet its own
success and report it as somebody else's (docs/adr/0021). What may be tried again is tried
again by ``drkeeper.storage.retrying``, in one place, by rules that know the difference.
Only what was surely refused is sent again here: for want of a checksum, by the wrong region,
or because of another writer's conditional upload.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError, UnseekableStreamError

from drkeeper.errors import ObjectNotFoundError, StorageError, StorageUnavailableError
from drkeeper.faults import point
from drkeeper.storage.base import ObjectInfo
from drkeeper.storage.keys import check_span, checked_key, checked_prefix, is_key
from drkeeper.storage.s3errors import (
    ENDS_EARLY,
    CreationConflictError,
    SpanNotFoundError,
    code_of,
    translated,
)
from drkeeper.storage.s3extras import S3Extras

_CONFLICT_ATTEMPTS = 4
"""A conflict says "refused, ask again"; after so many it is somebody else's turn to decide."""

_EMPTY_PAGES = 1000
"""Pages without objects may come where many were deleted; so many in a row are no listing."""

_READ_BYTES = 1 << 20


class Checksum(StrEnum):
    """What is sent along with an object so that the store can refuse mangled bytes."""

    NONE = "none"  # TLS guards the way, and every object authenticates itself
    MD5 = "md5"  # Content-MD5: the oldest, checked by nearly every store


class S3Store:
    """One prefix of one bucket.

    Args:
        client: A boto3 S3 client, as ``drkeeper.storage.s3client.open_s3`` builds it.
        bucket: Name of an existing bucket.
        prefix: Prepended to every key; empty, or ending in a slash.
        checksum: What to send with objects.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 builds its clients at run time
        bucket: str,
        prefix: str = "",
        *,
        checksum: Checksum = Checksum.NONE,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._checksum = checksum

    @property
    def location(self) -> str:
        """Where this store is, for people: an ``s3:`` URL."""
        return f"s3://{self._bucket}/{self._prefix}"

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Upload in one request, which S3 makes atomic and durable."""
        name = self._name(key)
        with translated(key):
            point("storage.s3.put")
            self._upload(name, data)
            point("storage.s3.put_done")

    def create(self, key: str, data: bytes | bytearray | memoryview) -> None:
        """Upload only if the name is free, by ``If-None-Match: *``.

        Raises:
            CreationConflictError: Other writers of this name kept the store busy.
        """
        name = self._name(key)
        for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
            try:
                with translated(key):
                    point("storage.s3.create")
                    self._upload(name, data, IfNoneMatch="*")
                    point("storage.s3.create_done")
            except CreationConflictError:  # refused, so nothing is unclear: ask again
                if attempt == _CONFLICT_ATTEMPTS:
                    raise
            else:
                return

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Download the requested span.

        Raises:
            StorageError: The object ends before the span does.
            StorageUnavailableError: The answer broke off.
        """
        check_span(key, offset, length)
        if length is not None:
            data = bytearray(length)
            self.read_into(key, memoryview(data), offset=offset)
            return bytes(data)
        try:
            return self._rest(key, offset)
        except SpanNotFoundError:
            return b""

    def _rest(self, key: str, offset: int) -> bytes:
        name = self._name(key)
        with translated(key):
            point("storage.s3.get")
            answer = self._download(name, offset, None)
            with closing(answer["Body"]) as body:
                whole: bytes = body.read()
            if len(whole) != answer["ContentLength"]:
                raise StorageUnavailableError(f"the answer broke off: {key}", key=key)
            return whole

    def read_into(self, key: str, into: memoryview, *, offset: int = 0) -> None:
        """Download straight into ``into``.

        Raises:
            StorageError: The object ends before ``into`` is full.
            StorageUnavailableError: The answer broke off.
        """
        check_span(key, offset, None)
        name = self._name(key)
        view = into.cast("B")
        if not view:
            self.info(key)  # an empty span has no HTTP range, but the object must be there
            return
        with translated(key):
            point("storage.s3.read_into")
            answer = self._download(name, offset, len(view))
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] != len(view):
                    raise StorageError(f"{ENDS_EARLY}: {key}", key=key)
                if _fill(body, view) != len(view):
                    raise StorageUnavailableError(f"the answer broke off: {key}", key=key)

    def info(self, key: str) -> ObjectInfo:
        """Describe one object."""
        name = self._name(key)
        with translated(key):
            point("storage.s3.info")
            answer = self._client.head_object(Bucket=self._bucket, Key=name)
            return ObjectInfo(key, answer["ContentLength"], answer["LastModified"].astimezone(UTC))

    def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Yield matching objects, one page of up to 1,000 in memory at a time.

        Raises:
            StorageError: The store lists out of order, or without end.
        """
        last = ""
        for item in self._listed(self._prefix + checked_prefix(prefix), start_after):
            with translated(prefix):
                name, stored_bytes = item["Key"], item["Size"]
                at = item["LastModified"].astimezone(UTC)
                if name <= last:
                    raise StorageError("the store lists its objects out of order", key=prefix)
            last = name
            key = name.removeprefix(self._prefix)
            # Others' objects are passed over, for example the placeholder of a folder.
            if name.startswith(self._prefix + prefix) and key > start_after and is_key(key):
                yield ObjectInfo(key, stored_bytes, at)

    def delete(self, key: str) -> None:
        """Remove the object; in a bucket with versions, hide it."""
        name = self._name(key)
        try:
            with translated(key):
                point("storage.s3.delete")
                self._client.delete_object(Bucket=self._bucket, Key=name)
                point("storage.s3.delete_done")
        except ObjectNotFoundError:  # some stores say so; absent is what was asked for
            return

    def extras(self) -> S3Extras:
        """Return what the capability probe may ask of S3 in particular."""
        return S3Extras(self._client, self._bucket, self._prefix)

    # -- requests

    def _name(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _upload(self, name: str, data: bytes | bytearray | memoryview, **condition: str) -> None:
        view = memoryview(data).cast("B")
        if self._checksum is Checksum.NONE:
            try:
                self._send(name, view, condition)
            except ClientError as error:
                # A bucket whose objects are locked by default takes none without a checksum.
                # Refused is refused: sending it again, with one, is clear of any doubt.
                if code_of(error) != "InvalidRequest":
                    raise
                self._checksum = Checksum.MD5
            else:
                return
        digest = hashlib.md5(view, usedforsecurity=False).digest()
        self._send(name, view, condition | {"ContentMD5": base64.b64encode(digest).decode()})

    def _send(self, name: str, view: memoryview, more: dict[str, str]) -> None:
        try:
            self._client.put_object(Bucket=self._bucket, Key=name, Body=view, **more)
        except UnseekableStreamError:
            # Refused, because the bucket is in another region. botocore knows that region by now,
            # and would have asked there, but it cannot rewind a buffer.
            self._client.put_object(Bucket=self._bucket, Key=name, Body=view, **more)

    def _download(self, name: str, offset: int, length: int | None) -> dict[str, Any]:
        """Begin a download whose body is the span, or less where the object ends.

        Raises:
            StorageError: The store ignores ranges.
        """
        span = {}
        if offset or length is not None:
            end = "" if length is None else offset + length - 1
            span["Range"] = f"bytes={offset}-{end}"  # counts its last byte in (RFC 9110, 14.1.2)
        answer: dict[str, Any] = self._client.get_object(Bucket=self._bucket, Key=name, **span)
        if span and not str(answer.get("ContentRange", "")).startswith(f"bytes {offset}-"):
            answer["Body"].close()
            raise StorageError("the store ignores byte ranges", hint="Use another store.", key=name)
        return answer

    def _listed(self, prefix: str, start_after: str) -> Iterator[dict[str, Any]]:
        where: dict[str, str] = {"Bucket": self._bucket, "Prefix": prefix}
        if start_after:
            where["StartAfter"] = self._prefix + start_after
        empty = 0
        while empty < _EMPTY_PAGES:
            with translated(prefix):
                point("storage.s3.entries")
                page = self._client.list_objects_v2(**where)
            found = page.get("Contents", ())
            empty = 0 if found else empty + 1
            yield from found
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token == where.get("ContinuationToken"):
                raise StorageError("the store lists in circles", key=prefix)
            where["ContinuationToken"] = token
        raise StorageError("the store lists nothing but empty pages", key=prefix)


def _fill(body: Any, view: memoryview) -> int:  # noqa: ANN401 - botocore's StreamingBody
    done = 0
    while done < len(view):
        count = body.readinto(view[done : done + _READ_BYTES])
        if not count:
            break
        done += count
    return done
