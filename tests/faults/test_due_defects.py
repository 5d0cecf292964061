"""A defect in the thread that looks after runs: whoever waits for the runs must not wait for ever."""

import os
import signal
import subprocess

from doubles.faultpoints import let_strike
from doubles.installation import Installation


def test_a_defect_in_the_thread_of_the_runs_ends_the_command(tmp_path):
    """Exit 70 and a message in time, no orphan: a timer would never begin a command that hangs."""
    installed = Installation(tmp_path).init()
    installed.policy(
        "files",
        f"policy: files\nsource: {{files: {{paths: [{installed.source}]}}}}\n"
        "repository: primary\ntime_zone: UTC\nobjectives: {rpo: 1h}\n",
    )
    installed.variables.update(let_strike(installed.home, "--due", "app.wiring.children.started"))
    script = installed.home / "sitecustomize.py"
    script.write_text(script.read_text().replace("os._exit(99)", "raise ValueError('a defect')"))
    process = installed.start("run", "--due", start_new_session=True)
    try:
        _, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 70, err
    assert "defect" in err
