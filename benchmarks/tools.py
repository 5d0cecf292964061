"""The three programs, each taught the same five steps."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.measure import Measured, run

PASSWORD = "not a secret: benchmark data only"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of a bucket on a loopback S3 server."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str

    @property
    def env(self) -> Mapping[str, str]:
        """The credentials, as every S3 client reads them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


class Tool(Protocol):
    """One backup program with a repository of its own."""

    name: str
    work: Path

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
    verify: bool = True
    name: str = "drkeeper"

    def _run(self, *arguments: str) -> Measured:
        base = [str(Path(sys.executable).with_name("drkeeper")), "--config", str(self.work / "etc")]
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
            store = f"s3://{self.bucket.bucket}/drkeeper"
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
        """Restore; verification included unless switched off."""
        extra = [] if self.verify else ["--no-verify"]
        return self._run("--quiet", "restore", "bench", "--to", str(target), *extra)


@dataclass
class Restic:
    """restic, with its default compression and its cache."""

    work: Path
    program: str
    bucket: Bucket | None = None
    name: str = "restic"
    env: dict[str, str] = field(default_factory=dict)

    def _run(self, *arguments: str) -> Measured:
        where = str(self.work / "repository")
        env = {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(self.work / "cache")}
        if self.bucket:
            where = f"s3:{self.bucket.endpoint}/{self.bucket.bucket}/restic"
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


def find_borg() -> str | None:
    """Return the path of borg, or ``None`` when it is not installed."""
    return shutil.which("borg")


def version(program: str) -> str:
    """Return the first line of what ``program`` says of its version."""
    for argument in ("version", "--version"):
        done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.splitlines()[0]
    return program
