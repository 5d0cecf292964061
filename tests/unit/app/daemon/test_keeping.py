"""The daemon has the ledger stored: when it is time, once, and says when it cannot for long."""

import subprocess
import sys
from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from doubles.drilling import AT, end, plan
from doubles.ledgers import recovery_point
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.keeping import EVERY, LOOK_EVERY, TOLERATED, Answer, Keeper, answers_of
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.model.alarm import AlarmKind, Subject

HERE = Subject("daemon", "here")
GOOD = '{{"message_type":"item","repository":"primary","size":{size},"code":0,"error":null}}'
BAD = '{{"message_type":"item","repository":"primary","size":null,"code":{code},"error":"no"}}'


class World:
    """A ledger, and a process that answers what the test says."""

    def __init__(self, folder):
        self.clock = FakeClock()
        self.place = folder / "ledger.sqlite"
        self.concerns = Concerns(self.clock)
        self.asked = []
        self.answer = None
        self.said = []
        self.number = 0
        self.books = Books(
            "store", self.open, concerns=self.concerns, daemon=HERE, clock=self.clock
        )
        self.keeper = Keeper(
            self.start,
            repositories=lambda: {"primary"},
            books=self.books,
            concerns=self.concerns,
            clock=self.clock,
            log=lambda event, **_fields: self.said.append(event),
        )
        self.happen()

    def open(self):
        return open_run_ledger(self.place, host="here", clock=self.clock)

    def happen(self):
        self.number += 1
        with self.open() as ledger:
            ledger.record_recovery_point(recovery_point(self.number))

    def size(self):
        with self.open() as ledger:
            return ledger.last_event().seq

    def start(self, names):
        self.asked.append(list(names))
        line = self.answer if self.answer is not None else GOOD.format(size=self.size())
        return subprocess.Popen(
            [sys.executable, "-S", "-c", f"print({line!r})"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def pass_time(self, span):
        self.clock.advance(span)
        self.keeper.look()

    def held(self):
        return [each for each in self.concerns.held() if each.kind is AlarmKind.LEDGER_UNSTORED]


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path)
    yield found
    found.books.close()


def test_it_is_stored_every_quarter_of_an_hour_when_there_is_something_new(world):
    """Soon after the start, then not more often than that, and never for nothing."""
    world.keeper.look()
    assert not world.asked
    world.pass_time(LOOK_EVERY)
    assert world.asked == [["primary"]]
    world.pass_time(3 * EVERY)
    assert len(world.asked) == 1
    world.happen()
    world.pass_time(LOOK_EVERY)
    assert len(world.asked) == 2
    world.happen()
    world.pass_time(LOOK_EVERY)
    assert len(world.asked) == 2
    world.pass_time(EVERY)
    assert len(world.asked) == 3


def test_a_drill_is_stored_at_once(world):
    """Its result leaves the machine before anybody can wish it had been another."""
    world.pass_time(LOOK_EVERY)
    with world.open() as ledger:
        planned = ledger.plan_drill(plan())
        ledger.declare_drill(planned.id, AT)
    world.pass_time(LOOK_EVERY)
    assert len(world.asked) == 1
    with world.open() as ledger:
        ledger.end_drill(planned.id, end(ended_at=AT))
    world.pass_time(LOOK_EVERY)
    assert len(world.asked) == 2


def test_what_cannot_be_stored_for_long_is_an_alarm(world):
    """Not the first refusal, which a store that is away explains; and over when it is stored."""
    world.answer = BAD.format(code=17)
    world.pass_time(EVERY)
    assert not world.held()
    while not world.held():
        world.pass_time(EVERY)
        assert len(world.asked) * EVERY <= TOLERATED + 2 * EVERY
    (condition,) = world.held()
    assert condition.subject == Subject("repository", "primary")
    assert world.clock.now() - condition.since >= TOLERATED
    world.answer = None
    world.pass_time(EVERY)
    assert not world.held()
    assert world.said[-1] == "ledger.stored"


def test_another_history_is_an_alarm_at_once(world):
    """Either the ledger was exchanged, or what is stored."""
    world.answer = BAD.format(code=20)
    world.pass_time(EVERY)
    (condition,) = world.held()
    assert "is not the beginning of it" in condition.message


def test_a_process_that_says_nothing_is_a_failure_like_another(world):
    """It is tried again at its time, and told when it lasts."""
    world.answer = "Traceback"
    world.pass_time(EVERY)
    assert world.said == ["ledger.unstored"]
    world.pass_time(LOOK_EVERY)
    assert len(world.asked) == 1
    world.pass_time(TOLERATED)
    assert world.held()


def test_answers_are_read_whatever_is_between_them():
    """Half a line, another's words, a wrong type: what is no answer is left out."""
    noise = '\n[]\n{"message_type":"item","repository":7,"size":1,"code":0}\n' + "[" * 9000 + "\n{"
    lines = GOOD.format(size=7) + "\n" + BAD.format(code=17).replace("primary", "other") + noise
    assert answers_of(lines.encode() + b"\xff\n") == {
        "primary": Answer(7),
        "other": Answer(None, 17, "no"),
    }


def test_ending_gives_up_what_goes_on(world):
    """The daemon does not wait for a store that hangs."""
    world.keeper.begin()
    world.keeper.end()
    assert timedelta() < LOOK_EVERY
