"""The hint: what a store says about itself to people and tools; trusted for nothing.

Source:
    docs/format.md 1.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from drkeeper.crypto.digests import digest
from drkeeper.errors import (
    IntegrityError,
    ObjectExistsError,
    ObjectNotFoundError,
    RepositoryNotFoundError,
)
from drkeeper.faults import point
from drkeeper.repository.places import ID_BYTES
from drkeeper.repository.strict_json import MalformedError, encode, parse_object
from drkeeper.storage.base import ObjectStore

HINT_NAME: Final = "drkeeper.json"
_FORMAT: Final = 1
_MAX_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hint:
    """A claim about the repository in a store.

    Attributes:
        repository: Id it claims to have.
        capabilities: What a probe found out about the store; may be empty.
    """

    repository: bytes
    capabilities: Mapping[str, Any] = field(default_factory=dict)


def read_hint(store: ObjectStore, *, expected: bytes | None = None) -> Hint:
    """Read the hint.

    Args:
        store: Where to look.
        expected: Id of the repository that this machine knows to be here.

    Raises:
        RepositoryNotFoundError: There is none.
        IntegrityError: It is malformed, or of another repository than ``expected``.
        StorageError: The store refused or did not answer.
    """
    point("repository.hint.read")
    try:
        length = store.info(HINT_NAME).stored_bytes
        data = store.get(HINT_NAME, length=length) if length <= _MAX_BYTES else b""
    except ObjectNotFoundError as error:
        raise RepositoryNotFoundError(
            f"there is no repository at {store.location}",
            hint="Check the address, or make a repository there with drkeeper init.",
        ) from error
    hint = _parse(data, store)
    if expected is not None and hint.repository != expected:
        raise IntegrityError(
            f"{store.location} holds repository {hint.repository.hex()}, "
            f"not {expected.hex()} as this machine remembers",
            hint="Correct the address, or find out who replaced the repository.",
        )
    return hint


def write_hint(store: ObjectStore, hint: Hint) -> None:
    """Store the hint, in the place of another if there is one.

    Between the two there may be none for a moment; nothing depends on it.

    Raises:
        StorageError: The store refused or did not answer.
    """
    members = {
        "format": _FORMAT,
        "repository": hint.repository.hex(),
        "capabilities": dict(hint.capabilities),
    }
    data = encode({**members, "digest": _digest(members)})
    try:
        point("repository.hint.put")
        store.put(HINT_NAME, data)
    except ObjectExistsError:
        point("repository.hint.replace")
        store.delete(HINT_NAME)
        store.put(HINT_NAME, data)
    point("repository.hint.written")


def _parse(data: bytes, store: ObjectStore) -> Hint:
    malformed = IntegrityError(
        f"{HINT_NAME} at {store.location} is malformed",
        hint="Restore the object from a copy of the store.",
    )
    try:
        value = parse_object(data)
    except MalformedError as error:
        raise malformed from error
    said = value.pop("digest", None)
    text, capabilities = value.get("repository"), value.get("capabilities", {})
    # The format comes first: a later one may say its digest in another way.
    if type(value.get("format")) is not int or not isinstance(capabilities, dict):
        raise malformed
    if value["format"] != _FORMAT:
        raise IntegrityError(
            f"{store.location} holds a repository of format {value['format']}",
            hint="Install a newer drkeeper on this machine.",
        )
    try:
        sound = said == _digest(value)
    except RecursionError as error:  # nested deeper than it can be put into order
        raise malformed from error
    if not sound:
        raise malformed
    if not isinstance(text, str) or len(text) != 2 * ID_BYTES or text.strip("0123456789abcdef"):
        raise malformed
    return Hint(bytes.fromhex(text), capabilities)


def _digest(members: Mapping[str, Any]) -> str:
    """Return what shows accidents, and nothing more: whoever can write can compute it.

    Source:
        docs/format.md 1.1.
    """
    return digest(encode(_ordered(members))).hex()


def _ordered(value: object) -> object:
    """Return ``value`` with the members of every object in the order of their names."""
    match value:
        case Mapping():
            return {name: _ordered(value[name]) for name in sorted(value)}
        case list():
            return [_ordered(item) for item in value]
        case _:
            return value
