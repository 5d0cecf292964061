"""The ledger of this machine and its copies in repositories."""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.files import is_there
from drkeeper.app.wiring.repositories import (
    Access,
    Passphrase,
    configured_key,
    open_for_backup,
    open_for_reading,
)
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger, shown_place
from drkeeper.clock import Clock
from drkeeper.errors import ConfigurationError, DrkeeperError, IntegrityError, LedgerError
from drkeeper.faults import point
from drkeeper.repository.keyring import Role
from drkeeper.repository.private_file import read_private, replace_private
from drkeeper.repository.repository import Repository

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger
    from drkeeper.ledger.verify import VerifyReport
    from drkeeper.operations.keeping_ledgers import Covered, Gathered, Kept, Stored
    from drkeeper.repository.records import Series

_MOST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of storing the ledger in one repository.

    Attributes:
        repository: Its name in the configuration.
        stored: How it stands there; ``None`` when it could not be stored.
        error: Why not.
    """

    repository: str
    stored: "Stored | None" = None
    error: DrkeeperError | None = None


def copy_ledger(
    configuration: Configuration,
    clock: Clock,
    passphrase: Passphrase | None,
    *,
    only: Collection[str] | None = None,
) -> Iterator[Copied]:
    """Store what is new in the ledger in every repository, each for itself.

    Args:
        configuration: Of this machine.
        clock: Dates and measures.
        passphrase: Opens protected keys.
        only: Names of the repositories; all of them when ``None``.

    Raises:
        LedgerError: The ledger cannot be opened.
    """
    names = [name for name in configuration.repositories if only is None or name in only]
    if not names:
        return
    place, host = ledger_place(configuration), configuration.host
    with open_run_ledger(place, host=host, clock=clock) as ledger:
        for name in names:
            try:
                stored = _copy_to(name, ledger, configuration, clock, passphrase=passphrase)
                yield Copied(name, stored)
            except DrkeeperError as error:
                yield Copied(name, error=error)


def copy_quietly(
    configuration: Configuration,
    clock: Clock,
    passphrase: Passphrase | None,
    *,
    only: Collection[str] | None = None,
) -> list[str]:
    """Store what is new, and return what could not be done, in words: nothing hangs on it."""
    try:
        copied = copy_ledger(configuration, clock, passphrase, only=only)
        return [
            f"the ledger could not be stored in repository {each.repository}: {each.error}"
            for each in copied
            if each.error is not None
        ]
    except DrkeeperError as error:
        return [f"the ledger could not be stored: {error}"]


def _copy_to(
    name: str,
    ledger: "Ledger",
    configuration: Configuration,
    clock: Clock,
    *,
    passphrase: Passphrase | None,
) -> "Stored":
    from drkeeper.operations.keeping_ledgers import store_ledger  # noqa: PLC0415 - see the package
    from drkeeper.repository.records import ledger_series  # noqa: PLC0415 - see the package

    settings, state = configuration.repository(name), configuration.locations.state
    repository, key = open_for_backup(settings, state, clock, passphrase)
    if key.host is None or key.signing_key is None:
        raise ConfigurationError("a ledger is stored with the key of a host")
    memory = state / f"stored-ledger-{repository.id.hex()}.json"
    stored = store_ledger(
        ledger,
        ledger_series(repository, key.host, key),
        key.signing_key,
        configuration.host,
        seen=_seen(memory),
    )
    point("app.wiring.ledger_copies.remembering")
    with suppress(DrkeeperError):  # it only makes a loss in the store known
        replace_private(str(memory), json.dumps({"number": stored.number}).encode())
    return stored


def _seen(memory: Path) -> int:
    """Return the highest number that this machine has stored; 0 when it does not know."""
    try:
        number = json.loads(read_private(str(memory), most_bytes=_MOST_BYTES))["number"]
    except (DrkeeperError, ValueError, KeyError, TypeError):
        return 0
    return number if type(number) is int and number > 0 else 0


@dataclass(frozen=True, slots=True)
class Verified:
    """A ledger beside what is stored of it.

    Attributes:
        report: What was found.
        covered: What the stored checkpoints say.
        store: Where they are.
    """

    report: "VerifyReport"
    covered: "Covered"
    store: str

    @property
    def newer(self) -> int:
        """How many events no stored checkpoint covers yet."""
        return max(0, self.report.events - self.covered.size)


def verify_with_stored(
    ledger: "Ledger",
    access: Access,
    configuration: Configuration,
    *,
    clock: Clock,
    passphrase: Passphrase | None,
) -> Verified:
    """Verify a ledger, also by what a repository has of it.

    Raises:
        DrkeeperError: The ledger cannot be looked at, or the repository not read.
    """
    from drkeeper.operations.keeping_ledgers import covered, read_kept  # noqa: PLC0415 - see the package

    repository = open_for_reading(access, configuration.locations.state, clock, passphrase)
    series = readable_series(repository, access, passphrase)
    keys = series[0].trusted_keys if series else []
    found = covered(read_kept(series), ledger.origin(), keys)
    report = ledger.verify(found.signed)
    report = replace(report, findings=(*report.findings, *found.findings))
    return Verified(report, found, repository.store.location)


def readable_series(
    repository: Repository,
    access: Access,
    passphrase: Passphrase | None,
    *,
    host: bytes | None = None,
) -> "list[Series]":
    """Return the series of one host; else of all when the keys open all, else of this host.

    Raises:
        DrkeeperError: A key is open to others, or the store refused.
    """
    from drkeeper.repository.records import ledger_hosts, ledger_series  # noqa: PLC0415 - see the package

    hosts = ledger_hosts(repository) if host is None else [host]
    if host is None and not access.kits and not _reads_all(access, passphrase):
        own = configured_key(access.settings, "host.key", passphrase)
        hosts = [each for each in hosts if own is not None and each == own.host]
    return [ledger_series(repository, each) for each in hosts]


def _reads_all(access: Access, passphrase: Passphrase | None) -> bool:
    keys = (
        configured_key(access.settings, name, passphrase)
        for name in ("verifier.key", "recovery.key")
    )
    return any(key is not None and key.role in {Role.VERIFIER, Role.RECOVERY} for key in keys)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A ledger that was made from what is stored.

    Attributes:
        place: Where it is.
        gathered: What it was made of.
        aside: Where the one before it is now; ``None`` when there was none.
    """

    place: str
    gathered: "Gathered"
    aside: Path | None


def choose_ledger(kept: "Kept", origin: str | None = None) -> str:
    """Return the name of the ledger that is meant: the one that was named, or the only one.

    Raises:
        IntegrityError: There is none.
        ConfigurationError: There are several, and none was named.
    """
    known = kept.origins()
    if not known:
        why = f": {kept.findings[0]}" if kept.findings else ""
        raise IntegrityError(
            f"no ledger is stored there{why}",
            hint="Look into another repository; snapshots need no ledger to be restored.",
        )
    if origin is not None:
        found = [each for each in known if each.endswith(origin)]
        if len(found) != 1:
            raise ConfigurationError(
                f"there is no ledger {origin}", hint=f"Choose from: {', '.join(known)}."
            )
        return found[0]
    if len(known) > 1:
        told = "; ".join(
            f"{name.rpartition('/')[2]} of {part.machine}, {part.last} events to {part.events[-1].at}"
            for name, part in known.items()
        )
        raise ConfigurationError(
            f"there are {len(known)} ledgers: {told}", hint="Choose one with --ledger ID."
        )
    return next(iter(known))


def rebuild_ledger(
    gathered: "Gathered", configuration: Configuration, clock: Clock, *, replace_whole: bool = False
) -> Rebuilt:
    """Make the ledger of this machine from what was gathered.

    What is there is moved aside: a damaged one always, a whole one only when told.

    Raises:
        LedgerError: There is a whole one; or none can be made.
        IntegrityError: What was gathered is no history.
    """
    from drkeeper.ledger.storing import make_ledger  # noqa: PLC0415 - see the package

    place = ledger_place(configuration)
    aside = None
    if isinstance(place, Path) and is_there(place):
        if not replace_whole:
            _refuse_whole(place, configuration.host, clock)
        aside = _move_aside(place, clock.now())
    try:
        make_ledger(place, gathered.events, gathered.notes)
    except BaseException:
        if aside is not None and isinstance(place, Path) and not is_there(place):
            aside.rename(place)  # nothing is better than what was there
        raise
    return Rebuilt(shown_place(place), gathered, aside)


def _refuse_whole(place: Path, host: str, clock: Clock) -> None:
    """Let nobody lose a sound ledger.

    Raises:
        LedgerError: The one there is whole.
    """
    try:
        with open_run_ledger(place, host=host, clock=clock, read_only=True) as ledger:
            report = ledger.verify()
    except LedgerError as error:
        if error.transient:
            raise
        return
    if report.ok:
        raise LedgerError(
            f"{place} is whole, with {report.events} events",
            hint="Add --replace to move it aside and rebuild it all the same.",
        )


def _move_aside(place: Path, now: datetime) -> Path:
    """Give a ledger, and what belongs to it, another name.

    Raises:
        LedgerError: It cannot be moved.
    """
    aside = place.with_name(f"{place.name}.aside-{now:%Y%m%dT%H%M%S.%fZ}")
    try:
        for suffix in ("-journal", "-wal", "-shm", ""):
            beside = place.with_name(place.name + suffix)
            if not suffix or is_there(beside):
                point("app.wiring.ledger_copies.moving")
                beside.rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        raise LedgerError(
            f"cannot move {place} aside: {error.strerror}",
            hint="Give this user the right to write to the state directory.",
        ) from error
    return aside
