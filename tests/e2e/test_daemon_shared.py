"""Two real daemons, as on two machines, with one ledger on a server and one repository."""

import os
import shutil
import signal
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from doubles.daemons import Keeper, configure, keeping, needs, processes_of, wait_for
from doubles.installation import Installation
from doubles.ledgers import ledger_at
from drkeeper.app.wiring.runs import LEASE
from drkeeper.clock import SystemClock
from drkeeper.errors import RunningError
from drkeeper.model.run import Run, RunState
from services.postgresql import postgresql, postgresql_url  # noqa: F401 - fixtures

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.slow]

POLICIES = ("files", "mail", "shop")
RPO_S = 6


def second(made: Installation, host: str) -> Installation:
    """Return the same installation as another machine has it, with a state of its own."""
    other = Installation(made.home / host)
    shutil.copytree(made.etc, other.etc)
    path = other.etc / "drkeeper.yaml"
    path.write_text(f"host: {host}\n{path.read_text()}")
    return other


def runs_of(url: str, policy: str) -> list[Run]:
    """Return the runs of a policy, the first one first."""
    with ledger_at(url, clock=SystemClock()) as ledger:
        return list(reversed(ledger.runs(policy, limit=1000)))


@pytest.fixture(name="url")
def _url(postgresql_url):  # noqa: F811 - the fixture
    return postgresql_url


@pytest.fixture
def machines(tmp_path: Path, url) -> tuple[Installation, Installation]:
    made = keeping(tmp_path, rpo=f"{RPO_S}s")
    for name in POLICIES:
        needs(made, name, rpo=f"{RPO_S}s")
    configure(made, f"ledger: {url}\n")
    return made, second(made, "other")


def keep_together(machines, url: str, for_s: float) -> None:
    """Let two daemons live for a while; each promise is kept once, and both take part."""
    with Keeper(machines[0]) as one, Keeper(machines[1]) as other:
        one.ready()
        other.ready()
        until = time.monotonic() + for_s
        wait_for(lambda: time.monotonic() > until, "time to pass", for_s + 10)
        done = [
            Counter(line["code"] for line in k.lines("run.process_ended")) for k in (one, other)
        ]
        stopping = SystemClock().now()
        assert [one.end(), other.end()] == [143, 143]
    total = 0
    for name in POLICIES:
        runs = runs_of(url, name)
        good = [run for run in runs if run.state is RunState.SUCCEEDED]
        # While the first one ends, the other goes on, and makes up for what was interrupted.
        ended = {run.state for run in runs if run.ended_at and run.ended_at < stopping}
        since = {run.state for run in runs if not run.ended_at or run.ended_at >= stopping}
        told = [(run.state, run.ended_at, run.failure) for run in runs]
        assert ended == {RunState.SUCCEEDED}, (stopping, told)
        assert since <= {RunState.SUCCEEDED, RunState.INTERRUPTED, RunState.QUEUED}, told
        for before, after in pairwise(good):
            assert after.started_at >= before.ended_at
            assert after.started_at - before.started_at >= timedelta(seconds=RPO_S / 2)
        total += len(good)
    assert all(codes[0] for codes in done), done
    # A run that both wanted to begin is done by one, and left alone by the other.
    assert all(set(codes) <= {0, RunningError.exit_code} for codes in done), done
    with ledger_at(url, clock=SystemClock()) as ledger:
        assert ledger.verify().ok
        assert {beat.process.host for beat in ledger.daemons()} >= {"other"}
    print(f"{total} runs in {for_s} s, by each: {done}")


def test_two_daemons_keep_each_promise_once(machines, url):
    """Twenty seconds of promises of six seconds: no run twice, none beside another, both work."""
    keep_together(machines, url, 20)


@pytest.mark.soak
def test_two_daemons_keep_each_promise_once_for_minutes(machines, url):
    """The same for three minutes."""
    keep_together(machines, url, 180)


@pytest.mark.soak
def test_a_killed_machines_run_is_taken_over(machines, url):
    """All processes of one machine are gone at once: when the lease ends, the other makes it up."""
    slow = "hooks: {before_backup: [{command: [/bin/sleep, '300'], timeout: 10m}]}\n"
    for name in POLICIES:  # not to be in the way
        quiet = needs(machines[0], name, rpo="2h")
        shutil.copy(quiet, machines[1].etc / "policies.d")
    needs(machines[0], "slow", rpo="2h", more=slow)
    with Keeper(machines[0]) as one:
        one.ready()
        (begun,) = one.wait_for("run.started", policy="slow")
        wait_for(lambda: runs_of(url, "slow")[0].state is RunState.RUNNING, "it to be claimed")
        one.kill()
        for pid in processes_of(machines[0]):
            os.kill(pid, signal.SIGKILL)
    healthy = needs(machines[0], "slow", rpo="2h")
    shutil.copy(healthy, machines[1].etc / "policies.d")
    with Keeper(machines[1]) as other:
        other.ready()
        began = time.monotonic()
        states = [run.state for run in runs_of(url, "slow")]
        assert states == [RunState.RUNNING]
        limit = 3 * LEASE.total_seconds() + 60
        wait_for(lambda: len(runs_of(url, "slow")) > 1, "it to be made up", limit)
        took = time.monotonic() - began
        assert took > LEASE.total_seconds() / 2
        other.wait_for("run.process_ended", policy="slow", code=0)
        assert other.end() == 143
    first, again = runs_of(url, "slow")
    assert (first.id, first.state) == (begun["run"], RunState.INTERRUPTED)
    assert again.state is RunState.SUCCEEDED
    print(f"taken over after {took:.0f} s; a lease lasts {LEASE.total_seconds():.0f} s")
