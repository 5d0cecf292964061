"""The wall clock is set while the real daemon runs: three daemons, each by another step."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from doubles.daemons import Keeper, keeping, ledger_of, needs
from doubles.installation import Installation
from doubles.wallclock import WallClock
from drkeeper.model.run import RunState

pytestmark = pytest.mark.slow

STEPS = {
    "back": timedelta(hours=-3),
    "forward": timedelta(hours=3),
    "far": timedelta(days=3653),
}
RPO_S = 10
NOTICED_S = 60
"""Source: the daemon's promise, docs/daemon.md: what is overdue is noticed within a minute."""
BUSY = 0.55
"""Most of a core for a daemon that ticks each second and begins a run each five: up to 0.4 was seen.
Three busy loops on two cores would take 0.66 each."""


@dataclass
class Stepped:
    """A daemon whose wall clock is set."""

    made: Installation
    clock: WallClock
    keeper: Keeper
    by: timedelta
    broken: Path

    def count(self, event: str, policy: str) -> int:
        """Return how often something has happened to a policy."""
        return sum(line["policy"] == policy for line in self.keeper.lines(event))

    def cpu_s(self) -> float:
        """Return the processor time of the daemon itself, without its children."""
        fields = (
            Path(f"/proc/{self.keeper.process.pid}/stat").read_text().rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def begin(stack: ExitStack, home: Path, by: timedelta) -> Stepped:
    home.mkdir()
    made = keeping(home, rpo="2h")
    needs(made, "quick", rpo=f"{RPO_S}s")
    broken = home / "broken"
    needs(
        made,
        "late",
        rpo=f"{RPO_S}s",
        more=f"hooks: {{before_backup: [[/usr/bin/test, '!', -e, {broken}]]}}\n",
    )
    clock = WallClock(home)
    keeper = stack.enter_context(Keeper(made, **clock.variables))
    return Stepped(made, clock, keeper, by, broken)


@pytest.fixture
def daemons(tmp_path) -> Iterator[list[Stepped]]:
    with ExitStack() as stack:
        yield [begin(stack, tmp_path / name, by) for name, by in STEPS.items()]


def test_a_clock_that_is_set_changes_no_pace(daemons):
    """No busy loop, no double run, none missed; the step is told, and so is what is overdue."""
    for each in daemons:
        each.keeper.ready()
        for name in ("files", "quick", "late"):
            each.keeper.wait_for("run.process_ended", policy=name, code=0)
    before = [(each.count("run.started", "quick"), each.cpu_s()) for each in daemons]
    began = time.monotonic()
    for each in daemons:
        each.broken.touch()
        each.clock.set_by(each.by)
    for each in daemons:
        (told,) = each.keeper.wait_for("alarm.raised", kind="clock-jumped")
        assert told["message"].count("forward" if each.by > timedelta() else "back") == 1
        assert "3 h" in told["message"] or "3653 d" in told["message"]
        each.keeper.wait_for("alarm.raised", kind="rpo-violated")
        assert time.monotonic() - began < RPO_S + NOTICED_S
    for each, (runs, _) in zip(daemons, before, strict=True):
        each.keeper.wait_for("run.started", runs + 3, policy="quick")
    took = time.monotonic() - began
    for each, (runs, cpu_s) in zip(daemons, before, strict=True):
        # By the dates in the records a point is too old now, where the clock went forward.
        assert each.count("run.started", "files") == (2 if each.by > timedelta() else 1)
        more = each.count("run.started", "quick") - runs
        at_once = 1 if each.by > timedelta() else 0
        most = took / (RPO_S / 2) + 1 + at_once
        assert took / RPO_S - 1 <= more <= most, (each.by, more, took)
        assert each.cpu_s() - cpu_s < BUSY * took + 1, (each.by, each.cpu_s() - cpu_s, took)
        print(f"{each.by}: {took:.1f} s, {more} runs, {each.cpu_s() - cpu_s:.2f} s of CPU")
        assert each.keeper.end() == 143
        with ledger_of(each.made) as ledger:
            assert ledger.verify().ok
            files = {run.state for run in ledger.runs("files")}
            newest = ledger.runs("quick", limit=1)[0]
        assert files == {RunState.SUCCEEDED}
        assert abs(newest.started_at - (datetime.now(UTC) + each.by)) < timedelta(minutes=2)
