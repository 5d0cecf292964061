"""Exporting and asking the ledger, as a process; what is exported is verified by another."""

import subprocess
import sys
from pathlib import Path

import pytest

from doubles.installation import Installation, expect

pytestmark = pytest.mark.e2e

TOOL = Path(__file__).parents[2] / "tools" / "verify_export.py"


@pytest.fixture
def installed(tmp_path):
    """An installation with one backup, whose ledger was signed."""
    installed = Installation(tmp_path).init()
    installed.done("backup", "files")
    installed.done("ledger", "store")
    return installed


def signer(installed):
    """Return the public key of the machine, as the keyring has it."""
    items = installed.lines("key", "list")
    return next(each["key"] for each in items if each.get("kind") == "signer" and each["host"])


def judged(installed, text):
    """Verify an export with the tool, as a process of its own, apart from drkeeper."""
    export = installed.home / "export.jsonl"
    export.write_text(text)
    command = [sys.executable, "-I", str(TOOL), str(export), "--key", signer(installed)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_what_is_exported_is_verified_elsewhere(installed):
    """The lines verify as they are, and not with a figure changed; a span that is not there is an
    error."""
    text = installed.done("ledger", "export")
    good = judged(installed, text)
    assert (good.returncode, good.stderr) == (0, "")
    assert judged(installed, text.replace("backup", "restore")).returncode == 1
    part = installed.done("ledger", "export", "--first", "2", "--last", "2")
    assert judged(installed, part).returncode == 0
    items = installed.lines("ledger", "export")
    assert {each["type"] for each in items} == {"export", "event", "checkpoint"}
    expect(installed.run("ledger", "export", "--first", "999"), 23, "there are no events")


def test_questions_are_answered_and_change_nothing(installed):
    """Rows for people and machines; a write is refused with 13, and the ledger verifies."""
    shown = installed.done("ledger", "query", "SELECT policy, state FROM runs")
    assert shown.splitlines() == ["policy  state", "files   succeeded"]
    row, summary = installed.lines("ledger", "query", "SELECT policy FROM recovery_points")
    assert row["row"] == {"policy": "files"}
    assert (summary["rows"], summary["truncated"]) == (1, False)
    expect(installed.run("ledger", "query", "DELETE FROM run"), 13, "not a question")
    installed.done("ledger", "verify")
