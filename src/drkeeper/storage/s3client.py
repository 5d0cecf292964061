"""The boto3 client, tuned: what is switched off, what is bounded, what is refused."""

import ipaddress
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import exceptions as boto
from botocore.awsrequest import HeadersDict
from botocore.config import Config

from drkeeper.errors import ConfigurationError
from drkeeper.storage.s3 import Checksum, S3Store
from drkeeper.storage.s3errors import is_setting, translated

_SPARE_CONNECTIONS = 4
"""Source: design of the upload workers: each has one, listings and the journal share the rest."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
"""Source: Amazon S3 user guide, "General purpose bucket naming rules"."""

_PREFIX = re.compile(r"(?:[A-Za-z0-9._-]+/)*", re.ASCII)
_MAX_PREFIX_CHARACTERS = 400
"""Prefix and key together stay below S3's 1,024 bytes."""

_USED_HEADERS = frozenset({"content-length", "content-range"})
"""Of an answer to GetObject; ``S3Store`` reads no others."""


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where a bucket is and how to reach it; never holds a secret.

    Attributes:
        bucket: Name of an existing bucket.
        prefix: Below which the repository lies; a closing slash is added.
        endpoint: URL of the service; ``None`` for Amazon's.
        region: ``None`` for the one that boto3 finds, or ``us-east-1`` with an endpoint.
        profile: Section of the AWS configuration that has the credentials.
        ca_bundle: File of certificates to trust instead of those that boto3 would: of
            ``AWS_CA_BUNDLE``, of ``ca_bundle`` in the AWS configuration, or those it brings along.
        path_style: Put the bucket into the path; ``None``: yes with an endpoint of one's own.
        workers: How many threads will use the store at once.
        connect_timeout_s: Longest wait for a connection.
        read_timeout_s: Longest silence within an answer.
        checksum: What to send along with objects.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    ca_bundle: str | None = None
    path_style: bool | None = None
    workers: int = 8
    connect_timeout_s: float = 10
    read_timeout_s: float = 60
    checksum: Checksum = Checksum.NONE


def open_s3(options: S3Options, *, session: boto3.session.Session | None = None) -> S3Store:
    """Open a bucket with the credentials that boto3's usual chain finds; asks nothing yet.

    ``session`` is for callers that have credentials of their own, in place of the profile.

    Raises:
        ConfigurationError: Plain http to another machine, a malformed name or URL, or settings of
            AWS's own files and variables that cannot work.
        StorageDeniedError: The profile does not exist.
    """
    if _BUCKET.fullmatch(options.bucket) is None:
        raise ConfigurationError(f"not the name of a bucket: {options.bucket[:80]!r}")
    prefix = options.prefix.strip("/") + "/" if options.prefix.strip("/") else ""
    parts = prefix.split("/")[:-1]
    if (
        len(prefix) > _MAX_PREFIX_CHARACTERS
        or _PREFIX.fullmatch(prefix) is None
        or not all(part.strip(".") for part in parts)
    ):
        raise ConfigurationError(
            f"not a usable prefix: {options.prefix[:80]!r}",
            hint="Use letters, digits, dots, dashes, underscores and slashes.",
        )
    if options.endpoint is not None:
        check_endpoint(options.endpoint)
    client = _client(options, session)
    # The environment and the AWS configuration may name an endpoint too.
    endpoint = client.meta.endpoint_url
    check_endpoint(endpoint)
    if options.endpoint is None and urlsplit(endpoint).scheme == "http":
        # Now that it is known to be on this machine: no proxy may come between.
        client = _client(replace(options, endpoint=endpoint), session)
    return S3Store(client, options.bucket, prefix, checksum=options.checksum)


def check_endpoint(url: str) -> None:
    """Refuse a URL that would let the network read credentials' signatures and names.

    Raises:
        ConfigurationError: Plain http to another machine, or a malformed URL.
    """
    if "@" in url:
        raise ConfigurationError(
            "credentials in an endpoint's URL",
            hint="Give credentials in the AWS credentials file, a profile or a role.",
        )
    scheme, host = _scheme_and_host(url)
    if scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"plain http to another machine: {host}",
            hint="Use https; plain http is only for servers on this machine.",
        )


def _scheme_and_host(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        more = parts.port == 0 or parts.query or parts.fragment
    except ValueError:  # brackets that do not close; a port beyond 65535
        parts, more = urlsplit(""), True
    if parts.scheme not in {"http", "https"} or not parts.hostname or more:
        raise ConfigurationError(
            f"not the URL of an endpoint: {url[:120]!r}", hint="Write https://HOST[:PORT]."
        )
    return parts.scheme, parts.hostname


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _client(options: S3Options, session: boto3.session.Session | None) -> Any:  # noqa: ANN401 - boto3 builds its clients at run time
    # Plain http is only for this machine, where no proxy belongs.
    local = options.endpoint is not None and urlsplit(options.endpoint).scheme == "http"
    path_style = options.endpoint is not None if options.path_style is None else options.path_style
    region = options.region or ("us-east-1" if options.endpoint else None)
    config = Config(
        max_pool_connections=options.workers + _SPARE_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        tcp_keepalive=True,
        parameter_validation=False,  # it knows no memoryview; what it checks, we made
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        proxies={} if local else None,
        s3={
            "addressing_style": "path" if path_style else "auto",
            "payload_signing_enabled": False,
        },
    )
    with translated(""):
        try:
            session = session or boto3.session.Session(profile_name=options.profile)
            client = session.client(
                "s3",
                endpoint_url=options.endpoint,
                region_name=region,
                config=config,
                verify=options.ca_bundle,
            )
        except (boto.BotoCoreError, ValueError) as error:
            if is_setting(error):
                raise ConfigurationError(
                    f"unusable S3 settings: {type(error).__name__}",
                    hint="Check the region, and what AWS's files and variables say.",
                ) from error
            raise
    client.meta.events.register("before-parse.s3.GetObject", _without_unused_headers)
    return client


def _without_unused_headers(response_dict: dict[str, Any], **_: object) -> None:
    """Keep from botocore's parser what an answer with a body says and nobody asks for.

    A header that makes no sense would end in an exception, with the connection left open.
    """
    if response_dict["status_code"] < HTTPStatus.MULTIPLE_CHOICES:
        headers = response_dict["headers"].items()
        used = {name: value for name, value in headers if name.lower() in _USED_HEADERS}
        response_dict["headers"] = HeadersDict(used)
