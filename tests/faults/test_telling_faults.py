"""A daemon that dies at any moment of telling: the next one tells the rest, and the ledger is whole."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from doubles.faultpoints import CRASHED, registered_points
from doubles.ledgers import ledger_at
from doubles.receivers import HttpReceiver, SmtpReceiver, json_of
from doubles.tellers import AFTER, look

TESTS = Path(__file__).parents[1]
OURS = (
    "notify.",
    "operations.alarming.",
    "operations.delivering.",
    "app.wiring.channels.",
    "app.wiring.told.",
    "ledger.claims.",
    "ledger.reconciling.",
)
APPRISE = {"notify.apprise.send", "notify.apprise.sent"}
"""A child of its own kind; tests/contract/test_notifier.py kills it."""
POINTS = sorted(
    name for name in registered_points() if name.startswith(OURS) and name not in APPRISE
)


@pytest.fixture
def receivers():
    with ExitStack() as stack:
        yield stack.enter_context(HttpReceiver()), stack.enter_context(SmtpReceiver())


def tell(path, receivers, *strike):
    http, smtp = receivers
    return subprocess.run(
        [sys.executable, "-m", "doubles.tellers", path, http.url, str(smtp.port), *strike],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def heard(receivers):
    """Return what the webhook and the mail were told, in order."""
    http, smtp = receivers
    hooks = [json_of(each) for each in http.requests if each.target == "/hook"]
    mails = [each.message["Subject"] for each in smtp.mails]
    return [each["type"] for each in hooks], mails


def test_every_point_of_telling_is_reached(tmp_path, receivers):
    """A point that nothing passes guards nothing; and nothing goes wrong when nothing is struck."""
    done = tell(tmp_path / "ledger.sqlite", receivers)
    assert done.returncode == 0, done.stderr
    assert set(POINTS) <= set(done.stdout.split())
    hooks, mails = heard(receivers)
    assert (hooks, len(mails)) == (["drkeeper.entered"], 1)


@pytest.mark.parametrize("name", POINTS)
def test_who_dies_of_telling_leaves_the_rest_to_the_next(tmp_path, receivers, name):
    """Whatever was told, all is told in the end: raised at least once, over exactly once."""
    path = tmp_path / "ledger.sqlite"
    died = tell(path, receivers, name, "1")
    assert died.returncode == CRASHED, died.stderr
    http, smtp = receivers
    look(path, http.url, smtp.port, overdue=True, later=AFTER)
    look(path, http.url, smtp.port, overdue=True, later=AFTER * 2)
    between_hooks, between_mails = heard(receivers)
    assert 1 <= between_hooks.count("drkeeper.entered") == len(between_hooks) <= 2
    assert 1 <= len(between_mails) <= 2
    look(path, http.url, smtp.port, overdue=False, later=AFTER * 3)
    hooks, mails = heard(receivers)
    assert hooks == [*between_hooks, "drkeeper.left"]
    assert len(mails) == len(between_mails) + 1
    assert "over" in mails[-1]
    ids = {json_of(each)["data"]["thread"] for each in http.requests if each.target == "/hook"}
    assert len(ids) == 1
    with ledger_at(path) as ledger:
        assert ledger.verify().ok
        assert ledger.open_alarms() == []
        assert all(each.delivered for each in ledger.last_notifications().values())
