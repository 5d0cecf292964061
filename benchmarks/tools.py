"""The three programs, each taught the same three verbs."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.measure import Measured, run
from benchmarks.s3 import Bucket

DRKEEPER = str(Path(sys.executable).with_name("drkeeper"))
PASSWORD = "not a secret: benchmark data only"


class Tool(Protocol):
    """One backup program with a repository of its own.

    Attributes:
        name: In the table.
        work: Holds all it has: repository, cache, configuration.
        repository: The folder it stores into, or ``None`` when that is a bucket.
    """

    name: str
    work: Path

    @property
    def repository(self) -> Path | None:
        """Where it stores."""
        ...

    def init(self) -> None:
        """Make an empty repository."""
        ...

    def back_up(self, tree: Path) -> Measured:
        """Back the tree up, as a user would from the command line."""
        ...

    def restore(self, target: Path) -> Measured:
        """Restore the newest snapshot into a new folder."""
        ...


@dataclass
class Drkeeper:
    """drkeeper from this checkout; restores are verified by re-reading, as by default."""

    work: Path
    bucket: Bucket | None = None
    name: str = "drkeeper"

    @property
    def repository(self) -> Path | None:
        """Where it stores."""
        return None if self.bucket else self.work / "repository"

    def _run(self, *arguments: str) -> Measured:
        base = [DRKEEPER, "--config", str(self.work / "etc")]
        env = {
            "DRKEEPER_STATE_DIR": str(self.work / "state"),
            "DRKEEPER_CACHE_DIR": str(self.work / "cache"),
        }
        if self.bucket:
            env |= self.bucket.env
        return run([*base, *arguments], env)

    def init(self) -> None:
        """Make a repository with keys and configuration below the work folder."""
        self.work.mkdir(parents=True)
        store = str(self.work / "repository")
        extra: list[str] = []
        if self.bucket:
            store = f"s3://{self.bucket.name}/drkeeper"
            extra = ["--endpoint", self.bucket.endpoint, "--path-style"]
        self._run("init", store, *extra, "--kit-file", str(self.work / "kit.txt"))

    def back_up(self, tree: Path) -> Measured:
        """Back up through a policy file, written once."""
        policy = self.work / "etc" / "policies.d" / "bench.yaml"
        if not policy.exists():
            text = (
                "policy: bench\nrepository: primary\nschedule: daily at 02:30\n"
                "time_zone: UTC\nretention: {daily: 7}\nobjectives: {rpo: 25h, rto: 1h}\n"
                f"source:\n  files:\n    paths: [{tree}]\n"
            )
            policy.write_text(text, encoding="utf-8")
        return self._run("--quiet", "backup", "bench")

    def restore(self, target: Path) -> Measured:
        """Restore; verification included."""
        return self._run("--quiet", "restore", "bench", "--to", str(target))


@dataclass
class Restic:
    """restic, with its default compression and its cache."""

    work: Path
    program: str
    bucket: Bucket | None = None
    name: str = "restic"

    @property
    def repository(self) -> Path | None:
        """Where it stores."""
        return None if self.bucket else self.work / "repository"

    def _run(self, *arguments: str) -> Measured:
        where = str(self.work / "repository")
        env = {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(self.work / "cache")}
        if self.bucket:
            where = f"s3:{self.bucket.endpoint}/{self.bucket.name}/restic"
            env |= self.bucket.env
        return run([self.program, "--quiet", "--repo", where, *arguments], env)

    def init(self) -> None:
        """Make an empty repository."""
        self.work.mkdir(parents=True)
        self._run("init")

    def back_up(self, tree: Path) -> Measured:
        """Back up; the parent snapshot is found by path."""
        return self._run("backup", str(tree))

    def restore(self, target: Path) -> Measured:
        """Restore without verification, restic's default."""
        return self._run("restore", "latest", "--target", str(target))


@dataclass
class Borg:
    """borg, with authenticated encryption and zstd 3."""

    work: Path
    program: str
    name: str = "borg"
    count: int = 0

    @property
    def repository(self) -> Path:
        """Where it stores."""
        return self.work / "repository"

    def _run(self, *arguments: str, cwd: Path | None = None) -> Measured:
        env = {
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_BASE_DIR": str(self.work / "base"),
            "BORG_REPO": str(self.work / "repository"),
        }
        return run([self.program, *arguments], env, cwd=cwd)

    def init(self) -> None:
        """Make an empty repository with the fastest keyed digest it has."""
        self.work.mkdir(parents=True)
        self._run("init", "--encryption", "repokey-blake2")

    def back_up(self, tree: Path) -> Measured:
        """Make one archive."""
        self.count += 1
        return self._run("create", "--compression", "zstd,3", f"::a{self.count}", str(tree))

    def restore(self, target: Path) -> Measured:
        """Extract the newest archive into a new folder."""
        target.mkdir(parents=True)
        return self._run("extract", f"::a{self.count}", cwd=target)


def version(program: str) -> str:
    """Return the first line of what ``program`` says of its version."""
    for argument in ("version", "--version"):
        done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.splitlines()[0]
    return program
