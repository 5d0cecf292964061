"""Make a repository: probe the store, draw keys, save them, then create."""

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drkeeper.app.config.configuration import RepositorySettings
from drkeeper.app.config.files import is_there, make_private, write_new
from drkeeper.app.wiring.kit import Kit, kit_text
from drkeeper.app.wiring.repositories import ADMINS, HOST_KEY
from drkeeper.app.wiring.stores import open_bare_store
from drkeeper.app.wiring.unfinished import Unfinished, begin, end, find, forget
from drkeeper.clock import Clock
from drkeeper.crypto.age import Recipient
from drkeeper.errors import (
    ConfigurationError,
    DrkeeperError,
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
        taken_up: An earlier call made the repository, and was cut off.
        note: Stays until ``end_birth``.
    """

    repository: str
    admins: tuple[str, ...]
    capabilities: Capabilities
    files: tuple[Path, ...]
    note: Unfinished
    taken_up: bool = False


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the repository is to be.

    Attributes:
        settings: Where.
        recovery: Recipients that can always read everything; a key is made when there are none.
        write_only: Whether this machine is to be unable to read what it stores.
        kit_file: Where the kit goes; ``None`` to show it.
        kit_passphrase: Protects the keys in the kit.
        policy: The policy that the kit's example commands name.
        show: Shows the kit, unless it goes to a file.
    """

    settings: RepositorySettings
    recovery: tuple[str, ...] = ()
    write_only: bool = False
    kit_file: Path | None = None
    kit_passphrase: str | None = field(default=None, repr=False)
    policy: str = "POLICY"
    show: Callable[[str], None] = field(default=lambda _: None, repr=False)


def make_repository(wishes: Wishes, state: Path, clock: Clock, say: Callable[[str], None]) -> Birth:
    """Probe the store and make a repository in it, whose keys are on disk before it exists.

    The recovery kit has been written or shown by then, too: whoever is cut off is left with a kit
    that opens nothing, never with a repository without a kit. When an earlier call was cut off, its
    keys are used if their repository exists, else removed. The caller calls ``end_birth`` when all
    is done.

    Raises:
        ConfigurationError: There are keys or a repository already, or a recipient is malformed.
        StorageError: The store cannot hold a repository.
    """
    settings = wishes.settings
    make_private(state)
    recovery = [Recipient.parse(text) for text in wishes.recovery]
    before = find(settings.keys)
    if before is None:
        _refuse_existing(settings)
    store = open_bare_store(settings, clock, create=True)
    if _has_journal(store):
        return _taken_up(store, before, wishes, state=state, clock=clock)
    if before is not None:
        _refuse_to_forget(before, settings, state)
        forget(before)
    say(f"probing {store.location}")
    capabilities = _probed(store, clock)
    notes: list[Unfinished] = []

    def save(new: NewRepository) -> None:
        kit = _kit_of(new, wishes)
        files = _key_files(new, wishes, kit)
        _refuse_to_replace(path for path, _ in files)
        make_private(settings.keys)
        names = tuple(path for path, _ in files)
        note = Unfinished(settings.keys, settings.store, new.id.hex(), wishes.kit_file, names)
        notes.append(note)
        begin(note)
        for path, text in files:
            write_new(path, text.encode(), PRIVATE)
        if wishes.kit_file is None:
            wishes.show(kit)

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
        if notes and _has_no_journal(store):
            forget(notes[0])
            if wishes.kit_file is None:
                say("no repository was made: if a recovery kit was shown, it opens nothing")
        raise
    open_repository(
        store, clock=clock, state_dir=str(state), repository_id=new.id, admins=new.admins
    )
    _remove_traces_of_probes(store)
    return Birth(new.id.hex(), new.admins, capabilities, notes[0].files, notes[0])


def end_birth(birth: Birth) -> None:
    """Say that all is done: from now on the keys are nobody's to remove."""
    end(birth.note)


def _taken_up(
    store: ObjectStore, before: Unfinished | None, wishes: Wishes, *, state: Path, clock: Clock
) -> Birth:
    """End what an earlier call began, if it was that one that made the repository in the store.

    Raises:
        ConfigurationError: It is another repository, or its kit went elsewhere.
    """
    repository = read_hint(store).repository
    if before is None or before.repository != repository.hex():
        raise ConfigurationError(
            f"{store.location} holds repository {repository.hex()} already",
            hint="Choose an empty folder or prefix.",
        )
    if before.kit is None and wishes.kit_file is not None:
        raise ConfigurationError(
            "an earlier init made this repository, and showed its recovery kit",
            hint="Run init again with --kit-file - instead.",
        )
    if before.kit != wishes.kit_file:
        raise ConfigurationError(
            f"an earlier init made this repository and wrote its recovery kit to {before.kit}",
            hint=f"Run init again with --kit-file {before.kit}.",
        )
    text = (before.folder / ADMINS).read_text(encoding="ascii")
    admins = tuple(line for line in text.splitlines() if not line.startswith("#"))
    open_repository(
        store, clock=clock, state_dir=str(state), repository_id=repository, admins=admins
    )
    capabilities = _probed(store, clock)
    _remove_traces_of_probes(store)
    return Birth(repository.hex(), admins, capabilities, before.files, before, taken_up=True)


def _remove_traces_of_probes(store: ObjectStore) -> None:
    # An earlier call may have been cut off in its probe; a store that forbids it keeps them.
    with contextlib.suppress(DrkeeperError):
        for info in store.entries("probe/"):
            store.delete(info.key)


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


def _has_journal(store: ObjectStore) -> bool:
    return next(iter(store.entries("journal/")), None) is not None


def _has_no_journal(store: ObjectStore) -> bool:
    """Whether it is certain that no repository came to be, so that its keys are worth nothing."""
    try:
        return not _has_journal(store)
    except DrkeeperError:
        return False


def _refuse_existing(settings: RepositorySettings) -> None:
    there = [path.name for path in settings.keys.glob("*")] if is_there(settings.keys) else []
    if there:
        raise ConfigurationError(
            f"{settings.keys} holds keys already: {', '.join(sorted(there))}",
            hint="Choose another name with --name, or move the old keys away.",
        )


def _refuse_to_forget(before: Unfinished, settings: RepositorySettings, state: Path) -> None:
    """Make sure that the keys of an earlier call open nothing, here or elsewhere.

    Raises:
        ConfigurationError: They may.
    """
    was_here = is_there(state / "repositories" / f"{before.repository}.json")
    if before.store != settings.store or was_here:
        raise ConfigurationError(
            f"{before.folder} holds the keys of repository {before.repository} in {before.store}",
            hint="Choose another name with --name, or move the old keys away.",
        )


def _refuse_to_replace(paths: Iterable[Path]) -> None:
    # Asked before the note names them: what it names may be removed.
    for path in paths:
        if is_there(path):
            raise ConfigurationError(
                f"{path} exists already", hint="Move it away, or choose another name."
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


def _key_files(new: NewRepository, wishes: Wishes, kit: str) -> list[tuple[Path, str]]:
    folder = wishes.settings.keys
    files: list[tuple[Path, str]] = [(folder / HOST_KEY, new.host.to_text())]
    if new.verifier is not None:
        files.append((folder / "verifier.key", new.verifier.to_text()))
    if not wishes.write_only:
        files.append((folder / "janitor.key", new.janitor.to_text()))
    files.append((folder / ADMINS, _admins_text(new.admins)))
    if wishes.kit_file is not None:
        files.insert(0, (wishes.kit_file, kit))
    return files


def _admins_text(admins: Sequence[str]) -> str:
    return "# public admin keys that this machine trusts\n" + "".join(f"{key}\n" for key in admins)
