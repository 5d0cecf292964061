"""Open a repository with the keys that are at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drkeeper.app.config.configuration import NO_KEYS, RepositorySettings
from drkeeper.app.config.environment import environment
from drkeeper.app.config.files import is_there
from drkeeper.app.config.secrets import credential_file, read_private_file
from drkeeper.app.wiring.kit import Kit, parse_kit
from drkeeper.app.wiring.stores import open_store
from drkeeper.clock import Clock
from drkeeper.errors import ConfigurationError, KeyNotFoundError
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.keyring import Role
from drkeeper.repository.repository import Repository, open_repository

HOST_KEY = "host.key"
READING_KEYS = ("verifier.key", "recovery.key", HOST_KEY)
"""Key files that open something, in the order in which they are tried."""
ADMINS = "admins"
"""File beside the keys with the public admin keys to trust, one a line."""

Passphrase = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Access:
    """Which repository to open, and what is at hand to open it.

    Attributes:
        settings: Where it is.
        kits: Identity files that were named; the configured keys are used when there are none.
        admins: Public admin keys that were named.
    """

    settings: RepositorySettings
    kits: tuple[Kit, ...] = field(default=(), repr=False)
    admins: tuple[str, ...] = ()


def read_identity_file(path: Path, passphrase: Passphrase | None) -> Kit:
    """Read a recovery kit or key file.

    Raises:
        ConfigurationError: It is missing, open to others, or no such file.
        KeyNotFoundError: Its passphrase is wrong or absent.
    """
    try:
        return parse_kit(read_private_file(path), passphrase)
    except (ConfigurationError, KeyNotFoundError) as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}", hint=error.hint) from error


def configured_key(
    settings: RepositorySettings, name: str, passphrase: Passphrase | None
) -> KeyFile | None:
    """Return a key of the repository's folder of keys, or of systemd's credentials.

    ``None`` when there is no such file.

    Raises:
        ConfigurationError: It is open to others, or no key file.
        KeyNotFoundError: Its passphrase is wrong or absent.
    """
    path = credential_file(f"{settings.name}.{name}", environment()) or settings.keys / name
    if not is_there(path):
        return None
    kit = read_identity_file(path, passphrase)
    if len(kit.keys) != 1:
        raise ConfigurationError(f"{path} holds {len(kit.keys)} keys, not one")
    return kit.keys[0]


def host_key(settings: RepositorySettings, passphrase: Passphrase | None) -> KeyFile:
    """Return the key with which this machine backs up to a repository.

    Raises:
        KeyNotFoundError: There is none.
        ConfigurationError: It is open to others, or no host key.
    """
    key = configured_key(settings, HOST_KEY, passphrase)
    if key is None:
        raise KeyNotFoundError(
            f"there is no {settings.keys / HOST_KEY}",
            hint="Run drkeeper init for a new repository, or put the host's key file there.",
        )
    if key.role is not Role.HOST:
        raise ConfigurationError(f"{settings.keys / HOST_KEY} is a {key.role} key, no host key")
    return key


def open_for_backup(
    settings: RepositorySettings,
    state: Path,
    clock: Clock,
    passphrase: Passphrase | None,
    *,
    hurried: Callable[[], bool] | None = None,
) -> tuple[Repository, KeyFile]:
    """Open a repository to write to it, with this machine's host key.

    Args:
        settings: Where it is.
        state: Folder of pins.
        clock: Dates and measures.
        passphrase: Opens a protected key file.
        hurried: Whether what is still to be sent goes without a limit, from then on.

    Raises:
        KeyNotFoundError: There is no host key.
        RepositoryNotFoundError: There is no repository.
        ConfigurationError: The key belongs to another repository, or nothing is known to trust.
    """
    key = host_key(settings, passphrase)
    repository = open_repository(
        open_store(settings, clock, hurried=hurried),
        clock=clock,
        identities=key.identities,
        state_dir=str(state),
        repository_id=key.repository,
        admins=_known_admins(settings),
    )
    return repository, key.for_repository(repository.id)


def open_for_reading(  # noqa: PLR0913 - what is known of it and of the caller, by name
    access: Access,
    state: Path | None,
    clock: Clock,
    passphrase: Passphrase | None,
    *,
    salvage: bool = False,
    blind: bool = False,
    keys_opened: Callable[[], None] | None = None,
) -> Repository:
    """Open a repository to read it, with every key at hand.

    Args:
        access: Which one, with which keys.
        state: Folder of pins; ``None`` to remember nothing.
        clock: Dates and measures.
        passphrase: Opens protected key files.
        salvage: Read the whole journal, and report damage instead of refusing.
        blind: Use no keys; none need to be there.
        keys_opened: Called when the key files have been read and opened.

    Raises:
        KeyNotFoundError: There is no key at all.
        RepositoryNotFoundError: There is no repository.
        ConfigurationError: A key belongs to another repository, or nothing is known to trust.
    """
    keys = [] if blind else keys_of(access, passphrase)
    if keys_opened is not None:
        keys_opened()
    expected = next((key.repository for key in keys if key.repository), None)
    told = [admin for kit in access.kits for admin in kit.admins]
    repository = open_repository(
        open_store(access.settings, clock),
        clock=clock,
        identities=[identity for key in keys for identity in key.identities],
        state_dir=None if state is None else str(state),
        repository_id=expected,
        admins=tuple(dict.fromkeys([*access.admins, *told])) or _known_admins(access.settings),
        salvage=salvage,
        full=salvage,
    )
    for key in keys:
        key.for_repository(repository.id)
    return repository


def keys_of(access: Access, passphrase: Passphrase | None) -> list[KeyFile]:
    """Return every key at hand for a repository.

    Raises:
        KeyNotFoundError: There is none, or a passphrase is wrong or absent.
        ConfigurationError: A key file is open to others, or none.
    """
    if access.kits:
        return [key for kit in access.kits for key in kit.keys]
    found = [configured_key(access.settings, name, passphrase) for name in READING_KEYS]
    keys = [key for key in found if key is not None]
    if not keys and access.settings.keys == NO_KEYS:
        raise KeyNotFoundError(
            f"no key is named that opens {access.settings.store}",
            hint="Give the recovery kit with --identity FILE.",
        )
    if not keys:
        raise KeyNotFoundError(
            f"there is no key in {access.settings.keys}",
            hint="Give the recovery kit with --identity FILE.",
        )
    return keys


def _known_admins(settings: RepositorySettings) -> tuple[str, ...]:
    """Return the admin keys of the file beside the keys; none when there is no such file."""
    try:
        text = (settings.keys / ADMINS).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ()
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def known_roles(settings: RepositorySettings, names: Sequence[str] = READING_KEYS) -> list[str]:
    """Return which of the named key files exist, without reading them."""
    return [name for name in names if is_there(settings.keys / name)]
