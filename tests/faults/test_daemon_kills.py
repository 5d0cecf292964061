"""SIGKILL of the real daemon, again and again, at every phase of a run.

After each restart what was running is interrupted and made up, the ledger verifies, and nothing of
the killed life is left: no process, no temporary file.
"""

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from doubles.daemons import Keeper, configure, keeping, ledger_of, needs, processes_of, wait_for
from drkeeper.model.run import RunState

BEFORE = 0.25
"""The part of the kills that strikes a daemon before it has begun a run."""
ENDS_WITHIN_S = 30
"""How long a run may outlive the daemon that began it: it brings its work to safety first."""


@dataclass
class Siege:
    """One installation whose daemon is killed."""

    made: object
    chance: random.Random
    starts_s: float = 0.0
    takes_s: float = 0.0
    struck: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """Find out how long it takes from the start of a daemon to the end of a run."""
        began = time.monotonic()
        with Keeper(self.made) as keeper:
            keeper.wait_for("run.started")
            self.starts_s = time.monotonic() - began
            keeper.wait_for("run.process_ended")
            self.takes_s = time.monotonic() - began
            keeper.kill()
        self.settle()

    def cycle(self) -> None:
        """Change something, let a daemon live for a while, kill it, and ask what must be true."""
        changed = self.made.source / f"file-{self.chance.randrange(20)}"
        changed.write_bytes(self.chance.randbytes(20_000))
        with Keeper(self.made) as keeper:
            if self.chance.random() < BEFORE:
                time.sleep(self.chance.uniform(0.1, 1.0) * self.starts_s)
            else:
                keeper.wait_for("run.started")
                time.sleep(self.chance.uniform(0.2, 1.2) * (self.takes_s - self.starts_s))
            keeper.kill()
        self.settle()

    def settle(self) -> None:
        """Nothing of the killed life is left, and the ledger is whole."""
        wait_for(
            lambda: not processes_of(self.made),
            f"no process to be left: {processes_of(self.made)}",
            ENDS_WITHIN_S,
        )
        with ledger_of(self.made) as ledger:
            report = ledger.verify()
            assert report.ok, report.findings
            dead = ledger.interrupt_dead_runs()
            states = [run.state for run in ledger.runs("files")]
        assert RunState.RUNNING not in states, dead
        assert states.count(RunState.QUEUED) <= 1
        newest = states[0].value if states else "none"
        self.ends["found dead" if dead else newest] += 1
        self.struck += bool(dead) or newest == "interrupted"

    def end(self) -> None:
        """With peace everything is made up, and what was stored is whole."""
        configure(self.made)
        with Keeper(self.made) as keeper:
            keeper.ready()
            keeper.wait_for("run.process_ended", code=0)
            assert keeper.end() == 143
        assert not processes_of(self.made)
        self.made.done("check", "--read-data")
        with ledger_of(self.made) as ledger:
            assert ledger.verify().ok
            states = [run.state for run in ledger.runs("files")]
        assert not [state for state in states[1:] if not state.ended]
        assert RunState.SUCCEEDED in states[:2]
        left = leftovers(self.made.home)
        assert not left, left


def leftovers(home: Path) -> list[Path]:
    """Return files that only an unfinished piece of work may have, or that nobody knows."""
    state, store = home / "state", home / "store"
    found = [*(store / "+tmp").glob("*")]
    known = {"ledger.sqlite", "daemon.lock", "runs", "repositories", "accepted.json", "locks"}
    found += [path for path in state.iterdir() if path.name not in known]
    found += [path for path in state.rglob("*") if path.name.endswith(("-journal", ".tmp"))]
    return found


HOOKS = """
hooks:
  before_backup: [/bin/sleep, '0.3']
  after_backup: [/bin/sleep, '0.2']
"""


@pytest.fixture
def siege(tmp_path):
    seed = int(os.environ.get("DRKEEPER_TESTS_SEED", "0")) or random.SystemRandom().randrange(10**9)
    print(f"DRKEEPER_TESTS_SEED={seed}")
    made = keeping(tmp_path)
    needs(made, "files", rpo="2s", more=HOOKS)
    found = Siege(made, random.Random(seed))
    found.begin()
    return found


def withstand(siege: Siege, cycles: int) -> None:
    for _ in range(cycles):
        siege.cycle()
    siege.end()
    print(f"{siege.struck} of {cycles} kills cut a run off: {siege.ends}")
    assert siege.struck > cycles // 10


@pytest.mark.slow
def test_a_killed_daemon_leaves_nothing_behind(siege):
    """After each of 20 kills at random instants nothing is left, and the work is made up."""
    withstand(siege, 20)


@pytest.mark.soak
def test_a_daemon_killed_two_hundred_times_leaves_nothing_behind(siege):
    """After each of 200 kills at random instants nothing is left, and the work is made up."""
    withstand(siege, 200)
