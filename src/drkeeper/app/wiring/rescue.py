"""What a bare machine needs besides the kit: kept in the repository, and brought back from there.

Configuration and policies go there with each backup that finds them changed, sealed and signed as a
record of the host (docs/format.md 11.2). Secrets are not among them.
"""

import hashlib
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from drkeeper import __version__
from drkeeper.app.config.accepted import read_accepted
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.environment import environment
from drkeeper.app.config.files import is_there, make_private, write_new
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.reading import LARGEST_FILE, Files, read_files
from drkeeper.app.wiring.logs.known import secrets_of_environment
from drkeeper.app.wiring.logs.redacting import REDACTED, Redactor
from drkeeper.clock import Clock
from drkeeper.errors import (
    ConfigurationError,
    DrkeeperError,
    IntegrityError,
    KeyNotFoundError,
    ObjectNotFoundError,
)
from drkeeper.faults import point
from drkeeper.model.instants import exact_rfc3339
from drkeeper.operations.snapshots import Snapshot
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.private_file import read_private, replace_private
from drkeeper.repository.records import Series, rescue_series
from drkeeper.repository.repository import Repository

FORM: Final = "drkeeper/rescue/1"
"""Names this form. Source: docs/disaster.md, "What is kept for a rescue"."""
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.ya?ml")
_MOST_POLICIES: Final = 10_000
_MOST_BYTES: Final = 4096
_LOOKED_BACK: Final = 64
"""Records that are looked at for the newest of one's own when this machine does not remember it."""
_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Rescue:
    """What one host has kept for its rescue.

    Attributes:
        number: Of the record.
        host: Id of the host.
        machine: Its name.
        made_at: When, by its clock.
        drkeeper: The version that it ran.
        settings: Text of ``drkeeper.yaml``; ``None`` when there was none.
        policies: Text of each policy file, by its name.
        former: Whether the host has left the keyring since.
    """

    number: int
    host: bytes
    machine: str
    made_at: str
    drkeeper: str
    settings: str | None
    policies: dict[str, str] = field(default_factory=dict)
    former: bool = False

    def redacted(self) -> list[str]:
        """Return the names of the files in which something was left out."""
        texts = {"drkeeper.yaml": self.settings or "", **self.policies}
        return [name for name, text in texts.items() if REDACTED in text]


# ---------------------------------------------------------------- keeping


def keep_rescue(
    repository: Repository, key: KeyFile, configuration: Configuration, clock: Clock
) -> int | None:
    """Store configuration and policies if they are not there as they are now.

    Returns:
        The number of the new record; ``None`` when nothing has changed.

    Raises:
        DrkeeperError: They cannot be read, or the store refused.
    """
    said = _said(configuration, key)
    if said["settings"] is None and not said["policies"]:
        return None  # made by hand, without any file
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    memory = configuration.locations.state / f"rescue-{repository.id.hex()}.json"
    if _remembered(memory) == digest:
        return None
    series = rescue_series(repository, key)
    number = None
    if digest != _newest_of(series, key.host):
        content = {"form": FORM, "made_at": exact_rfc3339(clock.now()), "digest": digest, **said}
        point("app.wiring.rescue.storing")
        number = series.append(json.dumps(content, separators=(",", ":")).encode())
        point("app.wiring.rescue.stored")
    with suppress(DrkeeperError):  # then it is looked for in the store next time
        replace_private(str(memory), json.dumps({"digest": digest}).encode())
    return number


def keep_quietly(
    repository: Repository,
    key: KeyFile,
    configuration: Configuration,
    clock: Clock,
    *,
    warn: Callable[[str], None],
) -> None:
    """Keep what a bare machine needs beside the snapshots; no backup fails by it."""
    try:
        keep_rescue(repository, key, configuration, clock)
    except DrkeeperError as error:
        warn(f"the configuration could not be kept for a rescue: {error}")


def _said(configuration: Configuration, key: KeyFile) -> dict[str, object]:
    locations = configuration.locations
    accepted = locations.accepted
    files = read_files(locations) if accepted is None else read_accepted(accepted)
    redactor = Redactor(secrets_of_environment(environment()))
    settings, policies = _texts(files, redactor)
    return {
        "host": "" if key.host is None else key.host.hex(),
        "machine": configuration.host,
        "system": {
            "drkeeper": __version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "sqlite": sqlite3.sqlite_version,
        },
        "settings": settings,
        "policies": policies,
    }


def _texts(files: Files, redactor: Redactor) -> tuple[str | None, dict[str, str]]:
    def text(content: bytes) -> str:
        return redactor.text(content[:LARGEST_FILE].decode("utf-8", "replace"))

    settings = None if files.settings is None else text(files.settings.content)
    return settings, {file.path.name: text(file.content) for file in files.policies}


def _remembered(memory: Path) -> str | None:
    try:
        digest = json.loads(read_private(str(memory), most_bytes=_MOST_BYTES))["digest"]
    except (DrkeeperError, ValueError, KeyError, TypeError):
        return None
    return digest if isinstance(digest, str) else None


def _newest_of(series: Series, host: bytes | None) -> str | None:
    """Return the digest of the newest record of a host, if it is among the newest of all."""
    last = series.last()
    for number in range(last, max(0, last - _LOOKED_BACK), -1):
        with suppress(KeyNotFoundError, IntegrityError, ObjectNotFoundError, ValueError):
            record = series.read(number)
            if record.host == host:
                digest = json.loads(record.content).get("digest")
                return digest if isinstance(digest, str) else None
    return None


# ---------------------------------------------------------------- bringing back


def read_rescues(repository: Repository) -> tuple[list[Rescue], list[str]]:
    """Return the newest readable record of each host, the newest first, and what is wrong.

    Raises:
        StorageError: The store refused or did not answer.
    """
    series = rescue_series(repository)
    found: dict[bytes, Rescue] = {}
    wrong: list[str] = []
    for each in reversed(series.found()):
        name = series.name(each.number)
        try:
            record = series.read(each.number)
            if record.host not in found:
                found[record.host] = parse_rescue(
                    record.content, number=each.number, host=record.host, former=record.former
                )
        except KeyNotFoundError:
            continue  # another host's, and no key here reads all
        except IntegrityError as error:
            wrong.append(str(error) if name in str(error) else f"{name}: {error}")
    return list(found.values()), wrong


def parse_rescue(content: bytes, *, number: int, host: bytes, former: bool = False) -> Rescue:
    """Read what a host has kept; nothing of it is believed but that this host wrote it.

    Raises:
        IntegrityError: It is of another form, or names what is no file of a configuration.
    """
    try:
        said = json.loads(content)
        if said["form"] != FORM:
            raise IntegrityError(
                f"rescue record {number} is of a form that this version does not know",
                hint="Install a newer drkeeper.",
            )
        settings, policies = said["settings"], said["policies"]
        texts = [said["machine"], said["made_at"], said["system"]["drkeeper"], *policies.values()]
        names = list(policies)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"rescue record {number} is malformed") from error
    if settings is not None:
        texts.append(settings)
    sound = all(isinstance(text, str) and len(text) <= LARGEST_FILE for text in texts)
    if not sound or len(names) > _MOST_POLICIES or not all(map(_FILE_NAME.fullmatch, names)):
        raise IntegrityError(f"rescue record {number} names what is no file of a configuration")
    return Rescue(
        number=number,
        host=host,
        machine=texts[0],
        made_at=texts[1],
        drkeeper=texts[2],
        settings=settings,
        policies=policies,
        former=former,
    )


def choose_rescue(found: Sequence[Rescue], machine: str | None) -> Rescue | None:
    """Return the one that is meant: of the named machine, or the only one; ``None`` without any.

    Raises:
        ConfigurationError: It is not clear which, or there is none of that name.
    """
    meant = [each for each in found if machine in {None, each.machine, each.host.hex()}]
    if machine is not None and not meant:
        raise ConfigurationError(f"no host {machine} has kept anything there", hint=_choices(found))
    if len({each.machine for each in meant}) > 1:
        raise ConfigurationError(
            f"{len(meant)} hosts have kept their configuration there", hint=_choices(found)
        )
    return max(meant, key=lambda each: each.number, default=None)


def _choices(found: Sequence[Rescue]) -> str:
    names = sorted({each.machine for each in found})
    return f"Choose with --host: {', '.join(names)}." if names else "Leave out --host."


def below(locations: Locations, folder: Path) -> Locations:
    """Return the locations of an installation that is all in one folder."""
    return Locations(
        settings=folder / locations.settings.name,
        policies=folder / locations.policies.name,
        keys=folder / "keys",
        state=folder / "state",
        cache=folder / "cache",
        chosen_by="--to",
        state_fixed=True,
        cache_fixed=True,
    )


def refuse_occupied(locations: Locations) -> None:
    """Make sure that no file is in the way, before anything is written.

    Raises:
        ConfigurationError: There is an installation already.
    """
    occupied = [path for path in (locations.settings, locations.policies) if is_there(path)]
    if occupied:
        raise ConfigurationError(
            f"{occupied[0]} exists already: this machine is not bare",
            hint="Add --to DIR to bring everything into a folder and look at it there.",
        )


def write_rescue(rescue: Rescue, locations: Locations) -> list[Path]:
    """Write configuration and policies; return the files.

    Raises:
        ConfigurationError: One exists already, or cannot be written.
        NoSpaceError: The file system is full.
    """
    written: list[Path] = []
    make_private(locations.state)
    files = {locations.policies / name: text for name, text in sorted(rescue.policies.items())}
    if rescue.settings is not None:
        files = {locations.settings: rescue.settings, **files}
    for path, text in files.items():
        point("app.wiring.rescue.writing")
        write_new(path, text.encode(), _PRIVATE)
        written.append(path)
    return written


# ---------------------------------------------------------------- what can be restored


@dataclass(frozen=True, slots=True)
class Window:
    """The snapshots of one policy of one host.

    Attributes:
        policy: Its name.
        machine: Name of the host.
        kind: Kind of source.
        paths: What it protects.
        complete: How many complete snapshots there are.
        oldest: Instant of the oldest.
        newest: Instant of the newest.
        number: Number of the newest.
        plain_bytes: Its size.
    """

    policy: str
    machine: str
    kind: str
    paths: tuple[bytes, ...]
    complete: int
    oldest: datetime
    newest: datetime
    number: int
    plain_bytes: int


def windows(found: Sequence[Snapshot]) -> list[Window]:
    """Return what can be restored, in the order in which it is best restored.

    Files come before databases, whose engines they configure; a path comes before those below it,
    and else the shorter one first; then by name.
    """
    lines: dict[tuple[str, str], list[Snapshot]] = {}
    for snapshot in found:
        if snapshot.commit.complete:
            lines.setdefault((snapshot.root.policy, snapshot.root.host), []).append(snapshot)
    made = [_window(line) for line in lines.values()]
    return sorted(made, key=_rank)


def _window(line: Sequence[Snapshot]) -> Window:
    newest = max(line, key=lambda each: (each.commit.consistent_at, each.commit.n))
    return Window(
        policy=newest.root.policy,
        machine=newest.root.host,
        kind=newest.root.kind,
        paths=newest.root.paths,
        complete=len(line),
        oldest=min(each.commit.consistent_at for each in line),
        newest=newest.commit.consistent_at,
        number=newest.commit.n,
        plain_bytes=newest.commit.counts.plain_bytes,
    )


def _rank(window: Window) -> tuple[object, ...]:
    depth = min((path.count(b"/") for path in window.paths), default=0)
    return window.kind != "files", depth, window.policy, window.machine
