"""SIGKILL at random instants, again and again, while the source keeps changing.

Most victims are forks of a process that has everything imported, so that nearly every kill strikes
the operation itself; the others are the command as users run it.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drkeeper.clock import SystemClock
from faults.invariants import (
    Tree,
    assert_acknowledged,
    assert_equal,
    assert_ledger_sound,
    assert_repository_sound,
    assert_restores,
    assert_tidy,
    describe,
)
from faults.scenarios import REAL_TIME, Worlds
from faults.worlds import Ack, World, fence, grow

COMMAND_EVERY = 8
"""The command itself takes longer to import than to work; so it is every eighth victim."""


@dataclass
class Siege:
    """One installation whose processes are killed.

    Attributes:
        worlds: Forks.
        world: The installation.
        chance: Decides everything.
        trees: Commit number to what was backed up.
        killed: How many were killed in the middle, and how many came to their end.
    """

    worlds: Worlds
    world: World
    chance: random.Random
    environment: dict[str, str]
    trees: dict[int, Tree] = field(default_factory=dict)
    killed: int = 0
    ended: int = 0
    takes_s: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Find out how long everything takes when it is left alone."""
        for operation in ("backup", "restore_over", "check"):
            began = time.monotonic()
            outcome = self.worlds.forker.run(operation, self.world)
            assert outcome.status == "done", outcome
            self.takes_s[operation] = time.monotonic() - began
            self.learn(describe(self.world.source))
        began = time.monotonic()
        assert self.command("backup", self.world.policy, limit_s=60) == 0
        self.takes_s["command"] = time.monotonic() - began
        self.learn(describe(self.world.source))

    def cycle(self, number: int) -> None:
        """Change the source, do something, kill it, and ask what must be true."""
        stir(self.world.source, self.chance)
        tree = describe(self.world.source)
        operation = self.chance.choices(["backup", "restore_over", "check"], [8, 3, 1])[0]
        victim = "command" if number % COMMAND_EVERY == 0 else operation
        began = time.monotonic()
        if victim == "command":
            delay_s = self.chance.uniform(0.4, 1.2) * self.takes_s[victim]
            done = self.command(*self.arguments(operation), limit_s=delay_s) == 0
        else:
            delay_s = self.chance.uniform(0, 1.2 * self.takes_s[victim])
            outcome = self.worlds.forker.run(operation, self.world, kill_after_s=delay_s)
            assert outcome.status in {"done", "killed"}, outcome
            done = outcome.status == "done"
        self.takes_s[victim] = reckoned(
            self.takes_s[victim], time.monotonic() - began if done else None
        )
        self.ended += done
        self.killed += not done
        if operation == "restore_over" and done:
            self.compare_target(self.trees[max(self.trees)])
        before = max(self.trees)
        self.learn(tree)
        assert not (done and operation == "backup") or max(self.trees) > before
        if number % 10 == 0:
            self.look_closely()

    def compare_target(self, tree: Tree) -> None:
        """The target is what was backed up, bit by bit, whatever earlier restores left there."""
        top = self.world.target / str(self.world.source).lstrip("/")
        assert_equal(tree, describe(top), "the target")

    def arguments(self, operation: str) -> list[str]:
        """Return what to tell the command."""
        policy, target = self.world.policy, str(self.world.target)
        return {
            "backup": ["backup", policy],
            "restore_over": [
                *("restore", policy, "--to", target, "--overwrite", "if-changed"),
                *("--delete", "--yes", "--numeric-ids"),
            ],
            "check": ["check"],
        }[operation]

    def command(self, *arguments: str, limit_s: float) -> int | None:
        """Run the command; ``None`` when it was killed."""
        process = subprocess.Popen(
            [sys.executable, "-m", "drkeeper", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            said = process.communicate(timeout=limit_s)[1].decode()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None
        assert process.returncode in {0, 3}, said
        return 0

    def learn(self, tree: Tree) -> None:
        """Read the journal as a stranger does; what is new there is of the tree as it is now."""
        with self.world.opened() as repository:
            commits = repository.live_commits()
        assert_acknowledged(commits, self.acks())
        for commit in commits:
            self.trees.setdefault(commit.n, tree)

    def acks(self) -> list[Ack]:
        """Return what was acknowledged, without what a kill cut off."""
        return self.world.acks()

    def look_closely(self) -> None:
        """Check everything, and restore the newest snapshot and some older ones."""
        commits = assert_repository_sound(self.world)
        assert [commit.n for commit in commits] == sorted(self.trees)
        assert_ledger_sound(self.world, commits, idle=False)
        for commit in [commits[-1], *self.chance.sample(commits, min(3, len(commits)))]:
            assert_restores(self.world, commit, self.trees[commit.n], path=self.world.source)

    def end(self) -> None:
        """Let everything run to its end: it works without repair, and nothing is left over."""
        for operation in ("backup", "restore_over", "check"):
            outcome = self.worlds.forker.run(operation, self.world)
            assert outcome.status == "done", outcome
        tree = describe(self.world.source)
        self.learn(tree)
        self.compare_target(tree)
        commits = assert_repository_sound(self.world, read_data=True)
        for commit in commits:
            assert_restores(self.world, commit, self.trees[commit.n], path=self.world.source)
        assert_ledger_sound(self.world, commits)
        assert_tidy(self.world)


def reckoned(takes_s: float, took_s: float | None) -> float:
    """Return how long an operation is now thought to take.

    The machine may be busier or idler by now: one that is killed again and again takes longer than
    was thought, or else nothing would ever come to its end.
    """
    return takes_s * 1.02 if took_s is None else (takes_s + took_s) / 2


def stir(top: Path, chance: random.Random) -> None:
    """Change a few things in a tree; what is large stays, or the next backup would be refused."""
    files = sorted(path for path in top.rglob("*") if path.is_file() and not path.is_symlink())
    for _ in range(chance.randint(1, 4)):
        path = chance.choice(files)
        match chance.randrange(5):
            case 0:
                (top / f"new-{chance.randrange(40)}").write_bytes(chance.randbytes(2000))
            case 1 if len(files) > 15 and path.exists() and path.stat().st_size < 100_000:
                path.unlink()
            case 2 if path.exists():
                with open(path, "r+b") as file:
                    file.seek(chance.randrange(max(1, min(path.stat().st_size, 2**20))))
                    file.write(chance.randbytes(500))
            case 3 if path.exists():
                path.rename(path.with_name(f"moved-{chance.randrange(40)}"))
            case _:
                path.parent.joinpath(f"folder-{chance.randrange(9)}").mkdir(exist_ok=True)


@pytest.fixture
def siege(worlds: Worlds) -> Iterator[Siege]:
    seed = int(os.environ.get("DRKEEPER_TESTS_SEED", "0")) or random.SystemRandom().randrange(10**9)
    print(f"DRKEEPER_TESTS_SEED={seed}")
    base = worlds.base / f"siege-{seed}"
    base.mkdir()
    world = World(base / "world", base / "source")
    world.root.mkdir()
    fence(world)
    grow(world.source)
    (world.root / REAL_TIME).touch()
    world.clock = SystemClock()
    world.init()
    found = Siege(worlds, world, random.Random(seed), world.configure())
    found.begin()
    yield found
    shutil.rmtree(base)


def withstand(siege: Siege, cycles: int) -> None:
    for number in range(1, cycles + 1):
        siege.cycle(number)
    siege.end()
    print(f"{siege.killed} killed, {siege.ended} ended, {len(siege.trees)} snapshots")
    assert siege.killed > cycles // 4
    assert siege.ended > cycles // 20


@pytest.mark.slow
def test_kills_harm_nothing(siege: Siege) -> None:
    """After each of 200 kills at random instants all invariants hold, and work goes on."""
    withstand(siege, 200)


@pytest.mark.soak
def test_a_thousand_kills_harm_nothing(siege: Siege) -> None:
    """After each of 1,000 kills at random instants all invariants hold, and work goes on."""
    withstand(siege, 1000)
