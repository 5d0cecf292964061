"""New keys for a machine in the place of one that is lost."""

from dataclasses import dataclass
from pathlib import Path

from drkeeper.app.config.configuration import RepositorySettings
from drkeeper.app.config.files import is_there, write_new
from drkeeper.app.wiring.kit import Kit
from drkeeper.app.wiring.repositories import ADMINS, HOST_KEY
from drkeeper.crypto.age import Identity
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import ConfigurationError, KeyNotFoundError
from drkeeper.faults import point
from drkeeper.repository.creation import new_host_key, with_host
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.keyring import Keyring, Role
from drkeeper.repository.repository import Repository, update_keyring

_PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What was changed.

    Attributes:
        host: Id of the new host.
        files: Key files that were written.
        removed: Public keys that may sign and read nothing new any more.
        keyring: Version of the keyring in force now.
    """

    host: bytes
    files: list[Path]
    removed: list[str]
    keyring: int


def take_over(
    repository: Repository, kits: tuple[Kit, ...], settings: RepositorySettings, lost: bytes | None
) -> TakenOver:
    """Make host, verifier and janitor keys, and put them into the keyring for those of ``lost``.

    The key files are durable before the keyring names them. What the lost host has signed stays
    believed, and what it was given to read stays readable to whoever has its keys; nothing new is.

    Args:
        repository: Where.
        kits: Hold the admin key.
        settings: Say where key files belong.
        lost: Id of the host that is gone; ``None`` to add one more.

    Raises:
        KeyNotFoundError: There is no admin key at hand.
        ConfigurationError: There are key files already.
        DrkeeperError: The keyring could not be changed.
    """
    admin = _admin(kits, repository.keyring)
    host = new_host_key(repository.id)
    verifier = KeyFile(Role.VERIFIER, repository.id, identities=(Identity.generate(),))
    janitor = KeyFile(
        Role.JANITOR,
        repository.id,
        signing_key=SigningKey.generate(),
        identities=(Identity.generate(),),
    )
    admins = "# public admin keys that this machine trusts\n"
    admins += "".join(f"{key}\n" for key in repository.keyring.admins)
    files = {
        settings.keys / HOST_KEY: host.to_text(),
        settings.keys / "verifier.key": verifier.to_text(),
        settings.keys / "janitor.key": janitor.to_text(),
        settings.keys / ADMINS: admins,
    }
    for path in files:
        if is_there(path):
            raise ConfigurationError(
                f"{path} exists already", hint="Move the folder of keys away first."
            )
    for path, text in files.items():
        point("app.wiring.takeover.writing")
        write_new(path, text.encode(), _PRIVATE)
    removed: list[str] = []

    def change(keyring: Keyring) -> Keyring:
        keyring, gone = _without(keyring, lost)
        removed[:] = gone
        keyring = with_host(keyring, host)
        keyring = keyring.with_reader(verifier.identities[0].recipient, Role.VERIFIER)
        keyring = keyring.with_reader(janitor.identities[0].recipient, Role.JANITOR)
        if janitor.signing_key is not None:
            keyring = keyring.with_signer(janitor.signing_key.verify_key.hex, [Role.JANITOR])
        return keyring

    point("app.wiring.takeover.changing")
    made = update_keyring(repository, admin, change)
    point("app.wiring.takeover.changed")
    return TakenOver(host.host or b"", list(files), removed, made.version)


def _without(keyring: Keyring, lost: bytes | None) -> tuple[Keyring, list[str]]:
    """Take out the keys of a lost host; of the only one also the verifier's and janitor's it had."""
    if lost is None:
        return keyring, []
    alone = all(signer.host in {None, lost.hex()} for signer in keyring.signers)
    theirs = {Role.VERIFIER, Role.JANITOR} if alone else set()
    signers = [
        signer.key
        for signer in keyring.signers
        if signer.host == lost.hex() or (signer.host is None and signer.roles & theirs)
    ]
    readers = [
        reader.recipient
        for reader in keyring.readers
        if reader.host == lost.hex() or reader.role in theirs
    ]
    for key in signers:
        keyring = keyring.without_signer(key)
    for recipient in readers:
        keyring = keyring.without_reader(recipient)
    return keyring, [*signers, *readers]


def _admin(kits: tuple[Kit, ...], keyring: Keyring) -> SigningKey:
    for kit in kits:
        for key in kit.keys:
            signing = key.signing_key
            if key.role is Role.ADMIN and signing and signing.verify_key.hex in keyring.admins:
                return signing
    raise KeyNotFoundError(
        "there is no admin key of this repository in what was given",
        hint="Give the recovery kit with --identity; it holds the admin key.",
    )
