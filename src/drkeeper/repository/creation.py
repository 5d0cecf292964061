"""Making a new repository: keys first, then the hint, then journal entry 1, which is the repository.

A crash before entry 1 leaves nothing but perhaps a hint, and creating again works. Keys are handed
to the caller before anything is stored, so no repository exists whose keys are lost.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from drkeeper.clock import Clock
from drkeeper.crypto.age import Identity, Recipient
from drkeeper.crypto.derive import SECRET_BYTES, Domain
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import ConfigurationError, IntegrityError
from drkeeper.faults import point
from drkeeper.repository.hint import HINT_NAME, Hint, read_hint, write_hint
from drkeeper.repository.journal import Journal
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.keyring import (
    SUPPORTED_FORMAT,
    SUPPORTED_SUITE,
    Keyring,
    Reader,
    Role,
    Signer,
)
from drkeeper.repository.places import ID_BYTES
from drkeeper.storage.base import ObjectStore

_PROBE_PREFIX: Final = "probe/"


@dataclass(frozen=True, slots=True)
class NewRepository:
    """A repository and all its keys.

    Attributes:
        id: Its id.
        keyring: Its first keyring.
        admin: Signs keyrings; to be kept offline.
        host: Of the host that backs up.
        janitor: Of the machine that prunes.
        verifier: Of the machine that drills; ``None`` when hosts are to be write-only.
        recovery: A recovery key made here, because none was given.
    """

    id: bytes
    keyring: Keyring
    admin: KeyFile
    host: KeyFile
    janitor: KeyFile
    verifier: KeyFile | None
    recovery: KeyFile | None

    @property
    def admins(self) -> tuple[str, ...]:
        """Public admin keys, hex: what other machines are told to trust."""
        return self.keyring.admins


def create_repository(  # noqa: PLR0913 - the choices at the birth of a repository, by name
    store: ObjectStore,
    *,
    clock: Clock,
    save: Callable[[NewRepository], None],
    recovery: Sequence[Recipient] = (),
    write_only: bool = False,
    host_id: bytes | None = None,
    capabilities: Mapping[str, Any] | None = None,
) -> NewRepository:
    """Make a repository in an empty store.

    Args:
        store: Where; nothing but an unused hint and the traces of a probe may be there.
        clock: Dates entry 1.
        save: Called with the keys before anything is stored; must make them durable.
        recovery: Who can always read everything; a recovery key is made when there is none.
        write_only: Make no verifier key, so that the host cannot read back what it stored.
        host_id: 16 bytes; drawn when ``None``.
        capabilities: What a probe found out about the store; kept in the hint.

    Raises:
        ConfigurationError: The store is not empty.
        IntegrityError: The store says that entry 1 exists, and that it does not.
        StorageUnavailableError: It is unclear whether the repository was created; creating again
            tells.
        StorageError: The store refused.
    """
    _refuse_occupied(store)
    new = make_keys(recovery=recovery, write_only=write_only, host_id=host_id)
    point("repository.creation.save_keys")
    save(new)
    hint = Hint(new.id, capabilities or {})
    write_hint(store, hint)
    journal = Journal(store, new.id, admins=new.admins, clock=clock)
    point("repository.creation.create")
    try:
        journal.begin({"keyring": new.keyring.to_json()}, _signing_key(new.admin))
    except IntegrityError:
        _refuse_occupied(store)
        raise
    point("repository.creation.created")
    # A rival that lost the race for entry 1 may have replaced the hint before it did.
    if read_hint(store).repository != new.id:
        write_hint(store, hint)
    return new


def make_keys(
    *, recovery: Sequence[Recipient], write_only: bool, host_id: bytes | None
) -> NewRepository:
    """Draw a repository id and all the keys; nothing is stored."""
    repository = os.urandom(ID_BYTES)
    host = os.urandom(ID_BYTES) if host_id is None else host_id
    admin = KeyFile(Role.ADMIN, repository, signing_key=SigningKey.generate())
    host_key = KeyFile(
        Role.HOST,
        repository,
        host=host,
        signing_key=SigningKey.generate(),
        domain=Domain(os.urandom(SECRET_BYTES)),
        identities=(Identity.generate(),),
    )
    janitor = KeyFile(
        Role.JANITOR,
        repository,
        signing_key=SigningKey.generate(),
        identities=(Identity.generate(),),
    )
    verifier = None if write_only else _reader_key(Role.VERIFIER, repository)
    made = None if recovery else _reader_key(Role.RECOVERY, repository)
    readers = [Reader(str(recipient), Role.RECOVERY, None) for recipient in recovery]
    for key in (made, verifier, host_key, janitor):
        if key is not None:
            of_host = None if key.host is None else key.host.hex()
            readers.append(Reader(str(key.identities[0].recipient), key.role, of_host))
    keyring = Keyring(
        version=1,
        suite=SUPPORTED_SUITE,
        format=SUPPORTED_FORMAT,
        admins=(_public(admin),),
        signers=(
            Signer(_public(host_key), frozenset({Role.HOST}), host.hex()),
            Signer(_public(janitor), frozenset({Role.JANITOR}), None),
        ),
        readers=tuple(readers),
    )
    return NewRepository(
        id=repository,
        keyring=keyring,
        admin=admin,
        host=host_key,
        janitor=janitor,
        verifier=verifier,
        recovery=made,
    )


def new_host_key(repository: bytes, *, domain: Domain | None = None) -> KeyFile:
    """Draw the key of one more host; an admin must put it into the keyring.

    Args:
        repository: Id of the repository.
        domain: Share the chunks of another host; its own domain when ``None``.
    """
    return KeyFile(
        Role.HOST,
        repository,
        host=os.urandom(ID_BYTES),
        signing_key=SigningKey.generate(),
        domain=domain or Domain(os.urandom(SECRET_BYTES)),
        identities=(Identity.generate(),),
    )


def with_host(keyring: Keyring, host: KeyFile) -> Keyring:
    """Return a keyring in which one more host takes part.

    Raises:
        ConfigurationError: It is no host key.
    """
    if host.role is not Role.HOST or host.host is None:
        raise ConfigurationError("this is not the key of a host")
    with_signer = keyring.with_signer(_public(host), [Role.HOST], host.host)
    return with_signer.with_reader(host.identities[0].recipient, Role.HOST, host.host)


def _reader_key(role: Role, repository: bytes) -> KeyFile:
    return KeyFile(role, repository, identities=(Identity.generate(),))


def _public(key: KeyFile) -> str:
    return _signing_key(key).verify_key.hex


def _signing_key(key: KeyFile) -> SigningKey:
    if key.signing_key is None:
        raise ConfigurationError(f"a {key.role.value} key does not sign")
    return key.signing_key


def _refuse_occupied(store: ObjectStore) -> None:
    for info in store.entries():
        if info.key != HINT_NAME and not info.key.startswith(_PROBE_PREFIX):
            raise ConfigurationError(
                f"{store.location} is not empty",
                hint="Choose an empty folder or prefix; to use the repository that is there, "
                "configure its keys.",
            )
