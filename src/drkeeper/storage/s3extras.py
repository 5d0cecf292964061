"""What only S3 can be asked: its clock, its versions, its locks, whether it checks checksums."""

import base64
import hashlib
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from drkeeper.storage.s3errors import code_of, is_busy, translated

_CHECKSUMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "md5": ("ContentMD5", lambda data: hashlib.md5(data, usedforsecurity=False).digest()),
    "crc32": ("ChecksumCRC32", lambda data: zlib.crc32(data).to_bytes(4, "big")),
    "sha256": ("ChecksumSHA256", lambda data: hashlib.sha256(data).digest()),
}

_NOT_CONFIGURED = frozenset({"ObjectLockConfigurationNotFoundError", "404"})


class S3Extras:
    """Questions of the capability probe to one prefix of one bucket."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 builds its clients at run time
        bucket: str,
        prefix: str,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def now(self) -> datetime | None:
        """Return the store's own time, from the ``Date`` of an answer."""
        with translated(""):
            answer = self._client.head_bucket(Bucket=self._bucket)
            date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
            if date is None:
                return None
            at = parsedate_to_datetime(date)
            return at if at.tzinfo else at.replace(tzinfo=UTC)

    def keeps_versions(self) -> bool | None:
        """Tell whether overwritten and deleted objects are kept; ``None`` when not told."""
        with translated(""):
            try:
                answer = self._client.get_bucket_versioning(Bucket=self._bucket)
            except ClientError:
                return None
            return bool(answer.get("Status") == "Enabled")

    def locks_objects(self) -> bool | None:
        """Tell whether the bucket has Object Lock; ``None`` when not told."""
        with translated(""):
            try:
                answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
            except ClientError as error:
                return False if code_of(error) in _NOT_CONFIGURED else None
            enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled")
            return bool(enabled == "Enabled")

    def refused_checksums(self, key: str, data: bytes) -> tuple[str, ...]:
        """Return the kinds of checksums that are taken when right and refused when wrong.

        What was stored is left for the caller to delete.
        """
        return tuple(
            kind
            for kind, (header, digest) in _CHECKSUMS.items()
            if self._takes(key, data, header, digest(data))
            and not self._takes(key, data, header, digest(b"not " + data))
        )

    def _takes(self, key: str, data: bytes, header: str, checksum: bytes) -> bool:
        claim = {header: base64.b64encode(checksum).decode()}
        with translated(key):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + key, Body=data, **claim
                )
            except ClientError as error:
                if is_busy(error):  # which is no judgement
                    raise
                return False
        return True

    def paged(self, prefix: str, *, page_objects: int) -> list[str]:
        """Return the keys of a listing that is asked for in small pages."""
        with translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket,
                Prefix=self._prefix + prefix,
                PaginationConfig={"PageSize": page_objects, "MaxItems": 1000},
            )
            return [
                item["Key"].removeprefix(self._prefix)
                for page in pages
                for item in page.get("Contents", ())
            ]
