"""Power cuts in the processes around a run: whoever starts it, and the run itself.

Each strikes a real process at a fault point. Afterwards nothing of it lives, the ledger verifies, and
the next `run --due` does what was to be done, once.
"""

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from doubles.faultpoints import CRASHED, let_strike, registered_points
from doubles.installation import Installation
from drkeeper.app.wiring.runlogs import KEPT
from drkeeper.clock import SystemClock
from drkeeper.ledger.ledger import open_ledger
from drkeeper.ledger.process import this_process
from drkeeper.model.run import RunState

STARTER = [
    "app.wiring.runlogs.open",
    "app.wiring.runlogs.opened",
    "app.wiring.children.start",
    "app.wiring.children.started",
    "app.wiring.execution.settle",
    "app.wiring.runlogs.remove",
    "app.wiring.execution.settled",
    "app.wiring.children.ask",
    "app.wiring.children.kill",
    "app.wiring.telling.looked",
    "app.wiring.telling.told",
]
RUN = ["operations.hooks.start", "operations.hooks.started", "operations.hooks.ended"]
MINE = (
    "app.wiring.children.",
    "app.wiring.execution.",
    "app.wiring.runlogs.",
    "app.wiring.telling.",
    "operations.hooks.",
)


class SlowClock(SystemClock):
    """A day behind."""

    def now(self):
        return super().now() - timedelta(days=1)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Return a folder whose content can be put back, and a copy of that."""
    folder = tmp_path_factory.mktemp("around")
    installed = Installation(folder / "home")
    installed.home.mkdir()
    installed.init()
    (installed.etc / "policies.d" / "files.yaml").unlink()
    shutil.copytree(installed.home, folder / "pristine", symlinks=True)
    return folder


@pytest.fixture
def installed(pristine):
    """Return an installation with a policy that is due, and whose hooks take a moment."""
    installed = Installation(pristine / "home")
    shutil.rmtree(installed.home)
    shutil.copytree(pristine / "pristine", installed.home, symlinks=True)
    hook = installed.home / "hook"
    hook.write_text(f"#!/bin/sh\necho $$ >> {installed.home}/pids\nsleep 0.3\n")
    hook.chmod(0o755)
    due = datetime.now(UTC) - timedelta(hours=6)
    installed.policy(
        "home",
        f"policy: home\nsource: {{files: {{paths: [{installed.source}]}}}}\nrepository: primary\n"
        f"time_zone: UTC\nschedule: daily at {due:%H:%M}\n"
        f"hooks: {{before_backup: [{hook}], after_backup: [{hook}]}}\n",
    )
    with opened(installed, SlowClock()) as ledger:
        ledger.see_policies({"home": "as it was"})
    return installed


def opened(installed, clock=None):
    path = installed.home / "state" / "ledger.sqlite"
    return open_ledger(path, clock=clock or SystemClock(), me=lambda: this_process("here"))


def left_over(installed):
    """Return the living processes that belong to this installation."""
    found = []
    mark = f"HOME={installed.home}".encode()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue
    return found


def strike(installed, who, point, hit):
    """Run what is due with a power cut at a point of a process; return the starter's exit code."""
    installed.variables.update(let_strike(installed.home, f"--{who}", point, hit))
    ends = point.rpartition(".")[2] in {"ask", "kill"}
    if ends:  # the starter is told to end while a hook runs
        (installed.home / "hook").write_text(
            "#!/bin/sh\n[ $DRKEEPER_HOOK = before_backup ] || exit 0\n"
            f"trap '' TERM\necho $$ >> {installed.home}/pids\nsleep 30\nsleep 30\n"
        )
        settings = installed.etc / "drkeeper.yaml"
        settings.write_text(settings.read_text() + "\ndaemon: {stop_within: 1s}\n")
    process = installed.start("run", "--due")
    if ends:
        while not (installed.home / "pids").exists():
            time.sleep(0.02)
        process.terminate()
    process.communicate(timeout=60)
    installed.variables.clear()
    return process.returncode


def settle(installed):
    """Wait until nothing of the installation lives."""
    ends = time.monotonic() + 60
    while left := left_over(installed):
        assert time.monotonic() < ends, left
        time.sleep(0.05)


def hook_as_before(installed):
    (installed.home / "hook").write_text("#!/bin/sh\n")


@pytest.mark.parametrize("point", STARTER)
def test_a_power_cut_of_whoever_starts_runs(installed, point):
    """No orphan, and the policy has its snapshot after the next call, exactly one more if need be."""
    if point.endswith("remove"):
        folder = installed.home / "state" / "runs"
        folder.mkdir(parents=True)
        for number in range(KEPT + 1):
            (folder / f"{number:016x}.log").touch()
    assert strike(installed, "due", point, 1) == CRASHED
    settle(installed)
    check_made_up(installed)


@pytest.mark.parametrize("point", RUN)
@pytest.mark.parametrize("hit", [1, 2], ids=["before", "after"])
def test_a_crash_of_a_run_around_its_hooks(installed, point, hit):
    """The hook ends with its run, which has failed: it is tried again later, and by hand at once."""
    assert strike(installed, "run", point, hit) == CRASHED
    settle(installed)
    with opened(installed) as ledger:
        assert [run.state for run in ledger.runs()] == [RunState.FAILED]
    check_made_up(installed, "backup", "home")


def check_made_up(installed, *command):
    hook_as_before(installed)
    result = installed.run(*(command or ("run", "--due")))
    assert result.returncode == 0, (result.stdout, result.stderr)
    assert "nothing was due" in installed.done("run", "--due")
    with opened(installed) as ledger:
        runs = ledger.runs()
        assert ledger.verify().ok
    assert [run.state for run in runs].count(RunState.SUCCEEDED) == 1
    cut_off = RunState.FAILED if command else RunState.INTERRUPTED
    assert {run.state for run in runs} <= {RunState.SUCCEEDED, cut_off}
    assert len(runs) <= 2
    assert not left_over(installed)
    assert not [path for path in installed.home.rglob("*.tmp") if path.is_file()]


def test_every_point_around_runs_is_struck():
    """A new point needs a case here."""
    named = {name for name in registered_points() if name.startswith(MINE)}
    assert named == {*STARTER, *RUN}


def test_the_interpreter_reads_the_customization(tmp_path):
    """Otherwise nothing above strikes anything."""
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(7)")
    done = subprocess.run(
        [sys.executable, "-P", "-c", "pass"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
