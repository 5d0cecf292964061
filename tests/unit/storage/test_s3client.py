"""What is refused before anything is asked of an S3 endpoint, and what its errors become."""

from pathlib import Path

import boto3
import pytest
from botocore import exceptions as boto

from doubles.s3chaos import S3Chaos
from drkeeper.errors import (
    ConfigurationError,
    DrkeeperError,
    NoSpaceError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)
from drkeeper.storage.s3client import S3Options, check_endpoint, open_s3
from drkeeper.storage.s3errors import translated

SESSION = boto3.session.Session("KEY", "very-secret-key", region_name="eu-central-1")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com", "http://10.0.0.1:9000", "http://[2001:db8::1]", "http://0.0.0.0",
        "http://localhost.example.com", "http://127.0.0.1.example.com", "http://169.254.169.254",
        "http://0x7f.1", "ftp://127.0.0.1", "example.com", "https://", "http:///x", "",
        "https://user:very-secret-key@example.com", "https://user@example.com",
        "user:very-secret-key@example.com", "https:/user:very-secret-key@example.com",
    ],
)  # fmt: skip
def test_endpoints_that_would_tell_secrets_are_refused(url: str) -> None:
    """Plain http leaves this machine only by mistake, and URLs are no place for credentials."""
    with pytest.raises(ConfigurationError) as caught:
        open_s3(S3Options("bucket", endpoint=url), session=SESSION)
    assert "very-secret-key" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "url",
    [
        "https://[::1", "http://[::1", "https://[::g]", "https://example.com:99999",
        "https://example.com:0", "https://example.com:port", "https://example.com/?secret=x",
        "https://example.com/#x", "https://example .com", "https://\x1b[2J",
    ],
)  # fmt: skip
def test_malformed_endpoints_are_refused(url: str) -> None:
    """What is no URL of a server is a mistake in the configuration, and no defect."""
    with pytest.raises(ConfigurationError) as caught:
        open_s3(S3Options("bucket", endpoint=url), session=SESSION)
    assert caught.value.hint
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "http://127.0.0.1:9000", "http://[::1]:1", "http://localhost:80"],
)
def test_https_and_loopback_are_accepted(url: str) -> None:
    """TLS anywhere, plain http on this machine."""
    check_endpoint(url)
    assert open_s3(S3Options("bucket", "a/b", url), session=SESSION).location == "s3://bucket/a/b/"


def test_endpoint_of_the_aws_configuration_is_checked_too(tmp_path: Path, monkeypatch) -> None:
    """A plain http endpoint is refused wherever it comes from."""
    config = tmp_path / "config"
    config.write_text("[default]\nendpoint_url = http://example.com\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(ConfigurationError, match="plain http"):
        open_s3(S3Options("bucket"), session=boto3.session.Session("a", "b"))


@pytest.mark.parametrize("named_by", ["options", "capitals", "environment"])
def test_no_proxy_comes_between_this_machine_and_itself(monkeypatch, named_by: str) -> None:
    """Plain http to this machine does not leave it, whatever proxy is set."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with S3Chaos() as chaos:
        endpoint: str | None = chaos.endpoint
        if named_by == "capitals":
            endpoint = chaos.endpoint.replace("http", "HTTP")
        if named_by == "environment":
            monkeypatch.setenv("AWS_ENDPOINT_URL", chaos.endpoint)
            endpoint = None
        session = boto3.session.Session("CHAOSKEY", "chaos-secret")
        store = open_s3(S3Options("bucket", endpoint=endpoint), session=session)
        store.put("a", b"x")
        store._client.close()
        assert chaos.objects() == {"a": b"x"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_DEFAULTS_MODE", "nonsense"),
        ("AWS_ENDPOINT_URL", "nonsense"),
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "nonsense"),
        ("AWS_CONFIG_FILE", __file__),
        ("AWS_SHARED_CREDENTIALS_FILE", __file__),
    ],
)
def test_settings_that_cannot_work_are_named(monkeypatch, name: str, value: str) -> None:
    """A mistake in AWS's own files and variables is one of configuration: no retry cures it."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="settings") as caught:
        open_s3(S3Options("bucket"))
    assert caught.value.hint


@pytest.mark.parametrize("bucket", ["", "a", "Bucket", "a/b", "../x", "a b", "-a-", "x" * 64])
def test_malformed_bucket_names_are_refused(bucket: str) -> None:
    """A name that S3 cannot have is a mistake in the configuration."""
    with pytest.raises(ConfigurationError):
        open_s3(S3Options(bucket), session=SESSION)


@pytest.mark.parametrize("prefix", ["a b", "a/../b", "a//b", "é", "a/./b", "x" * 401])
def test_malformed_prefixes_are_refused(prefix: str) -> None:
    """A prefix follows the rules of keys, with capitals allowed."""
    with pytest.raises(ConfigurationError):
        open_s3(S3Options("bucket", prefix), session=SESSION)


def test_absent_profile_is_denied_with_a_hint() -> None:
    """A profile that the AWS configuration does not have is named as a credentials problem."""
    with pytest.raises(StorageDeniedError) as caught:
        open_s3(S3Options("bucket", profile="no-such-profile"))
    assert caught.value.hint


def test_absent_credentials_are_denied_with_a_hint(tmp_path: Path, monkeypatch) -> None:
    """A machine without credentials is told to give some."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = open_s3(S3Options("bucket", endpoint="http://127.0.0.1:9"))
    with pytest.raises(StorageDeniedError) as caught:
        store.get("a")
    assert "credentials" in str(caught.value.hint)


def test_no_listener_is_unavailable() -> None:
    """When nobody listens, the store may be back later."""
    with S3Chaos() as chaos:
        endpoint = chaos.endpoint
    store = open_s3(S3Options("bucket", endpoint=endpoint), session=SESSION)
    with pytest.raises(StorageUnavailableError):
        store.put("a", b"x")


def test_absent_bucket_is_an_error_with_a_hint() -> None:
    """An absent bucket is not an absent object, and drkeeper does not make buckets."""
    with S3Chaos() as chaos:
        store = chaos.store(bucket="absent")
        for act in (
            lambda: store.get("a"),
            lambda: store.put("a", b"x"),
            lambda: list(store.entries()),
        ):
            with pytest.raises(StorageError, match="bucket") as caught:
                act()
            assert not isinstance(caught.value, ObjectNotFoundError)
            assert not caught.value.transient


def answer(code: str, status: int) -> boto.ClientError:
    metadata = {"HTTPStatusCode": status}
    error = {"Code": code, "Message": "StringToSign very-secret-key \x1b[2J"}
    return boto.ClientError({"Error": error, "ResponseMetadata": metadata}, "PutObject")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, ObjectNotFoundError),
        ("PreconditionFailed", 412, ObjectExistsError),
        ("ConditionalRequestConflict", 409, StorageUnavailableError),
        ("AccessDenied", 403, StorageDeniedError),
        ("InvalidAccessKeyId", 403, StorageDeniedError),
        ("SignatureDoesNotMatch", 403, StorageDeniedError),
        ("ExpiredToken", 400, StorageDeniedError),
        ("RequestTimeTooSkewed", 403, StorageDeniedError),
        ("SlowDown", 503, StorageUnavailableError),
        ("InternalError", 500, StorageUnavailableError),
        ("Unheard", 503, StorageUnavailableError),
        ("RequestTimeout", 400, StorageUnavailableError),
        ("BadDigest", 400, StorageUnavailableError),
        ("QuotaExceeded", 403, NoSpaceError),
        ("XMinioStorageFull", 507, NoSpaceError),
        ("NotImplemented", 501, StorageError),
        ("Unheard", 501, StorageError),
        ("Unheard", 507, NoSpaceError),
        ("Unheard", 520, StorageUnavailableError),
        ("Unheard", 408, StorageUnavailableError),
        ("Unheard", 429, StorageUnavailableError),
        ("Unheard", 418, StorageError),
        ("XMinioServerNotInitialized", 503, StorageUnavailableError),
        ("OperationAborted", 409, StorageUnavailableError),
        ("AuthorizationHeaderMalformed", 400, StorageError),
        ("PermanentRedirect", 301, StorageError),
        ("Strange\x1b[2J", 400, StorageError),
        ("", 400, StorageError),
    ],
)
def test_answers_become_our_errors(code: str, status: int, kind: type[DrkeeperError]) -> None:
    """Each code says who must act; the store's own words reach no terminal and no log."""
    with pytest.raises(kind) as caught, translated("some/key"):
        raise answer(code, status)
    assert caught.type is kind or kind is StorageUnavailableError
    told = f"{caught.value} {caught.value.hint} {caught.value.context}"
    assert "very-secret-key" not in told
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (boto.EndpointConnectionError(endpoint_url="https://x"), StorageUnavailableError),
        (boto.ReadTimeoutError(endpoint_url="https://x"), StorageUnavailableError),
        (boto.SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED certificate"), StorageError),
        (boto.SSLError(endpoint_url="x", error="EOF occurred"), StorageUnavailableError),
        (boto.NoCredentialsError(), StorageDeniedError),
        (boto.ProfileNotFound(profile="x"), StorageDeniedError),
        (boto.MetadataRetrievalError(error_msg="x"), StorageDeniedError),
        (boto.SSOTokenLoadError(error_msg="x"), StorageDeniedError),
        (boto.ConnectTimeoutError(endpoint_url="https://x"), StorageUnavailableError),
        (boto.ResponseStreamingError(error="x"), StorageUnavailableError),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), StorageUnavailableError),
        (boto.UnsupportedSignatureVersionError(signature_version="x"), StorageError),
        (boto.MissingDependencyException(msg="x"), StorageError),
        (ConnectionResetError(), StorageUnavailableError),
        (ValueError("month must be in 1..12"), StorageUnavailableError),
        (KeyError("LastModified"), StorageUnavailableError),
    ],
    ids=str,
)  # fmt: skip
def test_failures_below_become_our_errors(error: Exception, kind: type[DrkeeperError]) -> None:
    """Nothing of boto3, urllib3 or the parser leaves the adapter."""
    with pytest.raises(kind) as caught, translated("some/key"):
        raise error
    assert caught.type is kind
