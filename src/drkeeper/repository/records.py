"""Records: small objects that a host signs and seals beside its snapshots (docs/format.md 11).

A record stands on its own. It carries the key slot of its one key, and it is believed because a key
of the keyring signed what is in it, name and repository included; so it needs no session in the
journal, and lives on when every snapshot of its time has expired. Nothing of it is parsed before
the signature has been verified.
"""

import os
import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from drkeeper.crypto.age import encrypt
from drkeeper.crypto.digests import digest
from drkeeper.crypto.sealing import (
    ID_BYTES,
    Header,
    Kind,
    id_of_name,
    open_sealed,
    seal,
    sealed_bytes,
)
from drkeeper.crypto.signing import KEY_BYTES, RECORD_DOMAIN, SIGNATURE_BYTES, VerifyKey
from drkeeper.errors import (
    ConfigurationError,
    IntegrityError,
    ObjectExistsError,
)
from drkeeper.faults import point
from drkeeper.repository.compression import Compressor, decode
from drkeeper.repository.journal_create import create_once
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.keyring import Keyring, Role
from drkeeper.repository.keyslots import KEY_BYTES as RECORD_KEY_BYTES, MAX_SLOT_BYTES
from drkeeper.repository.places import KeyClass
from drkeeper.repository.repository import Repository

MAX_CONTENT_BYTES: Final = 16 * 1024 * 1024
"""Longest content. Source: docs/format.md 11."""

_ALIGNMENT: Final = 4096
_SLOT: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">I")
_CONTENT: Final = struct.Struct(">BI")
_NAME: Final = struct.Struct(">H")
_FIXED: Final = KEY_BYTES + SIGNATURE_BYTES + _LENGTH.size
_MOST_PLAIN: Final = _FIXED + _CONTENT.size + MAX_CONTENT_BYTES + _ALIGNMENT


@dataclass(frozen=True, slots=True)
class Record:
    """A record that a host has signed.

    Attributes:
        number: Its place in its series.
        host: Id of the host whose key signed it.
        signer: That key.
        former: Whether the key has left the keyring since.
        content: What was stored.
    """

    number: int
    host: bytes
    signer: VerifyKey
    former: bool
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """An object with the name of a record; nothing of it is believed yet.

    Attributes:
        number: The number in its name.
        stored_bytes: Its length.
    """

    number: int
    stored_bytes: int


class Series:
    """Records of one kind under one prefix, numbered from 1 without gaps, each written once.

    Any number of threads may read.

    Args:
        repository: Where.
        kind: What they are.
        prefix: What their names begin with.
        digits: How many digits follow.
        host: The one host that may have signed them; ``None`` for any.
        key: Signs what is written; ``None`` for reading only.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        kind: Kind,
        prefix: str,
        digits: int,
        host: bytes | None = None,
        key: KeyFile | None = None,
    ) -> None:
        self._repository = repository
        self._kind = kind
        self._prefix = prefix
        self._digits = digits
        self._host = host
        self._key = key

    @property
    def host(self) -> bytes | None:
        """The one host that may have signed them; ``None`` for any."""
        return self._host

    def name(self, number: int) -> str:
        """Name a record in the store. Source: docs/format.md 1."""
        return f"{self._prefix}{number:0{self._digits}d}"

    def found(self, *, after: int = 0) -> list[Found]:
        """Return what the store lists, ascending.

        Raises:
            StorageError: The store refused or did not answer.
        """
        point("repository.records.list")
        listed = self._repository.store.entries(self._prefix, start_after=self.name(after))
        numbers = ((info.key.removeprefix(self._prefix), info.stored_bytes) for info in listed)
        return [
            Found(int(text), length)
            for text, length in numbers
            if len(text) == self._digits and text.isdecimal() and int(text) > after
        ]

    def numbers(self, *, after: int = 0) -> list[int]:
        """Return the numbers above ``after`` that are taken, ascending; nothing is read.

        Raises:
            StorageError: The store refused or did not answer.
        """
        return [each.number for each in self.found(after=after)]

    def last(self, *, after: int = 0) -> int:
        """Return the highest number; ``after`` when there is none above it.

        Raises:
            StorageError: The store refused or did not answer.
        """
        return max((each.number for each in self.found(after=after)), default=after)

    def get(self, number: int) -> bytes:
        """Return the content of a record.

        Raises:
            DrkeeperError: As for :meth:`read`.
        """
        return self.read(number).content

    def read(self, number: int) -> Record:
        """Return a record, authenticated.

        Raises:
            ObjectNotFoundError: There is none of this number.
            KeyNotFoundError: No identity at hand opens it.
            IntegrityError: It is not what a host stored under this name.
            StorageError: The store refused or did not answer.
        """
        name, store = self.name(number), self._repository.store
        point("repository.records.get")
        length = store.info(name).stored_bytes
        if not _SLOT.size < length <= _SLOT.size + MAX_SLOT_BYTES + _sealed_bytes(self._kind):
            raise IntegrityError(f"{name} is too large or too small to be a record")
        plain = self._opened(name, store.get(name, length=length))
        signer, body = self._signed(name, plain)
        host, former = self._host_of(name, signer)
        return Record(number, host, signer, former, _content(name, body))

    def put(self, number: int, content: bytes) -> None:
        """Store a record durably.

        Raises:
            ObjectExistsError: There is another one of this number.
            StorageUnavailableError: It is unclear whether it was stored.
            ConfigurationError: The key may not sign here, or the content is too long.
        """
        name, store = self.name(number), self._repository.store
        sealed = self._sealed(name, content)
        point("repository.records.put")
        if not create_once(store, self._repository.clock, name, sealed, what=name):
            raise ObjectExistsError(f"there is a {name} already")
        point("repository.records.stored")

    def append(self, content: bytes) -> int:
        """Store a record under the next free number, and return that.

        Raises:
            DrkeeperError: As for :meth:`put`.
        """
        number = self.last()
        while True:
            number += 1
            try:
                self.put(number, content)
            except ObjectExistsError:
                continue  # another host was faster
            return number

    @cached_property
    def trusted_keys(self) -> list[VerifyKey]:
        """Every key that hosts sign with, or have signed with.

        Raises:
            IntegrityError: The journal is not what it was.
            StorageError: The store refused or did not answer.
        """
        return [VerifyKey.parse(key) for key in self._hosts_by_key]

    @cached_property
    def _hosts_by_key(self) -> dict[str, bytes]:
        """Whose key each one is or was; what the keyring in force says counts most."""
        found: dict[str, bytes] = {}
        for keyring in self._repository.journal.keyrings():
            found |= _hosts_in(keyring)
        return found

    # -- writing

    def _sealed(self, name: str, content: bytes) -> bytes:
        key, repository = self._key, self._repository
        if key is None or key.host is None or key.signing_key is None:
            raise ConfigurationError(
                "only the key of a host signs records", hint="Use the key file of this host."
            )
        if len(content) > MAX_CONTENT_BYTES:
            raise ConfigurationError(f"{name} would be longer than a record may be")
        codec, stored = Compressor().encode(content)
        body = _CONTENT.pack(codec, len(content)) + bytes(stored)
        signature = key.signing_key.sign(RECORD_DOMAIN, _message(repository.id, name, body))
        plain = key.signing_key.verify_key.raw + signature + _LENGTH.pack(len(body)) + body
        plain += bytes(-len(plain) % _ALIGNMENT)
        secret = os.urandom(RECORD_KEY_BYTES)
        slot = encrypt(secret, repository.keyring.recipients(KeyClass.META, key.host))
        return _SLOT.pack(len(slot)) + slot + seal(secret, self._header(name, slot), plain)

    def _header(self, name: str, slot: bytes) -> Header:
        return Header(self._kind, self._repository.id, digest(slot)[:ID_BYTES], id_of_name(name))

    # -- reading

    def _opened(self, name: str, data: bytes) -> bytes:
        (length,) = _SLOT.unpack_from(data)
        end = _SLOT.size + length
        if length > MAX_SLOT_BYTES or end >= len(data):
            raise IntegrityError(f"{name} is no record")
        slot = data[_SLOT.size : end]
        secret = self._repository.keys.unwrap(name, slot, KeyClass.META)
        try:
            return open_sealed(secret, self._header(name, slot), memoryview(data)[end:])
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error}", hint=error.hint) from error

    def _signed(self, name: str, plain: bytes) -> tuple[VerifyKey, bytes]:
        if len(plain) < _FIXED or len(plain) % _ALIGNMENT:
            raise IntegrityError(f"{name} is no record")
        signer, signature = VerifyKey(plain[:KEY_BYTES]), plain[KEY_BYTES:][:SIGNATURE_BYTES]
        (length,) = _LENGTH.unpack_from(plain, KEY_BYTES + SIGNATURE_BYTES)
        if _FIXED + length > len(plain):
            raise IntegrityError(f"{name} is no record")
        body = plain[_FIXED : _FIXED + length]
        try:
            signer.verify(RECORD_DOMAIN, _message(self._repository.id, name, body), signature)
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error}", signer=signer.hex) from error
        return signer, body

    def _host_of(self, name: str, signer: VerifyKey) -> tuple[bytes, bool]:
        in_force = _hosts_in(self._repository.keyring)
        former = signer.hex not in in_force
        host = self._hosts_by_key.get(signer.hex) if former else in_force[signer.hex]
        if host is None or self._host not in {None, host}:
            raise IntegrityError(
                f"{name} is signed by a key that may not sign it",
                hint="Find out who can write to the store.",
                signer=signer.hex,
            )
        return host, former


def ledger_series(repository: Repository, host: bytes, key: KeyFile | None = None) -> Series:
    """Return the series in which a host keeps its ledger. Source: docs/format.md 11.1."""
    prefix = f"ledger/{host.hex()}/"
    return Series(repository, kind=Kind.LEDGER, prefix=prefix, digits=12, host=host, key=key)


def ledger_hosts(repository: Repository) -> list[bytes]:
    """Return the hosts that keep a ledger in the repository, by what the store lists.

    Raises:
        StorageError: The store refused or did not answer.
    """
    hosts: list[bytes] = []
    after = "ledger/"
    while True:
        found = next(repository.store.entries("ledger/", start_after=after), None)
        if found is None:
            return hosts
        text = found.key.split("/")[1]
        if len(text) == 2 * ID_BYTES and not text.strip("0123456789abcdef"):
            hosts.append(bytes.fromhex(text))
        after = f"ledger/{text}/{10**12 - 1}"


def rescue_series(repository: Repository, key: KeyFile | None = None) -> Series:
    """Return the series of what a bare machine needs, of all hosts. Source: docs/format.md 11.2."""
    return Series(repository, kind=Kind.RESCUE, prefix="rescue/", digits=6, key=key)


def _message(repository: bytes, name: str, body: bytes) -> bytes:
    spelt = name.encode()
    return b"".join((repository, _NAME.pack(len(spelt)), spelt, body))


def _content(name: str, body: bytes) -> bytes:
    if len(body) < _CONTENT.size:
        raise IntegrityError(f"{name} is no record")
    codec, length = _CONTENT.unpack_from(body)
    if length > MAX_CONTENT_BYTES:
        raise IntegrityError(f"{name} is longer than a record may be")
    try:
        return bytes(decode(codec, body[_CONTENT.size :], length))
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error}") from error


def _hosts_in(keyring: Keyring) -> dict[str, bytes]:
    return {
        signer.key: bytes.fromhex(signer.host)
        for signer in keyring.signers
        if Role.HOST in signer.roles and signer.host is not None
    }


def _sealed_bytes(kind: Kind) -> int:
    return sealed_bytes(kind, _MOST_PLAIN)
