"""What the many ways of S3 to say no mean, in drkeeper's words.

Only the error's code is taken from the answer: the text of a hostile or chatty store, and
the signature that some stores echo, have no place in messages and logs.
"""

import http.client
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import urllib3.exceptions
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from drkeeper.errors import (
    DrkeeperError,
    NoSpaceError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageDeniedError,
    StorageError,
    StorageUnavailableError,
)

ENDS_EARLY = "object ends before the requested span"


class CreationConflictError(StorageUnavailableError):
    """Another conditional write of this key was under way; ours was refused, not applied."""


class SpanNotFoundError(StorageError):
    """The object ends before the requested span begins."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a code becomes."""

    error: type[DrkeeperError]
    text: str
    hint: str | None = None


_SPAN = _Meaning(SpanNotFoundError, ENDS_EARLY)
_BUSY = _Meaning(StorageUnavailableError, "the store is busy or broken for now")
_MANGLED = _Meaning(StorageUnavailableError, "the bytes changed on their way; nothing was stored")
_MISSING = _Meaning(ObjectNotFoundError, "no such object")
_TAKEN = _Meaning(ObjectExistsError, "an object of this name exists")
_CONFLICT = _Meaning(CreationConflictError, "another writer is busy with this object")
_FULL = _Meaning(
    NoSpaceError, "the store is full", "Raise the quota of the bucket or free some space."
)
_DENIED = _Meaning(
    StorageDeniedError,
    "the store denied the request",
    "Allow these credentials to get, put, list and delete here; without the right to list, "
    "an absent object looks like a forbidden one.",
)
_SILENT = _Meaning(
    StorageDeniedError,
    "the store refused without a reason, as it does with expired credentials or a wrong region",
    "Renew the credentials and check the region, then run it again.",
)
_UNKNOWN_KEY = _Meaning(
    StorageDeniedError,
    "the store does not know these credentials",
    "Check the access key and that it belongs to this endpoint.",
)
_WRONG_SECRET = _Meaning(
    StorageDeniedError,
    "the store does not accept the signature",
    "Check the secret key, the region and the endpoint.",
)
_EXPIRED = _Meaning(
    StorageDeniedError, "the credentials have expired", "Renew the session, then run it again."
)
_SKEWED = _Meaning(
    StorageDeniedError,
    "this machine's clock is too far from the store's",
    "Set the clock of this machine, and keep it set, for example with chrony.",
)
_NO_BUCKET = _Meaning(
    StorageError, "no such bucket", "Make the bucket first, or correct its name and endpoint."
)
_ELSEWHERE = _Meaning(
    StorageError, "the bucket is in another region", "Set the region of the bucket."
)
_FROZEN = _Meaning(
    StorageError,
    "the object is in an archive class",
    "Restore it from the archive, and keep lifecycle rules off this prefix.",
)
_NO_ANSWER = _Meaning(
    StorageUnavailableError,
    "the store did not answer",
    "Check the network and the endpoint, then run it again.",
)
_NO_CREDENTIALS = _Meaning(
    StorageDeniedError,
    "no usable credentials were found",
    "Give credentials in the AWS credentials file, a profile or a role.",
)
_NOT_TRUSTED = _Meaning(
    StorageError,
    "the certificate of the store is not trusted",
    "Check the endpoint, or name the CA bundle that signed its certificate.",
)
_NO_BUNDLE = _Meaning(
    StorageError,
    "the CA bundle cannot be read",
    "Let ca, AWS_CA_BUNDLE or ca_bundle name a readable file of certificates in PEM form.",
)
_NO_TLS = _Meaning(
    StorageError,
    "the endpoint does not speak TLS, or no version of it that is safe",
    "Check the scheme and the port of the endpoint.",
)
_UNUSABLE = _Meaning(
    StorageError,
    "these S3 settings cannot work",
    "Check the AWS configuration files and the variables that begin with AWS_.",
)
_LACKING = _Meaning(
    StorageError,
    "the store does not know this kind of request",
    "Use a store with create-if-absent; 'drkeeper doctor' shows what this one can do.",
)
_NONSENSE = _Meaning(StorageUnavailableError, "the store's answer makes no sense")

_CODES = {
    code: meaning
    for meaning, codes in (
        (_MISSING, "NoSuchKey NoSuchVersion NotFound 404"),
        (_SPAN, "InvalidRange 416"),
        (_TAKEN, "PreconditionFailed 412"),
        (_CONFLICT, "ConditionalRequestConflict OperationAborted 409"),
        (
            _FULL,
            (
                "QuotaExceeded ServiceQuotaExceeded InsufficientStorage StorageFull 507 "
                "XMinioStorageFull XMinioAdminBucketQuotaExceeded"
            ),
        ),
        (
            _DENIED,
            (
                "AccessDenied AllAccessDisabled AccountProblem Forbidden UnauthorizedAccess "
                "MethodNotAllowed InvalidPayer NotSignedUp 401 403 405"
            ),
        ),
        (_SILENT, "400"),
        (_UNKNOWN_KEY, "InvalidAccessKeyId InvalidClientTokenId UnrecognizedClientException"),
        (_WRONG_SECRET, "SignatureDoesNotMatch InvalidSecurity"),
        (_EXPIRED, "ExpiredToken ExpiredTokenException InvalidToken TokenRefreshRequired"),
        (_SKEWED, "RequestTimeTooSkewed RequestExpired"),
        (_NO_BUCKET, "NoSuchBucket"),
        (
            _ELSEWHERE,
            (
                "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed "
                "IllegalLocationConstraintException 301 307"
            ),
        ),
        (_FROZEN, "InvalidObjectState"),
        (_LACKING, "NotImplemented 501"),
        (
            _MANGLED,
            ("BadDigest XAmzContentSHA256Mismatch XAmzContentChecksumMismatch IncompleteBody"),
        ),
        (
            _BUSY,
            (
                "InternalError SlowDown SlowDownRead SlowDownWrite ServiceUnavailable Busy "
                "RequestTimeout RequestTimeoutException RequestLimitExceeded Throttling 408 "
                "ThrottlingException ThrottledException TooManyRequests BandwidthLimitExceeded 429"
            ),
        ),
    )
    for code in codes.split()
}
"""Source: Amazon S3 API reference, "Error responses"; MinIO and Ceph for their own codes.

Answers to HEAD have no body; boto3 then gives the HTTP status as the code.
"""

_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.MetadataRetrievalError,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.ProfileNotFound,
    boto.RefreshWithMFAUnsupportedError,
)

_WAY = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.ChecksumError,
    boto.FlexibleChecksumError,
    boto.IncompleteReadError,
)
"""What botocore raises when the way to the store, or back, is broken."""

_OTHER_TONGUE = (
    "wrong version number",
    "record layer failure",
    "packet length too long",
    "unsupported protocol",
    "protocol version",
    "handshake failure",
    "unrecognized name",
)
"""Source: OpenSSL 1.1 to 3.5, ssl/ssl_err.c; what a port without TLS, or with an old one, gives."""

_TELLING = frozenset({408, 429, 501, 507})
"""Statuses that say more than the class they are in."""

_TRANSPORT = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
_PARSING = (
    ResponseParserError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What botocore's parsers raise over a hostile answer: twice the same element, dates of no calendar."""


@contextmanager
def translated(key: str) -> Iterator[None]:
    """Turn everything that boto3 and what is below it raises into ours."""  # noqa: DOC501 - the meanings say which
    try:
        yield
    except boto.ClientError as error:
        raise _from_answer(error, key) from error
    except boto.BotoCoreError as error:
        raise _made(_meaning_of_failure(error), key, type(error).__name__) from error
    except _TRANSPORT as error:
        raise _made(_NO_ANSWER, key, type(error).__name__) from error
    except _PARSING as error:
        raise _made(_NONSENSE, key, type(error).__name__) from error


def code_of(error: boto.ClientError) -> str:
    """Return the error's code, cleaned of anything that a terminal could obey."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return re.sub(r"[^A-Za-z0-9.]", "", code)[:64] or "unknown"


def is_busy(error: boto.ClientError) -> bool:
    """Tell whether the store only put the request off."""
    return _meaning_of_answer(error) is _BUSY


def is_setting(error: Exception) -> bool:
    """Tell whether botocore refused by itself, because of what it was configured with."""
    return not isinstance(error, _CREDENTIALS + _WAY)


def _from_answer(error: boto.ClientError, key: str) -> DrkeeperError:
    code = code_of(error)
    if meaning := _meaning_of_answer(error):
        return _made(meaning, key, code)
    return StorageError(
        f"the store refused the request ({code})",
        hint="Look the code up in the manual of the store.",
        key=key,
        code=code,
    )


def _meaning_of_answer(error: boto.ClientError) -> _Meaning | None:
    if meaning := _CODES.get(code_of(error)):
        return meaning
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # Codes are many, statuses few. Source: RFC 9110 section 15; 520 to 530 are Cloudflare's.
    if status in _TELLING:
        return _CODES[str(status)]
    return _BUSY if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR else None


def _meaning_of_failure(error: boto.BotoCoreError) -> _Meaning:
    match error:
        case boto.SSLError():
            return _meaning_of_tls(error.kwargs.get("error"))
        case _ if isinstance(error, _CREDENTIALS):
            return _NO_CREDENTIALS
        case _ if isinstance(error, _WAY):
            return _NO_ANSWER
        case _:
            return _UNUSABLE


def _meaning_of_tls(error: object) -> _Meaning:
    """Tell what will never work from what may; botocore and urllib3 only pass texts on."""
    text = str(error).lower()
    cause = error.args[0] if isinstance(error, Exception) and error.args else None
    # ssl.SSLError is an OSError too; any other comes from opening the bundle.
    network = ssl.SSLError | ConnectionError | TimeoutError
    unread = isinstance(cause, OSError) and not isinstance(cause, network)
    if unread or "no certificate or crl found" in text:
        return _NO_BUNDLE
    if "certificate" in text or "doesn't match" in text:
        return _NOT_TRUSTED
    if any(words in text for words in _OTHER_TONGUE):
        return _NO_TLS
    return _NO_ANSWER


def _made(meaning: _Meaning, key: str, code: str) -> DrkeeperError:
    of_key = f": {key}" if key else ""
    return meaning.error(f"{meaning.text}{of_key} ({code})", hint=meaning.hint, key=key, code=code)
