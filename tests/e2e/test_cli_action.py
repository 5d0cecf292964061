"""Corrective actions by the command line."""

import pytest

from doubles.installation import Installation, expect
from doubles.ledgers import BEGINNING
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.clock import SystemClock
from drkeeper.model.drill_record import IncidentKind

pytestmark = pytest.mark.e2e


@pytest.fixture
def home(tmp_path):
    return Installation(tmp_path).init()


def test_an_action_is_opened_listed_and_closed(home):
    """It has a number, an owner and a day, and is listed until somebody says what came of it."""
    home.done("backup", "files")
    place = home.home / "state" / "ledger.sqlite"
    with open_run_ledger(place, host="any", clock=SystemClock()) as ledger:
        incident = ledger.open_incident(IncidentKind.NOT_PROVEN, "files", BEGINNING, cause="x")
    options = ["--owner", "Ada", "--due", "2020-02-03", "--policy", "files"]
    (opened,) = home.lines(
        "action", "open", "find out \x1b[31mwhy", *options, "--incident", str(incident.id)
    )
    assert (opened["owner"], opened["due_at"]) == ("Ada", "2020-02-03T23:59:59Z")
    number = str(opened["action"])
    shown = home.done("action", "list")
    assert "Ada" in shown
    assert "(late)" in shown
    assert "not proven" in shown
    assert "\x1b" not in shown
    *items, summary = home.lines("action", "list")
    assert [item.get("incident") for item in items] == [incident.id, incident.id]
    assert (summary["actions"], summary["late"], summary["incidents"]) == (1, 1, 1)
    home.done("action", "close", number, "the disk was replaced")
    assert [line["message_type"] for line in home.lines("action", "list")] == ["item", "summary"]
    assert "the disk was replaced" in home.done("action", "list", "--all")
    expect(home.run("action", "close", number, "again"), 23, "is closed already")
    home.done("ledger", "verify")


def test_what_is_not_right_is_refused(home):
    """Nothing is written down that says nothing, or points nowhere."""
    home.done("backup", "files")
    expect(home.run("action", "open", " ", "--owner", "x"), 2)
    expect(home.run("action", "open", "do it", "--owner", " "), 2)
    expect(home.run("action", "open", "do it", "--owner", "x", "--due", "soon"), 2)
    expect(home.run("action", "open", "do it", "--owner", "x", "--policy", "none"), 13)
    expect(home.run("action", "open", "do it", "--owner", "x", "--incident", "99"), 23)
    expect(home.run("action", "close", "99", "done"), 23)
    assert "no action is open" in home.done("action", "list")
