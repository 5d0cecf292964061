"""A power cut in the midst of a drill, at each of its own fault points."""

import json

import pytest

from doubles.faultpoints import CRASHED, let_strike, registered_points
from doubles.installation import Installation

POINTS = sorted(name for name in registered_points() if name.startswith("operations.drills."))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return an installation with a snapshot; all cuts happen to the same one."""
    made = Installation(tmp_path_factory.mktemp("drilled")).init()
    made.done("backup", "files")
    return made


def verdicts(installed):
    """Return the verdicts of all drills, oldest first."""
    lines = installed.lines("ledger", "query", "SELECT verdict FROM drills ORDER BY id")
    return [line["row"]["verdict"] for line in lines if line["message_type"] == "item"]


@pytest.mark.parametrize("point", POINTS)
def test_a_power_cut_leaves_nothing_but_a_row(installed, point):
    """The next drill removes what was restored, ends the row of the dead one, and proves the policy."""
    installed.variables.update(let_strike(installed.home, "drill", point))
    cut = installed.run("drill", "files")
    installed.variables.clear()
    assert cut.returncode == CRASHED, (cut.stdout, cut.stderr)
    before = verdicts(installed)
    assert before[-1] is None
    again = installed.run("drill", "files", "--json")
    assert again.returncode == 0, (again.stdout, again.stderr)
    was_there = point != "operations.drills.scratch"  # the one before there is a place
    assert ("left by a drill that was killed" in json.dumps(again.stdout)) is was_there
    assert verdicts(installed) == [*before[:-1], "inconclusive", "proven"]
    assert list((installed.home / "cache" / "scratch").iterdir()) == []
    installed.done("ledger", "verify")
