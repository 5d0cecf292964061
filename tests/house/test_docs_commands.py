"""What the quick start shows is what happens: its commands run, in order, in a scratch home."""

import os
import re
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "quick-start.md"


def commands():
    """Return the commands of all console blocks, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line]


def test_the_quick_start_runs_as_shown(tmp_path):
    """A newcomer who types it gets no error."""
    script = tmp_path / "drkeeper"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m drkeeper "$@"\n')
    script.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(home),
        "DRKEEPER_CONFIG": str(home / "etc"),
        "DRKEEPER_STATE_DIR": str(home / "state"),
        "DRKEEPER_CACHE_DIR": str(home / "cache"),
    }
    for command in commands():
        done = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    for name in ("before", "restored", "from-the-kit"):
        assert (home / name / str(home)[1:] / "documents" / "letters" / "one.txt").is_file()
    assert (home / "documents" / "list.txt").read_text() == "a list\n"


def test_every_command_of_the_quick_start_is_a_command():
    """At least the daily verbs are shown."""
    shown = {line.split()[1] for line in commands() if line.startswith("drkeeper ")}
    assert {"init", "backup", "restore", "snapshots", "check"} <= shown
