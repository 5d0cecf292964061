"""What the pages show is what happens: their commands run, in order, in a scratch home."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import drkeeper
from drkeeper.app.cli.table import COMMANDS

TOP = Path(__file__).parents[2]
QUICK_START = TOP / "docs" / "quick-start.md"
README = TOP / "README.md"
DISASTER = TOP / "docs" / "disaster.md"
"""Its commands are run by test_disaster_page.py."""


def commands(page: Path) -> list[str]:
    """Return the commands of all console blocks, in order."""
    blocks = re.findall(r"^ *```console\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line]


def run_all(page: Path, tmp_path: Path, home: Path) -> None:
    script = tmp_path / "drkeeper"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m drkeeper "$@"\n')
    script.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": str(Path(drkeeper.__file__).parents[1]),
        "DRKEEPER_CONFIG": str(home / "etc"),
        "DRKEEPER_STATE_DIR": str(home / "state"),
        "DRKEEPER_CACHE_DIR": str(home / "cache"),
    }
    for command in commands(page):
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


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


def test_the_quick_start_runs_as_shown(tmp_path, home):
    """A newcomer who types it gets no error."""
    run_all(QUICK_START, tmp_path, home)
    for name in ("before", "restored", "from-the-kit"):
        assert (home / name / str(home)[1:] / "documents" / "letters" / "one.txt").is_file()
    assert (home / "documents" / "list.txt").read_text() == "a list\n"


def test_the_five_minutes_of_the_readme_run_as_shown(tmp_path, home):
    """The first thing anybody tries works, the recovery kit included."""
    (home / "documents").mkdir()
    (home / "documents" / "letter.txt").write_text("Dear reader\n")
    run_all(README, tmp_path, home)
    for name in ("restored", "from-the-kit"):
        copy = home / name / str(home)[1:] / "documents" / "letter.txt"
        assert copy.read_text() == "Dear reader\n"


def test_no_other_page_shows_commands_that_nobody_runs():
    """A page with console blocks is run by a test here, or shows its commands otherwise."""
    pages = {page for page in [*(TOP / "docs").rglob("*.md"), README] if commands(page)}
    assert pages == {QUICK_START, README, DISASTER}


def test_every_command_of_the_quick_start_is_a_command():
    """At least the daily verbs are shown."""
    shown = {line.split()[1] for line in commands(QUICK_START) if line.startswith("drkeeper ")}
    assert {"init", "backup", "restore", "snapshots", "check"} <= shown


def test_every_command_that_a_page_names_is_a_command():
    """Whoever types what a page says between backticks is not told that there is no such command."""
    for page in [README, *(TOP / "docs").glob("*.md")]:
        text = page.read_text()
        code = re.findall(r"^```(?:sh|text|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        code += re.findall(r"`([^`\n]+)`", text)
        for line in "\n".join(code).splitlines():
            for verb in re.findall(
                r"(?:^|[;&|] |\$ |-- |sudo -u drkeeper )drkeeper ([a-z]+)\b", line
            ):
                assert verb in COMMANDS, (page.name, line)
