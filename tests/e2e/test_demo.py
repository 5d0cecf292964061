"""``drkeeper demo`` as a process, from the first backup to the report that is handed over."""

import csv
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from doubles.installation import Installation, expect
from drkeeper.app.cli.demo_places import Places
from drkeeper.app.cli.demo_story import Story
from drkeeper.app.cli.output import Output
from drkeeper.clock import SystemClock
from drkeeper.errors import DrkeeperError

PATIENCE_S = 400
"""Half a minute of it is the promise that is broken on purpose."""


def told(story: str, title: str) -> str:
    """Return the step of the story whose title begins so."""
    (step,) = (each for each in story.split("\n\n") if each.partition(". ")[2].startswith(title))
    return step


def tree(folder: Path) -> dict[str, object]:
    """Return everything that a tree is to have in common with another."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file():
            status = path.stat()
            found[name] = (path.read_bytes(), status.st_mode, status.st_mtime_ns)
        else:
            found[name] = "folder"
    return found


def orders(database: Path) -> list[tuple]:
    """Return what was sold, of a database that SQLite finds sound."""
    with closing(sqlite3.connect(database)) as bank:
        assert bank.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert bank.execute("PRAGMA foreign_key_check").fetchall() == []
        return bank.execute("SELECT id, customer, cents, sold_at FROM orders").fetchall()


def leftovers(home: Path) -> list[str]:
    """Return the processes that still work below ``home``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(home) in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


def the_engine_does_its_work(home, story):
    """Back in time, byte for byte; a flipped bit is noticed, and the ledger knows nothing of it."""
    assert "links and times too: all equal" in told(
        story, "Is it what it was? Compared with a copy"
    )
    assert "noticed: packs/" in told(story, "Would it notice?")
    assert "AGE-SECRET-KEY" not in story
    assert "Traceback" not in (home / "daemon.log").read_text()


def the_daemon_keeps_and_tells(story):
    """Both policies are kept; two alarms are raised, and are over."""
    kept = told(story, "A daemon keeps two policies")
    assert "project: " in kept
    assert "shop: " in kept
    assert "the page says so too" in kept
    lost = told(story, "Would somebody be told?")
    assert "FAILURE storage-unreachable: repository primary" in lost
    assert "FAILURE rpo-violated: policy " in lost
    assert "the alarm is over" in lost


def the_drills_prove(story):
    """Each kind with its promise and its controls."""
    one = told(story, "Would it come back")
    assert "shop: PROVEN" in one
    assert "project: PROVEN" in one
    assert one.count("promised 1 min: kept") == 1
    assert "nothing-there: caught by database-file, orders, newest-order" in one
    bare = told(story, "And without this machine?")
    assert "keys: PROVEN" in bare
    assert "shop: PROVEN" in bare
    assert "all at once: PROVEN" in told(story, "The shop sells again")


def the_machine_comes_back(home, story, summary):
    """From store and kit alone: every file, every order of the last backup, nothing else."""
    assert "drkeeper rescue --identity" in told(story, "A new machine")
    assert tree(home / "machine" / "project") == tree(home / "witness" / "project")
    assert (home / "machine" / "project" / "data-again.bin").stat().st_nlink == 2
    before, after = orders(home / "witness" / "shop.db"), orders(home / "machine" / "shop.db")
    kept = summary["orders"] - summary["orders_lost"]
    assert kept > 1000
    assert len(before) == summary["orders"]
    assert after[:kept] == before[:kept]
    assert after[kept:], "the shop does not sell"
    assert min(row[3] for row in after[kept:]) > max(row[3] for row in before)
    assert f"{kept} orders are back" in story
    assert 0 < summary["rescue_seconds"] < 60


def the_report_tells_all_of_it(home, story):
    """In every form: what was drilled, lost, promised and undertaken; and a stranger verifies it."""
    report = json.loads((home / "report.json").read_text())
    drills = report["results"]["drills"]
    assert {each["verdict"] for each in drills} == {"proven"}
    kinds = sorted((each["kind"], each["policy"]) for each in drills)
    assert kinds == sorted(
        [
            ("bare", "shop"), ("key", None), ("mass", None),
            ("restore", "project"), ("restore", "project"), ("restore", "shop"), ("restore", "shop"),
        ]
    )  # fmt: skip
    incidents = report["issues"]["incidents"]  # the store that was away; a slow machine has more
    assert incidents
    assert {each["kind"] for each in incidents} == {"rpo-violated"}
    assert all(each["ended_at"] for each in incidents)
    (action,) = report["issues"]["actions"]
    assert action["title"] == "Keep a second copy in another place"
    promises = [each for each in report["review"]["findings"] if each["weight"] == "bad"]
    assert all(" was exceeded " in each["words"] for each in promises)
    html = (home / "report.html").read_text()
    assert html.startswith("<!doctype html>")
    assert "as often as the RPO needs" in html
    assert list(csv.reader((home / "report.csv").read_text().splitlines()))
    assert (home / "report.pdf").exists() == bool(find_spec("weasyprint"))
    assert "VERIFIED: report of" in told(story, "And who does not believe it?")
    assert "NOT SIGNED" not in story
    assert story.splitlines()[-1] == f"Report: {(home / 'report.html').as_uri()}"


def what_it_names_can_be_looked_at(home, story):
    """Each command of the end does its work when it is pasted."""
    ending = story[story.index("Look around") :].splitlines()
    *pasted, clean = [line.strip() for line in ending if line.startswith("   drkeeper ")]
    assert len(pasted) == 5
    assert clean == f"drkeeper demo --clean {home}"
    search = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    for line in pasted:
        done = subprocess.run(
            ["/bin/bash", "-c", f". {home}/profile && {line}"],
            env={"PATH": search, "HOME": str(home.parent)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert done.stdout


def test_the_demo_tells_its_story(tmp_path):
    """Each step did what it says, nothing goes on afterwards, and it cleans up when asked."""
    installation = Installation(tmp_path)
    home = tmp_path / "demo"
    demo = installation.start("demo", "--keep", home, "--watch", "3")
    story, errors = demo.communicate(timeout=PATIENCE_S)
    assert (demo.returncode, errors) == (0, ""), story[-4000:]
    assert leftovers(home) == []
    the_engine_does_its_work(home, story)
    the_daemon_keeps_and_tells(story)
    the_drills_prove(story)
    lines = story.splitlines()
    back = next(line.split() for line in lines if " orders are back" in line)
    lost = next(line for line in lines if "   orders lost, sold after" in line)
    lost = int(lost.split(": ")[1].split(";")[0])
    seconds = next(line for line in lines if "to proven: RTO achieved" in line)
    summary = {
        "orders": int(back[0]) + lost,
        "orders_lost": lost,
        "rescue_seconds": float(seconds.split("achieved ")[1].split()[0]),
    }
    the_machine_comes_back(home, story, summary)
    the_report_tells_all_of_it(home, story)
    what_it_names_can_be_looked_at(home, story)
    bystander = tmp_path / "mine"
    bystander.mkdir()
    expect(installation.run("demo", "--clean", bystander), 13)
    assert bystander.exists()
    installation.done("demo", "--clean", home)
    assert not home.exists()


def test_a_command_that_fails_ends_the_demo(tmp_path, capsys):
    """The error names the command and its exit code; what it said stands above."""
    clock = SystemClock()
    story = Story(Output(), clock, Places(tmp_path).environment())
    with pytest.raises(DrkeeperError, match=r"drkeeper drill nothing ended with 13") as raised:
        story.drkeeper("drill", "nothing")
    assert raised.value.exit_code == 1
    assert "no policy 'nothing'" in capsys.readouterr().out
