"""The ledger is verified at the start and daily, over real ledgers."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.verifying import EVERY, Verifier
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.errors import LedgerError
from drkeeper.model.alarm import AlarmKind, Subject
from drkeeper.model.run import Operation

LEDGER = Subject("ledger", "here")


class World:
    """A ledger and what verifies it."""

    def __init__(self, folder):
        self.clock = FakeClock()
        self.place = folder / "ledger.sqlite"
        self.concerns = Concerns(self.clock)
        self.said = []
        self.error = None
        with self.open() as ledger:
            ledger.begin_run("shop", Operation.BACKUP)
        self.verifier = Verifier(
            self.open,
            concerns=self.concerns,
            ledger=LEDGER,
            clock=self.clock,
            log=lambda event, **_fields: self.said.append(event),
        )

    def open(self):
        if self.error is not None:
            raise self.error
        return open_run_ledger(self.place, host="here", clock=self.clock)

    def change(self, state):
        """Change a row behind the ledger's back."""
        with closing(sqlite3.connect(self.place)) as other, other:
            other.execute("UPDATE run SET state = ?", (state,))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_it_is_verified_once_a_day(world):
    """At once, then not before a day has passed by a clock that nobody sets."""
    world.verifier.verify_when_due()
    assert world.said == ["ledger.verified"]
    assert world.verifier.verified_at == world.clock.now()
    world.clock.jump(timedelta(days=400))
    world.clock.advance(EVERY - timedelta(seconds=1))
    world.verifier.verify_when_due()
    assert world.said == ["ledger.verified"]
    world.clock.advance(timedelta(seconds=1))
    world.verifier.verify_when_due()
    assert world.said == ["ledger.verified"] * 2
    assert world.concerns.held() == ()


def test_what_was_changed_is_a_concern_until_it_is_as_it_was(world):
    """It names the ledger and what to do; a sound ledger ends it."""
    world.change("failed")
    world.verifier.verify_when_due()
    (condition,) = world.concerns.held()
    assert (condition.kind, condition.subject) == (AlarmKind.LEDGER_TROUBLE, LEDGER)
    assert "here was changed or damaged" in condition.message
    assert condition.hint.startswith("Run drkeeper ledger verify")
    assert world.verifier.verified_at is None
    world.change("running")
    world.clock.advance(EVERY)
    world.verifier.verify_when_due()
    assert world.concerns.held() == ()
    assert world.said == ["ledger.damaged", "ledger.verified"]


def test_a_ledger_that_cannot_be_opened_is_tried_again_soon(world):
    """It is no sound ledger and no changed one: the next look asks again."""
    world.error = LedgerError("it is busy")
    world.verifier.verify_when_due()
    assert (world.said, world.concerns.held()) == (["ledger.unavailable"], ())
    world.error = None
    world.verifier.verify_when_due()
    assert world.said == ["ledger.unavailable", "ledger.verified"]
