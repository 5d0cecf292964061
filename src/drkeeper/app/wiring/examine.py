"""Examine an installation: every line is a fact, a verdict and what to do about it."""

import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from drkeeper import __version__
from drkeeper.app.config.configuration import Configuration, RepositorySettings
from drkeeper.app.config.environment import environment
from drkeeper.app.config.files import is_there
from drkeeper.app.wiring.repositories import Access, host_key, open_for_reading
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger
from drkeeper.app.wiring.stores import open_bare_store
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.quantities import format_duration, format_size
from drkeeper.repository.commit import stale_lineages
from drkeeper.scratch.base import ScratchKind
from drkeeper.scratch.opening import available
from drkeeper.storage.probe import probe

LEAST_FREE_BYTES = 1024**3
"""Source: ours; a ledger, pins and cache of a million files need less."""
MOST_SKEW_S = 60
"""Source: ours; S3 refuses requests beyond 15 minutes, and promises are dated by minutes."""
GRACE = timedelta(hours=1)

_PACKAGES = ("cryptography", "boto3", "blake3", "msgspec", "SQLAlchemy", "pydantic")


class Verdict(StrEnum):
    """How one examination ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """One examined thing.

    Attributes:
        verdict: How it is.
        thing: What was looked at.
        fact: What was found.
        hint: What to do, when there is something to do.
    """

    verdict: Verdict
    thing: str
    fact: str
    hint: str = ""


def examine(
    configuration: Configuration,
    clock: Clock,
    passphrase: Callable[[], str] | None,
    *,
    probe_stores: bool,
) -> Iterator[Line]:
    """Look at everything, one line after the other; never raises for what it finds."""
    yield from _program()
    yield from _guarded("files", partial(_files, configuration))
    for settings in configuration.repositories.values():
        yield from _guarded(f"{settings.name}: keys", partial(_keys, settings, passphrase))
        if probe_stores:
            yield from _guarded(f"{settings.name}: store", partial(_store, settings, clock))
        yield from _guarded(
            f"{settings.name}: journal", partial(_journal, settings, configuration, clock)
        )
    for name in configuration.channels:
        yield from _guarded(f"channel {name}", partial(_channel, configuration, name))
    yield from _programs(configuration)
    yield from _guarded("scratch", partial(_scratch, configuration, clock))
    yield from _guarded("ledger", partial(_ledger, configuration, clock))


def _guarded(thing: str, look: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    try:
        yield from look()
    except DrkeeperError as error:
        yield Line(Verdict.FAIL, thing, str(error), error.hint or "")


def _program() -> Iterator[Line]:
    python = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    yield Line(
        Verdict.OK, "drkeeper", f"{__version__}, Python {python}, {platform.system()} "
        f"{platform.release()}, {os.cpu_count()} processors"
    )  # fmt: skip
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            yield Line(Verdict.FAIL, package, "is not installed", "Install drkeeper again.")
    yield Line(Verdict.OK, "packages", ", ".join(versions))
    names = sorted(name for name in environment() if name.startswith("DRKEEPER_"))
    yield Line(Verdict.OK, "environment", ", ".join(names) or "no DRKEEPER_ variable is set")


def _files(configuration: Configuration) -> Iterator[Line]:
    places = configuration.locations
    if is_there(places.settings):
        yield _unwritable("settings", places.settings)
    else:
        yield Line(
            Verdict.WARN,
            "settings",
            f"{places.settings} does not exist",
            "Run drkeeper init STORE.",
        )
    count = len(configuration.policies)
    wrong = len({problem.file for problem in configuration.problems})
    if wrong:
        yield Line(
            Verdict.FAIL, "policies", f"{wrong} files are wrong", "Run drkeeper policy check."
        )
    elif not count:
        yield Line(Verdict.WARN, "policies", "there is none", "Run drkeeper policy new NAME PATH.")
    else:
        yield Line(Verdict.OK, "policies", f"{count} in {places.policies}")
    for name, folder in (("state", places.state), ("cache", places.cache)):
        yield _space(name, folder)


def _channel(configuration: Configuration, name: str) -> Iterator[Line]:
    configuration.channels[name]  # which asks for its secrets
    told = sorted(each.name for each in configuration.policies.values() if name in each.notify)
    yield Line(Verdict.OK, f"channel {name}", f"told about {', '.join(told) or 'no policy'}")


def _programs(configuration: Configuration) -> Iterator[Line]:
    """Look for the programs of hooks: one that is missing fails a backup tonight, or warns."""
    for policy in configuration.policies.values():
        hooks = policy.hooks
        for hook in (*hooks.before_backup, *hooks.after_backup, *hooks.after_failure):
            if not os.access(hook.command[0], os.X_OK):
                yield Line(
                    Verdict.FAIL if hook.essential else Verdict.WARN,
                    f"hooks of {policy.name}",
                    f"{hook.command[0]} is no program here that this user may run",
                    "Install it, or correct the policy.",
                )


def _unwritable(name: str, path: Path) -> Line:
    mode = path.stat().st_mode
    if mode & stat.S_IWOTH:
        return Line(Verdict.FAIL, name, f"everybody can write {path}", f"Run chmod o-w {path}.")
    return Line(Verdict.OK, name, str(path))


def _space(name: str, folder: Path) -> Line:
    there = next((p for p in (folder, *folder.parents) if is_there(p)), Path("/"))
    free = shutil.disk_usage(there).free
    fact = f"{folder}, {format_size(free)} free"
    if not os.access(there, os.W_OK):
        return Line(Verdict.FAIL, name, f"{there} cannot be written", "Give this user the right.")
    if free < LEAST_FREE_BYTES:
        return Line(Verdict.WARN, name, fact, "Free some space.")
    if there == folder and folder.stat().st_mode & 0o077:
        return Line(Verdict.WARN, name, f"others can enter {folder}", f"Run chmod 700 {folder}.")
    return Line(Verdict.OK, name, fact)


def _keys(settings: RepositorySettings, passphrase: Callable[[], str] | None) -> Iterator[Line]:
    key = host_key(settings, passphrase)
    repository = key.repository.hex() if key.repository else "any repository"
    yield Line(Verdict.OK, f"{settings.name}: host key", f"of {repository}")
    for name in ("verifier.key", "janitor.key", "recovery.key"):
        path = settings.keys / name
        if not is_there(path):
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        thing = f"{settings.name}: {name}"
        if mode & 0o077:
            yield Line(Verdict.FAIL, thing, f"mode {mode:04o}", f"Run chmod 600 {path}.")
        elif name == "recovery.key":
            yield Line(
                Verdict.WARN, thing, "is on this machine", "Keep the recovery key offline only."
            )
        else:
            yield Line(Verdict.OK, thing, f"mode {mode:04o}")


def _store(settings: RepositorySettings, clock: Clock) -> Iterator[Line]:
    thing = f"{settings.name}: store"
    found = probe(open_bare_store(settings, clock), clock=clock)
    abilities = [
        ("byte-exact", found.round_trip),
        ("ranges", found.ranges),
        ("listing", found.listing),
        ("create-if-absent", found.exclusive_create),
        ("deletes", found.deletes),
        ("versions", found.versions),
        ("object lock", found.object_lock),
    ]
    told = ", ".join(f"{name} {_yes(value)}" for name, value in abilities)
    sums = ", ".join(found.checksums) or "none"
    fact = f"{settings.store}: {told}; checksums compared: {sums}"
    verdict = Verdict.OK if found.safe_for_several_writers else Verdict.FAIL
    yield Line(verdict, thing, fact, "" if verdict is Verdict.OK else "Use another store.")
    for problem in found.problems:
        yield Line(Verdict.WARN, thing, problem)
    if found.clock_skew_s is not None:
        late = abs(found.clock_skew_s) > MOST_SKEW_S
        yield Line(
            Verdict.WARN if late else Verdict.OK,
            f"{settings.name}: clock",
            f"the store's and this machine's are {abs(found.clock_skew_s):.1f} s apart",
            "Set this machine's clock by NTP." if late else "",
        )


def _yes(value: bool | None) -> str:  # noqa: FBT001 - a three-valued answer
    return "unknown" if value is None else "yes" if value else "no"


def _journal(
    settings: RepositorySettings, configuration: Configuration, clock: Clock
) -> Iterator[Line]:
    thing = f"{settings.name}: journal"
    repository = open_for_reading(
        Access(settings), configuration.locations.state, clock, None, blind=True
    )
    state = repository.journal.state
    pinned = is_there(
        configuration.locations.state / "repositories" / f"{repository.id.hex()}.json"
    )
    yield Line(
        Verdict.OK if pinned else Verdict.WARN,
        thing,
        f"{state.n} entries, {len(repository.live_commits())} snapshots, "
        f"{'pinned' if pinned else 'not pinned on this machine'}",
        ""
        if pinned
        else "Run drkeeper snapshots, so that this machine remembers what it has seen.",
    )
    for void in repository.journal.voids:
        yield Line(Verdict.WARN, thing, f"void entry: {void}", "Run drkeeper check.")
    for stale in stale_lineages(state, clock.now(), GRACE):
        yield Line(
            Verdict.WARN,
            thing,
            f"a snapshot after entry {stale.last} is late by {format_duration(stale.late_by)}",
            "Run the backup, or find out whether the store presents an old state.",
        )


def _scratch(configuration: Configuration, clock: Clock) -> Iterator[Line]:
    """Try what keeps programs in when a restore is proven, where the state is kept if it is."""
    state = configuration.locations.state
    at_home = is_there(state) and os.access(state, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=state if at_home else None) as folder:
        found = available(Path(folder), clock)
    nothing = not any(each.ok for each in found)
    for each in found:
        thing = f"scratch: {each.kind}"
        if each.ok:
            yield Line(Verdict.OK, thing, _SCRATCH[each.kind].format(version=each.version))
        else:
            yield Line(Verdict.FAIL if nothing else Verdict.WARN, thing, each.why_not, each.hint)


_SCRATCH = {
    ScratchKind.BUBBLEWRAP: "works, bubblewrap {version}; drills run in it; memory is added up, 20 times a second",
    ScratchKind.PROCESS: "works; only for drills where bubblewrap does not, since it contains less",
}


def _ledger(configuration: Configuration, clock: Clock) -> Iterator[Line]:
    place = ledger_place(configuration)
    if isinstance(place, Path) and not is_there(place):
        yield Line(Verdict.OK, "ledger", f"{place} begins with the first run")
        return
    with open_run_ledger(place, host=configuration.host, clock=clock, read_only=True) as ledger:
        report = ledger.verify()
    if report.ok:
        yield Line(Verdict.OK, "ledger", f"{report.events} events, unchanged")
    for finding in report.findings:
        yield Line(Verdict.FAIL, "ledger", finding, "Run drkeeper ledger verify.")
