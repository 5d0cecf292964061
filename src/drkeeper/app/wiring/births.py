"""Make a repository: probe the store, draw keys, save them, then create."""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drkeeper.app.config.configuration import RepositorySettings
from drkeeper.app.config.files import make_private, write_new
from drkeeper.app.wiring.kit import Kit, kit_text
from drkeeper.app.wiring.repositories import ADMINS, HOST_KEY
from drkeeper.app.wiring.stores import open_bare_store
from drkeeper.clock import Clock
from drkeeper.crypto.age import Recipient
from drkeeper.errors import (
    ConfigurationError,
    DrkeeperError,
    RepositoryNotFoundError,
    StorageError,
)
from drkeeper.repository.creation import NewRepository, create_repository
from drkeeper.repository.hint import read_hint
from drkeeper.repository.repository import open_repository
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.probe import Capabilities, probe

PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Birth:
    """What was made.

    Attributes:
        repository: Id of the repository, hex.
        admins: Public admin keys, hex.
        capabilities: What the probe found out about the store.
        files: Key files written.
        kit: The recovery kit's text; a secret.
    """

    repository: str
    admins: tuple[str, ...]
    capabilities: Capabilities
    files: tuple[Path, ...]
    kit: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the repository is to be.

    Attributes:
        settings: Where.
        recovery: Recipients that can always read everything; a key is made when there are none.
        write_only: Whether this machine is to be unable to read what it stores.
        kit_file: Where the kit goes; ``None`` when the caller shows it.
        kit_passphrase: Protects the keys in the kit.
        policy: The policy that the kit's example commands name.
    """

    settings: RepositorySettings
    recovery: tuple[str, ...] = ()
    write_only: bool = False
    kit_file: Path | None = None
    kit_passphrase: str | None = field(default=None, repr=False)
    policy: str = "POLICY"


def make_repository(wishes: Wishes, state: Path, clock: Clock, say: Callable[[str], None]) -> Birth:
    """Probe the store and make a repository in it; keys are on disk before it exists.

    Raises:
        ConfigurationError: There are keys or a repository already, or a recipient is malformed.
        StorageError: The store cannot hold a repository.
    """
    settings = wishes.settings
    make_private(state)
    recovery = [Recipient.parse(text) for text in wishes.recovery]
    _refuse_existing(settings)
    store = open_bare_store(settings, clock, create=True)
    _refuse_occupied(store)
    say(f"probing {store.location}")
    capabilities = _probed(store, clock)
    saved: list[Path] = []
    kit = ""

    def save(new: NewRepository) -> None:
        nonlocal kit
        kit = _kit_of(new, wishes)
        _save_keys(new, wishes, kit, saved)

    try:
        new = create_repository(
            store,
            clock=clock,
            save=save,
            recovery=recovery,
            write_only=wishes.write_only,
            capabilities=_for_hint(capabilities),
        )
    except BaseException:
        if _has_no_journal(store):
            _forget(saved)
        raise
    open_repository(
        store, clock=clock, state_dir=str(state), repository_id=new.id, admins=new.admins
    )
    return Birth(new.id.hex(), new.admins, capabilities, tuple(saved), kit)


def _probed(store: ObjectStore, clock: Clock) -> Capabilities:
    capabilities = probe(store, clock=clock)
    if not capabilities.safe_for_several_writers:
        problems = "; ".join(capabilities.problems) or "it does not keep its promises"
        raise StorageError(
            f"{store.location} cannot hold a repository: {problems}",
            hint="Use a store with create-if-absent, exact reads and complete listings.",
        )
    return capabilities


def _for_hint(capabilities: Capabilities) -> dict[str, object]:
    # The repository's JSON knows whole numbers only.
    values: dict[str, object] = json.loads(capabilities.to_json())
    skew = capabilities.clock_skew_s
    return values | {"clock_skew_s": None if skew is None else round(skew)}


def _has_no_journal(store: ObjectStore) -> bool:
    """Whether it is certain that no repository came to be, so that its keys are worth nothing."""
    try:
        return next(iter(store.entries("journal/")), None) is None
    except DrkeeperError:
        return False


def _refuse_existing(settings: RepositorySettings) -> None:
    there = [path.name for path in settings.keys.glob("*")] if settings.keys.is_dir() else []
    if there:
        raise ConfigurationError(
            f"{settings.keys} holds keys already: {', '.join(sorted(there))}",
            hint="Choose another name with --name, or move the old keys away.",
        )


def _refuse_occupied(store: ObjectStore) -> None:
    with contextlib.suppress(RepositoryNotFoundError):
        hint = read_hint(store)
        raise ConfigurationError(
            f"{store.location} holds repository {hint.repository.hex()} already",
            hint="Choose an empty folder or prefix.",
        )


def _kit_of(new: NewRepository, wishes: Wishes) -> str:
    # A write-only host must not be able to expire or condemn either.
    offline = [new.recovery, new.admin, new.janitor if wishes.write_only else None]
    kit = Kit(
        keys=tuple(key for key in offline if key is not None),
        admins=new.admins,
        repository=new.id.hex(),
        store=wishes.settings,
    )
    return kit_text(kit, policy_hint=wishes.policy, passphrase=wishes.kit_passphrase)


def _save_keys(new: NewRepository, wishes: Wishes, kit: str, saved: list[Path]) -> None:
    folder = wishes.settings.keys
    files: list[tuple[Path, str]] = [(folder / HOST_KEY, new.host.to_text())]
    if new.verifier is not None:
        files.append((folder / "verifier.key", new.verifier.to_text()))
    if not wishes.write_only:
        files.append((folder / "janitor.key", new.janitor.to_text()))
    files.append((folder / ADMINS, _admins_text(new.admins)))
    if wishes.kit_file is not None:
        files.insert(0, (wishes.kit_file, kit))
    make_private(folder)
    for path, text in files:
        write_new(path, text.encode(), PRIVATE)
        saved.append(path)


def _admins_text(admins: Sequence[str]) -> str:
    return "# public admin keys that this machine trusts\n" + "".join(f"{key}\n" for key in admins)


def _forget(saved: Sequence[Path]) -> None:
    for path in saved:
        with contextlib.suppress(OSError):
            path.unlink()
