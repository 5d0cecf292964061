"""The keyring: who may sign what, and to whom session keys are sealed.

A keyring is a value. It becomes binding only as the body of a journal entry that an admin
signed; see :mod:`drkeeper.repository.state`.

Source:
    docs/format.md 2 and 2.1.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Self

import msgspec

from drkeeper.crypto.age import Recipient
from drkeeper.errors import ConfigurationError
from drkeeper.repository.places import KeyClass

SUPPORTED_FORMAT: Final = 1
SUPPORTED_SUITE: Final = 1
_HEX_KEY: Final = re.compile(r"[0-9a-f]{64}")
_HEX_ID: Final = re.compile(r"[0-9a-f]{32}")

_MAX_MEMBERS: Final = 4096
"""Most admins, signers or recipients of one keyring; each is tried on every entry."""


class Role(StrEnum):
    """What a key is for."""

    ADMIN = "admin"
    HOST = "host"
    RECOVERY = "recovery"
    VERIFIER = "verifier"
    JANITOR = "janitor"


_CLASSES: Final = {
    Role.RECOVERY: frozenset(KeyClass),
    Role.VERIFIER: frozenset(KeyClass),
    Role.HOST: frozenset({KeyClass.META, KeyClass.REFS}),
    Role.JANITOR: frozenset({KeyClass.REFS}),
}

_ALLOWED: Final = {
    "create": frozenset({Role.ADMIN}),
    "keyring": frozenset({Role.ADMIN}),
    "open": frozenset({Role.HOST}),
    "commit": frozenset({Role.HOST}),
    "abort": frozenset({Role.HOST, Role.JANITOR, Role.ADMIN}),
    "expire": frozenset({Role.JANITOR, Role.ADMIN}),
    "hold": frozenset({Role.HOST, Role.JANITOR, Role.ADMIN}),
    "release": frozenset({Role.JANITOR, Role.ADMIN}),
    "condemn": frozenset({Role.JANITOR, Role.ADMIN}),
    "swept": frozenset({Role.JANITOR, Role.ADMIN}),
    "mark": frozenset({Role.HOST}),
    "checkpoint": frozenset({Role.HOST, Role.JANITOR, Role.ADMIN}),
}
"""Who may sign which operation. Source: docs/format.md 3.1."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs journal entries.

    Attributes:
        key: Ed25519 public key, 64 hex digits.
        roles: Host, janitor, or both.
        host: Host id in hex; ``None`` when the key is no host's.
    """

    key: str
    roles: frozenset[Role]
    host: str | None


@dataclass(frozen=True, slots=True)
class Reader:
    """A recipient of session keys.

    Attributes:
        recipient: ``age1pq1…``.
        role: Decides the classes it opens.
        host: Host id in hex, when the role is host.
    """

    recipient: str = field(repr=False)
    role: Role
    host: str | None


@dataclass(frozen=True, slots=True)
class Keyring:
    """Everything a repository believes about keys, as of one journal entry.

    Attributes:
        version: 1, then one more with each keyring entry.
        suite: Cipher suite of sealed objects.
        format: Lowest format a reader may accept from now on.
        admins: Public keys that sign keyrings, hex.
        signers: Keys of hosts and janitors.
        readers: Recipients of session keys.
    """

    version: int
    suite: int
    format: int
    admins: tuple[str, ...]
    signers: tuple[Signer, ...]
    readers: tuple[Reader, ...]
    _recipients: tuple[Recipient, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _validate(self)
        # Only a frozen instance's own __init__ may complete it.
        parsed = tuple(_recipient(reader.recipient) for reader in self.readers)
        object.__setattr__(self, "_recipients", parsed)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every public key that may sign anything, hosts first, since they sign most."""
        return tuple(dict.fromkeys([*(signer.key for signer in self.signers), *self.admins]))

    def allows(self, key: str, op: str, host: str | None = None) -> bool:
        """Tell whether ``key`` may sign ``op``; as ``host`` where the operation names one."""
        wanted = _ALLOWED.get(op, frozenset())
        if Role.ADMIN in wanted and key in self.admins:
            return True
        for signer in self.signers:
            if signer.key != key:
                continue
            if host is None:
                return bool(signer.roles & wanted)
            return Role.HOST in signer.roles & wanted and signer.host == host
        return False

    def recipients(self, key_class: KeyClass, host: bytes) -> list[Recipient]:
        """Return who is given the session keys of this class, for sessions of ``host``."""
        return [
            recipient
            for reader, recipient in zip(self.readers, self._recipients, strict=True)
            if key_class in _CLASSES[reader.role]
            and (reader.role is not Role.HOST or reader.host == host.hex())
        ]

    def openers(self, key_class: KeyClass) -> list[Role]:
        """Return the roles in this keyring that open ``key_class``, for messages."""
        present = {reader.role for reader in self.readers}
        return [role for role in Role if role in present and key_class in _CLASSES[role]]

    def with_reader(self, recipient: Recipient, role: Role, host: bytes | None = None) -> Self:
        """Return a keyring that also seals new sessions to ``recipient``."""
        reader = Reader(str(recipient), role, None if host is None else host.hex())
        others = tuple(r for r in self.readers if r.recipient != reader.recipient)
        return replace(self, readers=(*others, reader))

    def without_reader(self, recipient: str) -> Self:
        """Return a keyring that seals no new session to ``recipient``.

        Sessions that exist stay open to it: what was given cannot be taken back.

        Raises:
            ConfigurationError: It is no recipient, or the last recovery recipient.
        """
        kept = tuple(r for r in self.readers if r.recipient != recipient)
        if len(kept) == len(self.readers):
            raise ConfigurationError("the keyring has no such recipient")
        return replace(self, readers=kept)

    def with_signer(self, key: str, roles: Iterable[Role], host: bytes | None = None) -> Self:
        """Return a keyring in which ``key`` signs for ``roles``."""
        signer = Signer(key, frozenset(roles), None if host is None else host.hex())
        others = tuple(s for s in self.signers if s.key != key)
        return replace(self, signers=(*others, signer))

    def without_signer(self, key: str) -> Self:
        """Return a keyring in which ``key`` signs nothing any more.

        Raises:
            ConfigurationError: It is no signer.
        """
        kept = tuple(s for s in self.signers if s.key != key)
        if len(kept) == len(self.signers):
            raise ConfigurationError("the keyring has no such signer")
        return replace(self, signers=kept)

    def renewed(self, before: Self) -> Self:
        """Return this keyring as the successor of ``before``."""
        return replace(self, version=before.version + 1)

    def to_json(self) -> dict[str, object]:
        """Return the form that stands in journal entries."""
        return {
            "version": self.version,
            "suite": self.suite,
            "format": self.format,
            "admins": list(self.admins),
            "signers": [
                {"key": s.key, "roles": sorted(s.roles), "host": s.host} for s in self.signers
            ],
            "recipients": [
                {"recipient": r.recipient, "role": r.role.value, "host": r.host}
                for r in self.readers
            ],
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read the form of :meth:`to_json`.

        Raises:
            ConfigurationError: It is not a keyring, or not a sound one.
        """
        try:
            raw = msgspec.convert(value, _RawKeyring)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"malformed keyring: {error}") from error
        return cls(
            version=raw.version,
            suite=raw.suite,
            format=raw.format,
            admins=tuple(raw.admins),
            signers=tuple(Signer(s.key, _roles(s.roles), s.host) for s in raw.signers),
            readers=tuple(Reader(r.recipient, _role(r.role), r.host) for r in raw.recipients),
        )


def most_recipients(keyring: Keyring) -> int:
    """Return how many recipients the largest key slot of any host's sessions has."""
    shared = Counter(reader.role for reader in keyring.readers)
    of_hosts = Counter(reader.host for reader in keyring.readers if reader.role is Role.HOST)
    shared[Role.HOST] = max(of_hosts.values(), default=0)
    return max(
        sum(count for role, count in shared.items() if key_class in _CLASSES[role])
        for key_class in KeyClass
    )


@lru_cache(maxsize=_MAX_MEMBERS)
def _recipient(text: str) -> Recipient:
    # Takes milliseconds, and each keyring in the journal names most of the ones before it again.
    return Recipient.parse(text)


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise ConfigurationError("the keyring has an unknown role") from None


def _roles(texts: list[str]) -> frozenset[Role]:
    # One spelling only, so that equal keyrings are equal JSON (checkpoints compare them).
    if texts != sorted(set(texts)):
        raise ConfigurationError("the keyring has roles that are not in order")
    return frozenset(_role(text) for text in texts)


def _validate(keyring: Keyring) -> None:
    _require(bool(keyring.admins), "the keyring has no admin")
    _require(
        any(reader.role is Role.RECOVERY for reader in keyring.readers),
        "the keyring has no recovery recipient",
    )
    keys = [signer.key for signer in keyring.signers]
    _require(
        all(_HEX_KEY.fullmatch(key) for key in (*keyring.admins, *keys)),
        "the keyring has a malformed public key",
    )
    recipients = [reader.recipient for reader in keyring.readers]
    for names in (keyring.admins, keys, recipients):
        _require(len(set(names)) == len(names), "the keyring names a key twice")
    for signer in keyring.signers:
        _require(
            bool(signer.roles) and signer.roles <= {Role.HOST, Role.JANITOR},
            "the keyring has a signer without a role, or with one that does not sign",
        )
        _require_host(Role.HOST in signer.roles, signer.host)
    for reader in keyring.readers:
        _require(reader.role is not Role.ADMIN, "the keyring has an admin among the recipients")
        _require_host(reader.role is Role.HOST, reader.host)


def _require_host(is_host: bool, host: str | None) -> None:  # noqa: FBT001 - read with its call
    _require(is_host == (host is not None), "the keyring has a host key without a host id")
    _require(host is None or bool(_HEX_ID.fullmatch(host)), "the keyring has a malformed host id")


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 - an assertion by another name
    if not holds:
        raise ConfigurationError(message)


_Number = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class _RawSigner(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    roles: list[str]
    host: str | None


class _RawReader(msgspec.Struct, forbid_unknown_fields=True):
    recipient: str
    role: str
    host: str | None


class _RawKeyring(msgspec.Struct, forbid_unknown_fields=True):
    version: _Number
    suite: _Number
    format: _Number
    admins: Annotated[list[str], msgspec.Meta(max_length=_MAX_MEMBERS)]
    signers: Annotated[list[_RawSigner], msgspec.Meta(max_length=_MAX_MEMBERS)]
    recipients: Annotated[list[_RawReader], msgspec.Meta(max_length=_MAX_MEMBERS)]
