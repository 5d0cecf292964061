"""SIGKILL of the real daemon, again and again, at every phase of a run.

Each kill has a policy of its own, which is due once. The processes are held at a fault point, so
each phase is met for certain. Half of the kills end the daemon alone, whose run then brings its work
to safety; the other half end everything at once, as a power cut does. After the restart what was cut
off is interrupted and made up once, the ledger verifies, and nothing of the killed life is left: no
process, no temporary file.
"""

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import doubles.daemons
from doubles.daemons import Keeper, keeping, ledger_of, needs, processes_of, wait_for
from doubles.installation import Installation
from drkeeper.model.run import RunState

HOLDING = Path(doubles.daemons.__file__).parent / "held"
ENDS_WITHIN_S = 30
"""How long a run may outlive the daemon that began it: it brings its work to safety first."""
HOOKS = """
hooks:
  before_backup: [/bin/sleep, '0.1']
  after_backup: [/bin/sleep, '0.1']
"""


@dataclass(frozen=True)
class Phase:
    """Where a kill strikes.

    Attributes:
        name: What goes on.
        who: The command that is held.
        point: Where.
        state: How its run stands in the ledger then.
        hit: How often the process comes there first, and this time.
    """

    name: str
    who: str
    point: str
    state: RunState | None
    hit: int = 1


SLOW_S = 0.25
"""Pause between two looks at the ledger, or at all processes: a look costs more than what it sees."""
QUEUED, RUNNING, DONE = RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED
PHASES = (
    Phase("planning", "daemon", "app.daemon.tick.looking", None),
    Phase("queued", "daemon", "app.wiring.children.start", QUEUED),
    Phase("begun", "backup", "ledger.engine.beginning", QUEUED),
    Phase("claiming", "backup", "ledger.leases.granting", QUEUED),
    Phase("in the hook before", "backup", "operations.hooks.started", RUNNING),
    Phase("opening", "backup", "operations.backup.open", RUNNING),
    Phase("walking", "backup", "operations.backup.frozen", RUNNING),
    Phase("uploading", "backup", "repository.writer.put", RUNNING),
    Phase("writing an object", "backup", "storage.folder.written", RUNNING),
    Phase("uploaded", "backup", "repository.writer.data_durable", RUNNING),
    Phase("committing", "backup", "repository.writer.commit", RUNNING),
    Phase("committed", "backup", "operations.backup.committed", RUNNING),
    Phase("in the hook after", "backup", "operations.hooks.started", RUNNING, 2),
    Phase("ending", "backup", "ledger.leases.revoking", RUNNING),
    Phase("ended", "daemon", "app.wiring.execution.settle", DONE),
    Phase("settled", "daemon", "app.wiring.execution.settled", DONE),
)


@dataclass(frozen=True)
class Struck:
    """A kill that is to be made up for."""

    policy: str
    phase: Phase
    power_cut: bool


@dataclass
class Siege:
    """One installation whose daemon is killed again and again."""

    made: Installation
    chance: random.Random
    kills: int = 0
    met: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    told: dict[str, tuple[RunState, ...]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the processes are told to wait."""
        return self.made.home / "hold"

    def begin(self) -> "Keeper":
        """Let a daemon live that can be held."""
        self.folder.mkdir(exist_ok=True)
        return Keeper(self.made, HELD_BELOW=str(self.folder), PYTHONPATH=str(HOLDING))

    def strike(self, keeper: Keeper, phase: Phase, *, power_cut: bool) -> Struck:
        """Let a new policy be due, and kill when its run is in the phase."""
        self.kills += 1
        wait_for(
            lambda: len(keeper.lines("run.started")) == len(keeper.lines("run.process_ended")),
            "what ran before to be settled",
        )
        name = f"policy-{self.kills}"
        changed = self.made.source / f"file-{self.chance.randrange(20)}"
        changed.write_bytes(self.chance.randbytes(200_000))
        for old in (self.made.etc / "policies.d").glob("policy-*.yaml"):
            old.unlink()
        armed, reached = self.folder / "armed", self.folder / "held"
        reached.unlink(missing_ok=True)
        other = name if phase.who == "backup" else phase.who
        (self.folder / "new").write_text(f"{phase.point} {phase.who} {other} {phase.hit}")
        needs(self.made, name, rpo="2h", more=HOOKS)
        (self.folder / "new").rename(armed)
        if phase.state is not None:
            keeper.send(signal.SIGHUP)
        wait_for(reached.exists, f"{phase.name}:\n{keeper.text()[-2000:]}", 50)
        states = self.states(name)
        assert states == (() if phase.state is None else (phase.state,)), (phase, states)
        keeper.process.kill()
        if power_cut:
            for pid in processes_of(self.made):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        keeper.kill()
        armed.unlink()
        self.met[phase.name] += 1
        return Struck(name, phase, power_cut)

    def nothing_is_left(self) -> None:
        """Nothing of the killed life is left, and the ledger is whole."""
        wait_for(
            lambda: not processes_of(self.made),
            f"no process to be left: {processes_of(self.made)}",
            ENDS_WITHIN_S,
            pause_s=SLOW_S,
        )
        with ledger_of(self.made) as ledger:
            report = ledger.verify()
        assert report.ok, report.findings

    def made_up(self, struck: Struck) -> None:
        """What was cut off is interrupted and has been run once more, and no more than that."""
        name, phase = struck.policy, struck.phase
        wait_for(
            lambda: DONE in self.states(name),
            f"{name} to be made up after {struck}",
            pause_s=SLOW_S,
        )
        states = self.states(name)
        self.told[name] = states
        cut_off = (RunState.INTERRUPTED, DONE)
        if phase.state is RUNNING and struck.power_cut:
            assert sorted(states) == sorted(cut_off), (phase, states)
        elif phase.state is DONE:
            assert states == (DONE,), (phase, states)
        else:
            assert sorted(states) in (sorted(cut_off), [DONE]), (phase, states)
        self.ends[" after ".join(states)] += 1

    def states(self, name: str) -> tuple[RunState, ...]:
        """Return how the runs of a policy stand, newest first."""
        with ledger_of(self.made) as ledger:
            states = [run.state for run in ledger.runs(name)]
        # A hook that is cut off after its run is a warning: the snapshot is made.
        return tuple(DONE if state is RunState.WARNINGS else state for state in states)

    def end(self, keeper: Keeper) -> None:
        """With peace nothing is run again, and what was stored is whole."""
        ticks = time.monotonic() + 3
        wait_for(lambda: time.monotonic() > ticks, "three more ticks")
        assert keeper.end() == 143
        assert not processes_of(self.made)
        assert {name: self.states(name) for name in self.told} == self.told
        self.made.done("check", "--read-data")
        with ledger_of(self.made) as ledger:
            assert ledger.verify().ok
            assert not ledger.leases()
        left = leftovers(self.made.home)
        assert not left, left


def leftovers(home: Path) -> list[Path]:
    """Return files that only an unfinished piece of work may have, or that nobody knows."""
    state, store = home / "state", home / "store"
    found = [*(store / "+tmp").glob("*")]
    known = {"ledger.sqlite", "daemon.lock", "runs", "repositories", "accepted.json", "locks"}
    kept = re.compile(r"(stored-ledger|rescue)-[0-9a-f]{32}\.json")
    found += [p for p in state.iterdir() if p.name not in known and not kept.fullmatch(p.name)]
    found += [path for path in state.rglob("*") if path.name.endswith(("-journal", ".tmp"))]
    return found


@pytest.fixture
def siege(tmp_path):
    seed = int(os.environ.get("DRKEEPER_TESTS_SEED", "0")) or random.SystemRandom().randrange(10**9)
    print(f"DRKEEPER_TESTS_SEED={seed}")
    return Siege(keeping(tmp_path, rpo="2h"), random.Random(seed))


def withstand(siege: Siege, kills: Sequence[tuple[Phase, bool]]) -> None:
    began = time.monotonic()
    with siege.begin() as keeper:
        keeper.ready()
        wait_for(lambda: DONE in siege.states("files"), "the first run")
        struck = siege.strike(keeper, kills[0][0], power_cut=kills[0][1])
    for phase, power_cut in kills[1:]:
        siege.nothing_is_left()
        with siege.begin() as keeper:
            keeper.ready()
            siege.made_up(struck)
            struck = siege.strike(keeper, phase, power_cut=power_cut)
    siege.nothing_is_left()
    with siege.begin() as keeper:
        keeper.ready()
        siege.made_up(struck)
        siege.end(keeper)
    assert set(siege.met) == {phase.name for phase, _ in kills}
    took = time.monotonic() - began
    print(f"{siege.kills} kills in {took:.0f} s; {dict(siege.met)}; {dict(siege.ends)}")


KILLS = [(phase, power_cut) for phase in PHASES for power_cut in (False, True)]


@pytest.mark.slow
def test_a_daemon_killed_in_a_run_leaves_nothing_behind(siege):
    """After a kill in each phase of a run nothing is left, and the work is made up once."""
    withstand(siege, siege.chance.sample(KILLS[::2], 3) + siege.chance.sample(KILLS[1::2], 5))


@pytest.mark.soak
def test_a_daemon_killed_two_hundred_times_leaves_nothing_behind(siege):
    """After each of 200 kills, in each phase, nothing is left, and the work is made up once."""
    kills = (KILLS * 7)[:200]
    siege.chance.shuffle(kills)
    withstand(siege, kills)
