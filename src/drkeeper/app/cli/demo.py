"""``drkeeper demo``: lose and recover a small project, with the real operations."""

import os
import random
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import click
from msgspec import structs

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.demo_compare import differences, files_below
from drkeeper.app.cli.demo_daemon import DaemonDemo
from drkeeper.app.cli.demo_disaster import DisasterDemo, Rescued
from drkeeper.app.cli.demo_places import Places
from drkeeper.app.cli.demo_shop import Shop
from drkeeper.app.cli.demo_story import Story
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.config.configuration import (
    Configuration,
    RepositorySettings,
    load_configuration,
)
from drkeeper.app.config.files import write_new
from drkeeper.app.config.locations import find_locations
from drkeeper.app.config.samples import policy_text, settings_text
from drkeeper.app.wiring.backups import BackupChoices, Voice, run_backup
from drkeeper.app.wiring.births import Wishes, end_birth, make_repository
from drkeeper.app.wiring.checks import run_check
from drkeeper.app.wiring.repositories import Access, open_for_reading
from drkeeper.app.wiring.restores import Recovery, run_restore
from drkeeper.errors import ConfigurationError, VerificationError
from drkeeper.model.instants import rfc3339
from drkeeper.model.quantities import format_size
from drkeeper.operations.check import CheckReport, CheckRequest, Slice
from drkeeper.operations.progress import ignore
from drkeeper.operations.restore import RestoreRequest
from drkeeper.operations.snapshots import choose
from drkeeper.repository.reader import SnapshotReader

MARKER = ".drkeeper-demo"
POLICY = "project"
REPOSITORY = "primary"
SEED = 2026
"""Source: ours; the same project every time."""
FILES = 400
LARGE_BYTES = 8 * 1024 * 1024


@make_command()
@click.option(
    "--keep", metavar="DIR", help="Work in this new directory instead of a temporary one."
)
@click.option(
    "--watch",
    "seconds",
    type=click.FloatRange(0, 3600),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Watch the daemon for so long.",
)
@click.option("--clean", metavar="DIR", help="Remove what an earlier demo left in DIR, and end.")
def command(keep: str | None, seconds: float, clean: str | None) -> None:
    """Watch drkeeper lose and recover a small project.

    Makes a project and a repository in a directory of its own, backs up, changes and deletes, backs
    up again, restores to the instant in between, compares every byte, and checks the repository.
    Then a daemon keeps that, and a database that is written to, and the store is made unreachable:
    the alarm shows. Drills prove that it all comes back; then the machine is lost, and comes back
    from the store and the recovery kit alone. A report tells all of it. Everything stays there to
    look at.
    """
    called = this_invocation()
    if clean is not None:
        _remove(called, Path(clean))
        return
    called.output.steadfast = True
    Demo(called, _home(keep)).run(seconds)


def _home(keep: str | None) -> Path:
    if keep is None:
        home = Path(tempfile.mkdtemp(prefix="drkeeper-demo-"))
    else:
        home = Path(keep).absolute()
        if home.exists():
            raise ConfigurationError(f"{home} exists already", hint="Name a new directory.")
        home.mkdir(parents=True, mode=0o700)
    (home / MARKER).touch()
    return home


def _remove(called: Invocation, home: Path) -> None:
    if not (home / MARKER).is_file():
        raise ConfigurationError(
            f"{home} was not made by drkeeper demo", hint="Remove it yourself if you are sure."
        )
    shutil.rmtree(home)
    called.output.summary({"removed": str(home)})
    called.output.say(f"removed {home}")


@dataclass(frozen=True, slots=True)
class _Change:
    """What happened to the project between two backups."""

    edited: Path
    deleted: Path
    renamed: Path


class Demo:
    """One demonstration.

    Args:
        called: Speaks, and has the clock.
        home: Everything happens below it.
    """

    def __init__(self, called: Invocation, home: Path) -> None:
        self._output = called.output
        self._clock = called.clock
        self._places = Places(home)
        self._project = self._places.project
        self._copy = self._places.witness / "project-as-it-was"
        self._restored = self._places.machine / "restored"
        self._story = Story(called.output, called.clock, self._places.environment())
        self._snapshots: list[int] = []
        self._say, self._fact = self._story.step, self._story.fact

    def run(self, seconds: float) -> None:
        """Do everything, with a daemon for ``seconds``, and say what it shows."""
        self._output.say(f"Everything below happens in {self._places.home}")
        self._places.write_profile()
        self._make_project()
        configuration = self._init()
        self._back_up(configuration, "The first backup reads everything")
        self._clock.sleep(0.05)
        between = self._clock.now()
        change = self._change()
        self._back_up(configuration, "The second backup stores only what changed")
        self._fact("(files younger than a minute are read again: equal times would prove nothing)")
        self._restore(configuration, between)
        self._compare(change)
        self._check(configuration)
        self._damage(configuration)
        shop = Shop(self._places.database, self._clock)
        disaster = DisasterDemo(self._story, self._places, shop)
        self._keep_and_lose(configuration, seconds, shop, disaster)
        books, at = disaster.destroy()
        rescued = disaster.rescue(books, at)
        disaster.protect_again()
        report = disaster.report()
        disaster.verify()
        self._end(between, rescued, report)

    def _make_project(self) -> None:
        self._say("A project: sources, a large file, links, an odd name")
        dice = random.Random(SEED)  # noqa: S311 - sample data, the same every time
        for number in range(FILES):
            folder = self._project / f"module{number % 20:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            words = (f"value_{dice.randrange(10**6)} = {dice.random()}\n" for _ in range(60))
            (folder / f"part{number:03d}.py").write_text("".join(words))
        (self._project / "data.bin").write_bytes(dice.randbytes(LARGE_BYTES))
        os.link(self._project / "data.bin", self._project / "data-again.bin")
        (self._project / "latest").symlink_to("module19")
        (self._project / "naïve name\n.txt").write_text("names may hold any byte\n")
        size = sum(path.stat().st_size for path in files_below(self._project))
        self._fact(f"{FILES + 3} files, {format_size(size)}, in {self._project}")

    def _init(self) -> Configuration:
        store, kit = self._places.store, self._places.kit
        self._say(
            "A repository, its keys, and a recovery kit to keep offline",
            f". {self._places.profile}      # where this machine has its configuration",
        )
        self._story.command(f"drkeeper init {store} --kit-file {kit}")
        for folder in (store.parent, kit.parent, self._places.witness):
            folder.mkdir(mode=0o700)
        etc = self._places.etc
        settings = RepositorySettings(REPOSITORY, str(store), etc / "keys" / REPOSITORY)
        text = settings_text(REPOSITORY, settings)
        write_new(etc / "drkeeper.yaml", text.encode())
        policy = policy_text(POLICY, [str(self._project)], REPOSITORY)
        write_new(etc / "policies.d" / f"{POLICY}.yaml", policy.encode())
        configuration = load_configuration(find_locations(self._places.variables()))
        wishes = Wishes(settings, kit_file=kit, policy=POLICY)
        birth, seconds = self._story.timed(
            lambda: make_repository(
                wishes, configuration.locations.state, self._clock, lambda _: None
            )
        )
        end_birth(birth)
        self._fact(f"repository {birth.repository}, made in {seconds:.1f} s")
        self._fact(f"policy: {etc / 'policies.d' / (POLICY + '.yaml')}")
        return configuration

    def _back_up(self, configuration: Configuration, title: str) -> None:
        self._say(title, f"drkeeper backup {POLICY}")
        outcome = run_backup(
            configuration.policy(POLICY),
            configuration,
            BackupChoices({}),
            clock=self._clock,
            passphrase=None,
            voice=Voice(self._output.warning, self._output.note, ignore),
        )
        report = outcome.report
        self._snapshots.append(report.commit.n)
        self._fact(
            f"snapshot {report.commit.n} of {rfc3339(report.consistent_at)}: "
            f"{report.tally.files} files, {report.tally.files_new} new, "
            f"{report.tally.files_changed} changed"
        )
        self._fact(
            f"{format_size(report.read_bytes)} read, {format_size(report.stored_bytes)} stored, "
            f"{outcome.seconds:.1f} s"
        )

    def _change(self) -> _Change:
        self._say("Then a bad day: a file is edited, a folder deleted, another renamed")
        shutil.copytree(self._project, self._copy, symlinks=True)
        change = _Change(
            self._project / "module00" / "part000.py",
            self._project / "module07",
            self._project / "module11",
        )
        with open(change.edited, "a", encoding="utf-8") as file:
            file.write("oops = True\n")
        shutil.rmtree(change.deleted)
        change.renamed.rename(self._project / "module11-old")
        with open(self._project / "data.bin", "r+b") as file:
            file.seek(LARGE_BYTES // 2)
            file.write(b"encrypted by somebody else")
        self._fact("and a few bytes in the middle of the large file are overwritten")
        return change

    def _restore(self, configuration: Configuration, between: datetime) -> None:
        instant = rfc3339(between)
        self._say(
            "Back to the instant in between, onto a new directory",
            f"drkeeper restore {POLICY} --point-in-time {instant} --to {self._restored}",
        )
        settings = configuration.repository(REPOSITORY)
        repository = open_for_reading(
            Access(settings), configuration.locations.state, self._clock, None
        )
        commit = choose(repository, POLICY, between)
        request = RestoreRequest(
            SnapshotReader(repository, commit), os.fsencode(self._restored), self._clock
        )
        outcome = run_restore(
            Recovery(POLICY, repository, commit, request),
            configuration,
            warn=self._output.warning,
            on_progress=ignore,
        )
        report = outcome.report
        self._fact(
            f"snapshot {commit.n} of {rfc3339(commit.consistent_at)} is the newest before it"
        )
        self._fact(
            f"{report.files} files, {format_size(report.plain_bytes)}, written and read back "
            f"in {outcome.seconds:.1f} s"
        )

    def _compare(self, change: _Change) -> None:
        self._say("Is it what it was? Compared with a copy, without drkeeper's help")
        restored = self._restored / str(self._project).lstrip("/")
        found = differences(self._copy, restored)
        if found:
            raise VerificationError(
                f"the restored project differs: {', '.join(found[:5])}",
                hint="Report this; it must not happen.",
            )
        count = len(files_below(self._copy))
        self._fact(f"{count} files compared byte for byte, links and times too: all equal")
        gone = change.deleted.name
        self._fact(f"the deleted {gone}/ is back: {len(list((restored / gone).iterdir()))} files")

    def _look(self, configuration: Configuration, access: Access) -> CheckReport:
        outcome = run_check(
            access,
            configuration,
            CheckRequest(read=Slice(0, 1)),
            clock=self._clock,
            passphrase=None,
            warn=self._output.warning,
            on_progress=ignore,
        )
        return outcome.report

    def _check(self, configuration: Configuration) -> None:
        self._say("Is the repository whole? Every byte is read", "drkeeper check --read-data")
        report = self._look(configuration, Access(configuration.repository(REPOSITORY)))
        if not report.sound:
            raise VerificationError("the repository is damaged", hint="Report this.")
        self._fact(
            f"sound: {report.snapshots} snapshots, {report.objects} objects, "
            f"{format_size(report.read_bytes)} read and compared"
        )

    def _damage(self, configuration: Configuration) -> None:
        self._say("Would it notice? One bit is flipped in a copy of the repository")
        copy = self._places.machine / "repository-damaged"
        shutil.copytree(self._places.store, copy)
        pack = max(
            (copy / "packs").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
        )
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
        settings = configuration.repository(REPOSITORY)
        damaged = RepositorySettings(settings.name, str(copy), settings.keys)
        # With a state of its own, so that the ledger knows of no damage to the repository itself.
        places = structs.replace(
            configuration.locations, state=self._places.machine / "state-of-the-copy"
        )
        report = self._look(replace(configuration, locations=places), Access(damaged))
        if report.sound:
            raise VerificationError("the flipped bit was not noticed", hint="Report this.")
        self._fact(f"noticed: {report.findings[0].thing}: {report.findings[0].message}")
        touched = ", ".join(map(str, report.damaged_snapshots))
        self._fact(f"and it says which snapshots that touches: {touched}")

    def _keep_and_lose(
        self, configuration: Configuration, seconds: float, shop: Shop, disaster: DisasterDemo
    ) -> None:
        """Let a daemon keep two policies, one of them a shop's that sells all the time, to the end."""
        shop.found()
        demo = DaemonDemo(self._fact, self._clock, self._places)
        configuration = demo.configure(configuration.locations, REPOSITORY)
        self._say(
            f"A daemon keeps two policies, each by what it promises, for {seconds:.0f} s",
            "drkeeper daemon",
        )
        self._fact("project: the files, of which 30 s may be lost; shop: a SQLite database")
        self._fact("with an order every second, of which 40 s may be lost")
        with shop.open(), demo.running():
            demo.keep(configuration, seconds)
            self._say("Would somebody be told? The store is made unreachable")
            demo.lose_the_store(configuration)
            disaster.drill()
            disaster.lose(demo.kill)

    def _end(self, between: datetime, rescued: Rescued, report: Path) -> None:
        seconds = self._clock.monotonic() - self._story.begun
        places, (first, second) = self._places, self._snapshots
        self._output.summary(
            {
                "home": str(places.home),
                "result": "succeeded",
                "seconds": round(seconds, 1),
                "orders": rescued.orders,
                "orders_lost": rescued.lost,
                "rescue_seconds": round(rescued.seconds, 1),
                "report": str(report),
            }
        )
        for line in (
            "",
            f"Done in {seconds:.0f} s. Look around; nobody keeps the promises any more, and it says so:",
            f"   . {places.profile}",
            "   drkeeper status",
            f"   drkeeper snapshots --identity {places.kit}",
            f"   drkeeper ls project --point-in-time {rfc3339(between)} --identity {places.kit}",
            f"   drkeeper diff project {first} {second} --identity {places.kit}",
            "   drkeeper policy explain shop",
            f"   less {places.kit}",
            "and when you have seen it:",
            f"   drkeeper demo --clean {places.home}",
            "",
            f"Report: {report.as_uri()}",
        ):
            self._output.say(line)
