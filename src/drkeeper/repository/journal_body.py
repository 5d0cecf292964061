"""The bodies of journal entries: what each operation says, and nothing about whether it may.

Source:
    docs/format.md 3.1 to 3.4.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from drkeeper.model.instants import exact_rfc3339
from drkeeper.repository.strict_json import MAX_INTEGER, MalformedError

# Later Pythons read 24:00 as the next day's first hour; what is legal must not depend on that.
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
)

HexId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
HexDigest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
ObjectRef = Annotated[str, msgspec.Meta(pattern=r"\A(packs|meta|refs)/[0-9a-f]{32}\Z")]
Number = Annotated[int, msgspec.Meta(ge=1, le=MAX_INTEGER)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Text = Annotated[str, msgspec.Meta(max_length=1024)]
Epoch = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9._-]{1,64}\Z")]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    pass


class Slots(_Body, frozen=True, forbid_unknown_fields=True):
    """Digests of the three key slots of a session."""

    data: HexDigest
    meta: HexDigest
    refs: HexDigest


class KeyringBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `create` and `keyring`; the keyring is parsed by its own module."""

    keyring: dict[str, Any]


class OpenBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `open`."""

    session: HexId
    lineage: HexId
    host: HexId
    keyring: Number
    keyslots: Slots
    resumes: Number | None


class PlaceBody(_Body, frozen=True, forbid_unknown_fields=True):
    """A place (docs/format.md 3.3)."""

    session: HexId
    id: HexId
    offset: Count
    stored: Annotated[int, msgspec.Meta(ge=0, le=64 * 1024 * 1024)]
    plain: Annotated[int, msgspec.Meta(ge=0, le=64 * 1024 * 1024)]
    codec: Annotated[int, msgspec.Meta(ge=0, le=1)]
    digest: HexDigest


class InventoryBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Which inventory lists the new objects."""

    k: Number
    digest: HexDigest


class CountsBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Numbers for people."""

    entries: Count
    plain_bytes: Count
    new_bytes: Count
    stored_bytes: Count


class CommitBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `commit`."""

    session: HexId
    lineage: HexId
    host: HexId
    seq: Number
    previous: Count
    consistent_at: str
    finished_at: str
    next_due: str | None
    complete: bool
    consistency: str
    root: PlaceBody
    refs: PlaceBody
    inventory: InventoryBody
    counts: CountsBody


class AbortBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `abort`."""

    session: HexId
    reason: Text


class ExpireBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `expire`."""

    commits: Annotated[list[Number], msgspec.Meta(min_length=1)]
    reason: Text


class HoldBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `hold`."""

    commit: Number
    until: str | None


class ReleaseBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `release`."""

    commit: Number


class CondemnBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `condemn`."""

    objects: Annotated[list[ObjectRef], msgspec.Meta(min_length=1)]


class SweptBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `swept`."""

    condemn: Number


class MarkBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `mark`."""

    lineage: HexId
    epoch: Epoch
    seq: Count
    digest: HexDigest


class CheckpointBody(_Body, frozen=True, forbid_unknown_fields=True):
    """Body of `checkpoint`; the state is compared, or parsed by its own module."""

    state: dict[str, Any]


Body = (
    KeyringBody
    | OpenBody
    | CommitBody
    | AbortBody
    | ExpireBody
    | HoldBody
    | ReleaseBody
    | CondemnBody
    | SweptBody
    | MarkBody
    | CheckpointBody
)

_BODIES: Final[Mapping[str, type[Body]]] = {
    "create": KeyringBody,
    "keyring": KeyringBody,
    "open": OpenBody,
    "commit": CommitBody,
    "abort": AbortBody,
    "expire": ExpireBody,
    "hold": HoldBody,
    "release": ReleaseBody,
    "condemn": CondemnBody,
    "swept": SweptBody,
    "mark": MarkBody,
    "checkpoint": CheckpointBody,
}

_CONSISTENCIES: Final = frozenset({"application", "crash", "none"})


def parse_body(op: str, value: object) -> Body:
    """Read the body of an operation.

    Raises:
        MalformedError: The operation is unknown, or this is not a body of it.
    """
    shape = _BODIES.get(op)
    if shape is None:
        raise MalformedError("the op is unknown")
    try:
        body = msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise MalformedError(f"malformed body of {op}: {error}") from error
    match body:
        case CommitBody():
            _check_commit(body)
        case HoldBody(until=str() as until):
            parse_instant(until)
        case ExpireBody(commits=commits):
            _check_unique(commits)
        case CondemnBody(objects=objects):
            _check_unique(objects)
        case _:
            pass
    return body


def parse_instant(text: str) -> datetime:
    """Read the one form in which times are written.

    Raises:
        MalformedError: It is not a time of this form.
    """
    if not _INSTANT.fullmatch(text):
        raise MalformedError("a time is not RFC 3339 in UTC with six decimals")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedError("a time is no instant") from error


def format_instant(instant: datetime) -> str:
    """Write an aware instant as the format asks. Source: docs/format.md, preamble."""
    return exact_rfc3339(instant)


def _check_commit(body: CommitBody) -> None:
    for text in (body.consistent_at, body.finished_at, body.next_due):
        if text is not None:
            parse_instant(text)
    if body.consistency not in _CONSISTENCIES:
        raise MalformedError("the consistency of a commit is unknown")


def _check_unique(items: list[Any]) -> None:
    if len(set(items)) != len(items):
        raise MalformedError("an item is listed twice")
