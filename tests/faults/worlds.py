"""Small installations for fault tests: a repository, keys, state, cache, a target, and what is
outside of all that.

A world is a directory that can be copied. The operations run here as ``wiring`` composes them, but
for what a test must choose: clock, store, how little is a lot.
"""

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drkeeper.app.config.configuration import RepositorySettings
from drkeeper.app.config.samples import policy_text, settings_text
from drkeeper.app.wiring.births import Wishes, end_birth, make_repository
from drkeeper.app.wiring.repositories import Access, host_key, open_for_reading
from drkeeper.app.wiring.runs import RunRecord, open_run_ledger
from drkeeper.app.wiring.stores import open_store
from drkeeper.errors import InstantNotReachableError, IntegrityError, StorageUnavailableError
from drkeeper.ledger.ledger import Ledger
from drkeeper.model.run import (
    CheckKind,
    Consistency,
    Operation,
    RecoveryPoint,
    RunState,
    Verification,
)
from drkeeper.operations.backup import BackupReport, BackupRequest, back_up
from drkeeper.operations.check import CheckReport, CheckRequest, check
from drkeeper.operations.check.data import Slice
from drkeeper.operations.progress import OnProgress, ignore
from drkeeper.operations.restore import RestoreReport, RestoreRequest, restore
from drkeeper.repository.keyfile import KeyFile, parse_key_file
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import Repository, open_repository
from drkeeper.repository.writer import WriterOptions
from drkeeper.sources.files.source import FilesSource
from drkeeper.sources.files.spec import FilesSpec
from drkeeper.storage.base import ObjectStore

KIB, MIB = 1024, 1024 * 1024
LITTLE = WriterOptions(memory_bytes=64 * MIB, workers=2, uploads=2, level=1)
AHEAD = timedelta(minutes=10)
"""The clock of a world is so far ahead that no file seems to have been written just now."""

HOST = "keeper"


class QuickClock:
    """The machine's time some minutes ahead; each look costs a second, and waiting costs none."""

    def __init__(self) -> None:
        self._ticks = 0

    def now(self) -> datetime:
        """Return an instant at which the trees of a test are old."""
        return datetime.now(UTC) + AHEAD

    def monotonic(self) -> float:
        """Return one second more than the last time."""
        self._ticks += 1
        return float(self._ticks)

    def sleep(self, seconds: float) -> None:
        """Let that much time pass at once."""
        self._ticks += int(seconds) + 1


@dataclass(frozen=True, slots=True)
class Ack:
    """A backup that was reported as done.

    Attributes:
        n: Number of its commit.
        digest: Of the commit, hex.
    """

    n: int
    digest: str


@dataclass(frozen=True, slots=True)
class LosingStore:
    """A store that does what ``create`` says, and whose answer is lost.

    Attributes:
        inner: Does everything.
    """

    inner: ObjectStore

    def create(self, key: str, data: bytes) -> None:
        """Create, and say nothing of it."""
        self.inner.create(key, data)
        raise StorageUnavailableError("the answer was lost")

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def warn(message: str) -> None:
    """Drop what the ledger could not record: the tests look at the ledger itself."""
    del message


@dataclass  # noqa: PLR0904 - one object for tests to hold
class World:
    """One installation below ``root``, protecting ``source``.

    Attributes:
        root: Everything but the source.
        source: The tree that is backed up.
        policy: Names the lineage.
        opens: Opens the store; by default the folder in ``root``.
        clock: Dates, measures and waits.
    """

    root: Path
    source: Path
    policy: str = "home"
    opens: Callable[[], ObjectStore] | None = None
    clock: object = field(default_factory=QuickClock)

    @property
    def store_folder(self) -> Path:
        """Where the repository is."""
        return self.root / "store"

    @property
    def state(self) -> Path:
        """Pins, locks, the ledger."""
        return self.root / "state"

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.state / "ledger.sqlite"

    @property
    def configuration(self) -> Path:
        """Folder of ``drkeeper.yaml``."""
        return self.root / "config"

    @property
    def keys(self) -> Path:
        """Folder of the key files."""
        return self.configuration / "keys" / "primary"

    @property
    def target(self) -> Path:
        """Where restores go."""
        return self.root / "target"

    @property
    def outside(self) -> Path:
        """What nobody may touch."""
        return self.root / "outside"

    @property
    def settings(self) -> RepositorySettings:
        """What a configuration would say."""
        return RepositorySettings("primary", str(self.store_folder), self.keys)

    def copied(self, to: Path) -> "World":
        """Return a copy of this world, which shares the source."""
        subprocess.run(["cp", "-a", "--reflink=auto", self.root, to], check=True)
        return World(to, self.source, self.policy, self.opens, self.clock)

    # -- what is there

    def open_store(self) -> ObjectStore:
        """Open the store as an operation does."""
        return open_store(self.settings, self.clock) if self.opens is None else self.opens()

    @contextmanager
    def opened(self, *, salvage: bool = False, full: bool = False) -> Iterator[Repository]:
        """Open the repository with all keys at hand, remembering nothing."""
        keys = [parse_key_file(path.read_bytes()) for path in self.keys.glob("*.key")]
        yield open_repository(
            self.open_store(),
            clock=self.clock,
            identities=[identity for key in keys for identity in key.identities],
            admins=self.admins(),
            salvage=salvage,
            full=full,
        )

    def admins(self) -> list[str]:
        """Return the admin keys that the birth of the repository left."""
        lines = (self.keys / "admins").read_text().splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    @contextmanager
    def opened_ledger(self) -> Iterator[Ledger]:
        """Open the ledger to look at it."""
        with open_run_ledger(self.ledger, host=HOST, clock=self.clock, read_only=True) as found:
            yield found

    def acks(self) -> list[Ack]:
        """Return what was acknowledged so far."""
        path = self.root / "acks"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Ack(int(n), digest) for n, digest in (line.split() for line in lines)]

    def scratch(self) -> Path:
        """Return a fresh directory beside everything."""
        return Path(tempfile.mkdtemp(prefix="scratch-", dir=self.root.parent))

    def forget(self, folder: Path) -> None:
        """Remove a scratch directory."""
        shutil.rmtree(folder)

    # -- operations

    def init(self) -> None:
        """Make the repository."""
        wishes = Wishes(self.settings, kit_file=self.root / "kit.txt")
        end_birth(make_repository(wishes, self.state, self.clock, warn))

    def configure(self) -> dict[str, str]:
        """Write the files that the command reads; return the environment that names them."""
        policies = self.configuration / "policies.d"
        policies.mkdir(parents=True)
        text = settings_text("primary", self.settings)
        text = f"host: {HOST}\n{text}"  # as the operations run here, so that runs are of one host
        (self.configuration / "drkeeper.yaml").write_text(text)
        text = policy_text(self.policy, [str(self.source)], "primary")
        (policies / f"{self.policy}.yaml").write_text(text)
        return os.environ | {
            "DRKEEPER_CONFIG": str(self.configuration),
            "DRKEEPER_STATE_DIR": str(self.state),
            "DRKEEPER_CACHE_DIR": str(self.root / "cache"),
        }

    def record(self) -> RunRecord:
        """Return the record of one run."""
        return RunRecord(self.ledger, host=HOST, clock=self.clock, warn=warn)

    def key(self) -> KeyFile:
        """Return the key of this host."""
        return host_key(self.settings, None)

    def backup(
        self, *, partial: bool = False, on_progress: OnProgress = ignore, rests: bool = True
    ) -> BackupReport:
        """Back the source up, record the run, and acknowledge it.

        Args:
            partial: Commit after every batch.
            on_progress: Told how far it is.
            rests: Whether the ledger is kept.
        """
        record = self.record()
        if rests:
            record.begin(self.policy, Operation.BACKUP)
        try:
            key = self.key()
            repository = open_repository(
                self.open_store(),
                clock=self.clock,
                identities=key.identities,
                state_dir=str(self.state),
                repository_id=key.repository,
                admins=self.admins(),
            )
            report = back_up(
                BackupRequest(
                    policy=self.policy,
                    source=FilesSource(
                        FilesSpec(paths=(os.fsencode(self.source),)), clock=self.clock
                    ),
                    repository=repository,
                    host=key,
                    host_name=HOST,
                    cache_dir=str(self.root / "cache"),
                    state_dir=str(self.state),
                    clock=self.clock,
                    options=LITTLE,
                    partial_every=timedelta(0) if partial else timedelta(days=9),
                ),
                on_progress,
            )
        except BaseException as error:
            if rests:
                record.failed(error)
            raise
        self._acknowledge(report)
        if rests:
            record.end(RunState.SUCCEEDED, made=[_recovery_point(self, repository.id, report)])
        return report

    def _acknowledge(self, report: BackupReport) -> None:
        line = f"{report.commit.n} {report.commit.digest.hex()}\n"
        with open(self.root / "acks", "a", encoding="ascii") as file:
            file.write(line)

    def restore(
        self, n: int | None = None, *, target: Path | None = None, **options: object
    ) -> RestoreReport:
        """Restore commit ``n``, or the newest complete one; every right that there is is restored."""
        with self.opened() as repository:
            commits = {commit.n: commit for commit in repository.live_commits()}
            if n is None:
                n = max((each.n for each in commits.values() if each.complete), default=0)
            if n not in commits:
                raise InstantNotReachableError(f"there is no snapshot {n}")
            return restore(
                RestoreRequest(
                    reader=SnapshotReader(repository, commits[n]),
                    target=os.fsencode(self.target if target is None else target),
                    clock=self.clock,
                    privileged=os.geteuid() == 0,
                    numeric_ids=True,
                    workers=2,
                    **{"batch_bytes": 256 * KIB, **options},
                )
            )

    def recorded_restore(self, **options: object) -> RestoreReport:
        """Restore into the target and record the run."""
        record = self.record()
        record.begin(self.policy, Operation.RESTORE)
        try:
            report = self.restore(**options)
        except BaseException as error:
            record.failed(error)
            raise
        record.end(RunState.SUCCEEDED)
        return report

    def check(self) -> CheckReport:
        """Check everything, reading every byte, and record the run."""
        record = self.record()
        record.begin(None, Operation.CHECK)
        try:
            access = Access(self.settings)
            if self.opens is None:
                repository = open_for_reading(access, self.state, self.clock, None, salvage=True)
                report = check(repository, CheckRequest(read=Slice(0, 1)))
            else:
                with self.opened(salvage=True, full=True) as repository:
                    report = check(repository, CheckRequest(read=Slice(0, 1)))
        except BaseException as error:
            record.failed(error)
            raise
        made = Verification(
            repository=repository.id.hex(),
            kind=CheckKind.READ_DATA,
            passed=report.sound,
            checked_at=self.clock.now(),
            objects=report.objects,
            read_bytes=report.read_bytes,
        )
        record.end(RunState.SUCCEEDED, made=[made])
        if not report.sound:
            raise IntegrityError(f"not sound: {report.findings}")
        return report


def _recovery_point(world: World, repository: bytes, report: BackupReport) -> RecoveryPoint:
    commit = report.commit
    return RecoveryPoint(
        repository=repository.hex(),
        lineage=commit.lineage.hex(),
        commit_number=commit.n,
        session=commit.session.hex(),
        policy=world.policy,
        run=None,
        consistent_at=commit.consistent_at,
        finished_at=commit.finished_at,
        plain_bytes=report.tally.plain_bytes,
        stored_bytes=report.stored_bytes,
        new_bytes=report.new_bytes,
        files=report.tally.files,
        entries=report.tally.entries,
        consistency=Consistency(commit.consistency),
    )


# ---------------------------------------------------------------------- trees


def noise(seed: int, length: int) -> bytes:
    """Return bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(length)


def grow(top: Path) -> None:
    """Fill a new directory with some thirty files of every common kind."""
    top.mkdir()
    for folder in ("documents/2025/trip", "documents/2026", "empty", "programs", "z"):
        (top / folder).mkdir(parents=True)
    for number in range(12):
        (top / "documents" / f"letter-{number}").write_bytes(b"Dear %d,\n" % number * (number + 1))
    (top / "documents/2025/nothing").touch()
    (top / "documents/2025/trip/film").write_bytes(noise(1, 3 * MIB))
    (top / "documents/2026/scan").write_bytes(noise(2, 400 * KIB))
    (top / "documents/2026/text").write_bytes(b"the same line again\n" * 40_000)
    os.link(top / "documents/letter-3", top / "z/letter-3-again")
    os.link(top / "documents/2026/scan", top / "programs/scan")
    os.symlink("../documents/letter-1", top / "programs/letter")
    os.symlink("/nowhere/at/all", top / "programs/dangling")
    os.mkfifo(top / "programs/pipe", 0o640)
    program = top / "programs/run"
    program.write_bytes(b"#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    (top / "programs/secret").write_bytes(b"mine")
    (top / "programs/secret").chmod(0o600)
    with open(os.fsencode(top) + b"/z/\xff\xfe \n name", "wb") as file:
        file.write(b"a name of any bytes")
    with open(top / "z/holes", "wb") as file:
        file.seek(512 * KIB)
        file.write(noise(3, 8 * KIB))
        file.truncate(2 * MIB)
    os.setxattr(top / "documents/letter-2", "user.colour", b"blue\0\xff")
    os.setxattr(top / "z", "user.on-directory", b"yes")
    os.utime(top / "documents/letter-4", ns=(5, 1_234_567_890_123_456_789))
    (top / "documents/2025").chmod(0o750)
    os.utime(top / "empty", ns=(7, 999_999_999))


def change(top: Path, seed: int = 7) -> None:
    """Change some of everything in a tree that ``grow`` made."""
    (top / "documents/letter-0").write_bytes(b"Dear nobody %d,\n" % seed)
    (top / "documents/letter-5").unlink()
    (top / "documents/2025").rename(top / "documents/2024")
    with open(top / "documents/2024/trip/film", "r+b") as film:
        film.seek(MIB)
        film.write(noise(seed, 64 * KIB))
    (top / "documents/2026/new").write_bytes(noise(seed + 1, 300 * KIB))
    (top / "programs/letter").unlink()
    os.symlink("../documents/letter-6", top / "programs/letter")
    (top / "z/letter-3-again").unlink()
    (top / "empty").rmdir()
    (top / "empty").write_bytes(b"now a file")
    (top / "programs/secret").unlink()
    (top / "programs/secret").mkdir()
    (top / "programs/secret/inside").write_bytes(b"now a directory")
    os.setxattr(top / "documents/letter-2", "user.colour", b"red")
    (top / "documents/letter-7").chmod(0o400)


def fence(world: World) -> None:
    """Put something outside that must stay as it is."""
    world.outside.mkdir(parents=True)
    (world.outside / "precious").write_bytes(noise(9, 10_000))
    (world.outside / "folder").mkdir()
    os.symlink("precious", world.outside / "link")
