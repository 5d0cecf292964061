"""Two daemons on one ledger: no run twice, and nobody waits for the dead for ever."""

import contextlib
import signal
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path

import pytest

from drkeeper.clock import SystemClock
from drkeeper.ledger.ledger import open_ledger
from drkeeper.ledger.process import this_process
from drkeeper.model.run import Operation, RunState
from services.postgresql import fresh_schema

SOURCE = str(Path(__file__).resolve().parents[2] / "src")

BEGIN = """
    import sys
    from datetime import timedelta
    from drkeeper.clock import SystemClock
    from drkeeper.ledger.ledger import open_ledger
    from drkeeper.ledger.process import this_process
    from drkeeper.model.run import Operation, RunId, RunState
    place, host = sys.argv[1:3]
    ledger = open_ledger(place, clock=SystemClock(), me=lambda: this_process(host))
    print("ready", flush=True)
    sys.stdin.readline()
"""

WORKER = (
    BEGIN
    + """
    for number in range(200):
        queued = ledger.queue_run(f"policy-{number}", Operation.BACKUP)
        if queued is not None:
            print("queued", queued)
        for run in ledger.runs(states=[RunState.QUEUED]):
            if ledger.claim_run(run.id, lease=timedelta(minutes=1)):
                print("claimed", run.id)
"""
)

SLEEPER = (
    BEGIN
    + """
    run = ledger.queue_run("home", Operation.BACKUP)
    ledger.claim_run(run, lease=timedelta(seconds=1))
    print(run, flush=True)
    while True:
        ledger.renew_lease(run, lease=timedelta(seconds=1), progress={})
"""
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def place(request, tmp_path):
    """Where there is no ledger yet: a path, and the URL of an empty schema."""
    if request.param == "sqlite":
        return str(tmp_path / "state" / "ledger.sqlite")
    return fresh_schema(request.getfixturevalue("postgresql"))


@contextlib.contextmanager
def process(script, place, host):
    """Run a script that waits, with its ledger open, for a line."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), place, host],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": SOURCE},
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


@contextlib.contextmanager
def opened(place, host="keeper"):
    """Open the ledger as this process."""
    clock = SystemClock()
    with open_ledger(place, clock=clock, me=lambda: this_process(host)) as ledger:
        yield ledger


def test_each_run_is_queued_once_and_claimed_once(place):
    """Of two daemons that see the same two hundred slots, one queues each, and one begins it."""
    with opened(place):
        pass
    with process(WORKER, place, "one") as one, process(WORKER, place, "two") as two:
        for child in (one, two):
            child.stdin.write("go\n")
            child.stdin.flush()
        said = [child.communicate(timeout=120)[0].splitlines() for child in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0)
    queued = [line.split()[1] for lines in said for line in lines if line.startswith("queued")]
    claimed = [line.split()[1] for lines in said for line in lines if line.startswith("claimed")]
    assert len(queued) == len(set(queued)) == 200
    assert len(claimed) == 200
    assert set(claimed) == set(queued)
    with opened(place) as ledger:
        assert ledger.verify().ok
        runs = ledger.runs()
        assert {run.state for run in runs} == {RunState.RUNNING}
        assert len({run.policy for run in runs}) == len(runs) == 200


def test_the_run_of_a_killed_daemon_elsewhere_is_taken_over(place):
    """SIGKILL on another host: while its lease holds nobody touches the run, then it is made up."""
    with opened(place) as ledger:
        with process(SLEEPER, place, "other") as child:
            child.stdin.write("go\n")
            child.stdin.flush()
            run_id = child.stdout.readline().strip()
            time.sleep(3)  # three times its lease
            assert ledger.interrupt_dead_runs() == []
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert ledger.interrupt_dead_runs() == []
        assert ledger.queue_run("home", Operation.BACKUP) is None
        until = time.monotonic() + 20
        while not ledger.interrupt_dead_runs():
            assert time.monotonic() < until
            time.sleep(0.05)
        assert ledger.run(run_id).state is RunState.INTERRUPTED
        again = ledger.queue_run("home", Operation.BACKUP)
        assert ledger.claim_run(again, lease=timedelta(minutes=1))
        assert ledger.verify().ok
