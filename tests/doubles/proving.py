"""Everything a drill needs, for real: sources, a repository in a folder, a ledger, a scratch place."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from functools import cache
from pathlib import Path

from doubles.databases import source_of
from doubles.ledgers import somebody
from doubles.memory_store import MemoryStore
from drkeeper.clock import SystemClock
from drkeeper.errors import ScratchError
from drkeeper.ledger.ledger import Ledger, open_ledger
from drkeeper.model.drill import Choice, DrillKind
from drkeeper.model.drill_record import Drill
from drkeeper.model.policy import FilesSource as FilesTerms, Objectives, Policy, SqliteSource
from drkeeper.model.probes import NO_PROBES, DrillTerms, Probes
from drkeeper.model.run import Consistency, RecoveryPoint
from drkeeper.operations.backup import BackupReport, BackupRequest, back_up
from drkeeper.operations.drills import Asked, DrillRequest, chooser, conduct, plan_drill
from drkeeper.repository.creation import NewRepository, create_repository
from drkeeper.repository.repository import open_repository
from drkeeper.repository.writer import WriterOptions
from drkeeper.scratch.base import Finished, ScratchKind, Why
from drkeeper.sources.files.source import FilesSource
from drkeeper.sources.files.spec import FilesSpec
from drkeeper.storage.base import ObjectStore
from drkeeper.storage.folder import FolderStore

SMALL = WriterOptions(memory_bytes=96 * 1024 * 1024, workers=2, uploads=1)
MINUTE = timedelta(minutes=1)


@cache
def _template() -> tuple[NewRepository, dict[str, bytes]]:
    store = MemoryStore()
    keys = create_repository(store, clock=SystemClock(), save=lambda _keys: None)
    return keys, dict(store.objects)


@dataclass
class PlainScratch:
    """A folder, and programs as they are: what drills need of a scratch place, and no more.

    Attributes:
        root: The folder.
        breaks: What happens instead of running a program.
    """

    root: Path
    breaks: Callable[[], None] = lambda: None
    kind: ScratchKind = ScratchKind.PROCESS

    def run(self, argv, *, inside=None, timeout, writable=False, input=b""):  # noqa: A002 - of the port
        del writable
        self.breaks()
        variables = {"PATH": os.environ["PATH"], **(inside or {})}
        try:
            ran = subprocess.run(
                argv,
                input=input,
                env=variables,
                capture_output=True,
                timeout=timeout.total_seconds(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Finished(None, 9, b"", b"", timeout, Why.TIME)
        except OSError as error:
            raise ScratchError(f"cannot start {argv[0]}: {error.strerror}") from error
        return Finished(ran.returncode, None, ran.stdout, ran.stderr, timedelta())


@contextmanager
def plain_scratch(folder: Path, **options: object) -> Iterator[PlainScratch]:
    """Make a scratch place that is gone afterwards."""
    folder.mkdir(mode=0o700)
    try:
        yield PlainScratch(folder, **options)
    finally:
        shutil.rmtree(folder)


@dataclass
class ProvingGround:
    """A machine whose policies are drilled.

    Attributes:
        base: Everything is below it.
        keys: Of the repository.
        store: Where the repository is; what a drill reads may be another one.
        clock: The real one.
        policies: By name.
    """

    base: Path
    keys: NewRepository
    store: ObjectStore
    clock: SystemClock = field(default_factory=SystemClock)
    policies: dict[str, Policy] = field(default_factory=dict)

    @property
    def tree(self) -> Path:
        """What the policy ``home`` protects."""
        return self.base / "tree"

    @property
    def bank(self) -> Path:
        """The database that the policy ``bank`` protects."""
        return self.database("bank")

    def database(self, name: str) -> Path:
        """Return the database that a policy protects."""
        return self.base / "data" / f"{name}.db"

    def write(self, name: str, data: bytes) -> Path:
        """Put a file into the tree."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def ledger(self) -> Ledger:
        """Open the ledger."""
        return open_ledger(
            self.base / "ledger.sqlite",
            clock=self.clock,
            me=somebody,
            patience=timedelta(seconds=20),
        )

    def policy(self, name: str, **changes: object) -> Policy:
        """Return the policy of the tree, ``home``, or of the database of this name."""
        source = (
            FilesTerms((str(self.tree),))
            if name == "home"
            else SqliteSource((str(self.database(name)),), MINUTE)
        )
        return Policy(name, source, "primary", "UTC", UTC, **changes)

    def back_up(self, name: str) -> BackupReport:
        """Back a policy up, as a run does."""
        repository = self.open(self.store, host=True)
        if name != "home":
            path = self.database(name)
            source = source_of(path, spool=self.base / "copies", clock=self.clock)
            paths = (os.fsencode(path),)
        else:
            paths = (os.fsencode(self.tree),)
            source = FilesSource(FilesSpec(paths), clock=self.clock)
        report = back_up(
            BackupRequest(
                policy=name,
                source=source,
                repository=repository,
                host=self.keys.host,
                host_name="till",
                cache_dir=str(self.base / "cache"),
                state_dir=str(self.base / "state"),
                clock=self.clock,
                paths=paths,
                options=SMALL,
            )
        )
        commit, tally = report.commit, report.tally
        with self.ledger() as ledger:
            ledger.record_recovery_point(
                RecoveryPoint(
                    repository=repository.id.hex(),
                    lineage=commit.lineage.hex(),
                    commit_number=commit.n,
                    session=commit.session.hex(),
                    policy=name,
                    consistent_at=commit.consistent_at,
                    finished_at=commit.finished_at,
                    plain_bytes=tally.plain_bytes,
                    files=tally.files,
                    entries=tally.entries,
                    complete=commit.complete,
                    consistency=Consistency(commit.consistency),
                )
            )
        return report

    def open(self, store: ObjectStore, *, host: bool = False):
        """Open the repository, as a host does or with the verifier's key."""
        keys = self.keys.host if host else self.keys.verifier
        return open_repository(
            store, clock=self.clock, identities=keys.identities, admins=self.keys.admins
        )

    def drill(  # noqa: PLR0913 - what tests vary, by name
        self,
        name: str,
        *,
        probes: Probes = NO_PROBES,
        choice: Choice = Choice.LATEST,
        rpo: timedelta | None = None,
        rto: timedelta | None = None,
        store: ObjectStore | None = None,
        scratch: Callable[[], object] | None = None,
        **changes: object,
    ) -> Drill:
        """Drill a policy from plan to verdict."""
        policy = self.policy(
            name, drill=DrillTerms(probes), objectives=Objectives(rpo=rpo, rto=rto)
        )
        with self.ledger() as ledger:
            planned = plan_drill(
                ledger, Asked(policy=policy, kind=DrillKind.RESTORE, choice=choice)
            )

        def open_it(keys_opened):
            keys_opened()
            return self.open(store or self.store)

        def declare(declared_at):
            with self.ledger() as ledger:
                ledger.declare_drill(planned.drill.id, declared_at)

        defaults = {
            "drill": planned.drill,
            "open": open_it,
            "choose": chooser(planned, "till"),
            "scratch": scratch or (lambda: plain_scratch(self.base / "scratch")),
            "declare": declare,
            "clock": self.clock,
            "probes": probes,
            "needed_bytes": planned.point.plain_bytes if planned.point else 0,
        }
        return conduct(DrillRequest(**(defaults | changes)), self.ledger)


def proving_ground(base: Path) -> ProvingGround:
    """Return a machine with an empty repository."""
    keys, objects = _template()
    (base / "store").mkdir()
    store = FolderStore(base / "store")
    for name, data in objects.items():
        store.put(name, data)
    (base / "data").mkdir()
    return ProvingGround(base, keys, store)
