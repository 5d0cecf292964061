"""What the events add up to, in memory and in a file."""

import os
import subprocess
import sys

import pytest

from doubles.ledgers import ledger_at, live_through
from drkeeper.ledger.change import IllegalEventError
from drkeeper.ledger.events import Event
from drkeeper.ledger.fold import Fold
from drkeeper.ledger.tables import PROJECTIONS

TINY = (0, 1, 7)
"""Most rows in memory: none, one, and some."""


@pytest.fixture
def lived(tmp_path):
    """The events of a ledger in which a few things have come to pass."""
    with ledger_at(tmp_path / "ledger.sqlite") as ledger:
        live_through(ledger, 5, runs=12)
        return ledger.events(limit=100_000)


def folded(events, most_held):
    fold = Fold(most_held)
    for event in events:
        fold.add(event)
    return fold


@pytest.mark.parametrize("most_held", TINY)
def test_what_is_in_a_file_is_what_would_be_in_memory(lived, most_held):
    """The same rows, of the same types, in the same order; each is taken once."""
    with folded(lived, most_held) as aside, folded(lived, len(lived)) as whole:
        assert list(whole.keys("run"))
        for table in PROJECTIONS:
            keys = list(whole.keys(table))
            assert list(aside.keys(table)) == keys
            for key in keys:
                assert repr(aside.take(table, key)) == repr(whole.take(table, key))  # 1 is not True
                assert aside.take(table, key) is None
            assert not list(aside.keys(table))
            assert aside.take(table, "nobody") is None
        assert whole.take("run", "nobody") is None


def test_what_no_table_could_hold_is_illegal(lived):
    """A number beyond those of a database, and half a character: told of the event, and nothing is changed."""
    for odd in ("9" * 30, '"\\ud800"'):
        with folded(lived, 10**6) as fold:
            before = list(fold.keys("policy"))
            body = f'{{"definition":"d","policy":"p","seen_at":{odd}}}'
            with pytest.raises(IllegalEventError, match="event 99"):
                fold.add(Event(99, "", "policy.seen", body, b"", b""))
            assert list(fold.keys("policy")) == before


FULL = """
import os, resource, signal, sys
from drkeeper.errors import LedgerError
from drkeeper.ledger.events import Event
from drkeeper.ledger.fold import Fold
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
body = '{"definition":"%s","policy":"p%d","seen_at":"2026-11-22T00:00:00Z"}'
fold = Fold(100)
try:
    for seq in range(1, 4000):
        fold.add(Event(seq, "", "policy.seen", body % ("x" * 20_000, seq), b"", b""))
except LedgerError as error:
    print(error, error.hint)
    here = os.environ["TMPDIR"]
    files = [os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')]
    print(len([each for each in files if each.startswith(here)]), "file,", os.listdir(here))
"""


def test_no_room_is_told_as_such(tmp_path):
    """A full disk is no damage to the ledger: an error with what to do. No name is left in the folder."""
    ran = subprocess.run(
        [sys.executable, "-c", FULL],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    said, files = ran.stdout.splitlines()
    assert "cannot compute what the ledger's events add up to" in said
    assert "TMPDIR" in said
    assert files == "1 file, []"
