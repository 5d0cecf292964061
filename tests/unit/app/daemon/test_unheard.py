"""A restart says nothing new of a store before the store was asked."""

from datetime import UTC, timedelta
from pathlib import Path

import pytest

from doubles.clock import FakeClock
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.settings import RepositorySettings
from drkeeper.app.daemon.assessing import Assessor, Rounder
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.unheard import WAITS
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.model.alarm import AlarmKind, Subject
from drkeeper.model.assessment import STORAGE_CODE
from drkeeper.model.policy import FilesSource, Policy
from drkeeper.model.run import Operation, RunFailure, RunState

MINUTE = timedelta(minutes=1)
SHOP = Policy("shop", FilesSource(("/srv",)), "primary", "UTC", UTC)


class Courier:
    """Is not asked for anything here."""

    def tick(self, _overview):
        pass

    def tell_unrecorded(self, conditions):
        raise AssertionError(conditions)


class World:
    """A ledger, a store that answers as the test says, and daemons that come and go."""

    def __init__(self, folder):
        self.clock = FakeClock()
        self.place = folder / "ledger.sqlite"
        self.said = []
        self.answers = {}
        self.configuration = Configuration(
            Locations(*[Path("/nonexistent")] * 3, folder, folder, chosen_by="a test"),
            "here",
            "UTC",
            policies={"shop": SHOP},
            repositories={"primary": RepositorySettings("primary", "s3://b/p", Path("/keys"))},
        )
        self.books = Books(
            "look",
            self.open,
            concerns=Concerns(self.clock),
            daemon=Subject("daemon", "here"),
            clock=self.clock,
        )
        self.begin()

    def open(self):
        return open_run_ledger(self.place, host="here", clock=self.clock)

    def begin(self):
        """Begin a daemon, which has asked nobody yet."""
        self.answers = {}
        self.clock.advance(MINUTE)
        assessor = Assessor(
            configuration=lambda: self.configuration,
            books=self.books,
            concerns=tuple,
            reachable=lambda: dict(self.answers),
            since_start=dict,
            verified_at=self.clock.now,
            clock=self.clock,
        )
        self.rounder = Rounder(
            assessor=assessor,
            books=self.books,
            courier=Courier(),
            mine=lambda _subject: True,
            clock=self.clock,
            log=lambda event, **fields: self.said.append((event, fields.get("kind"))),
        )

    def run(self, *, failure=None):
        """Run once, now."""
        with self.open() as ledger:
            run = ledger.begin_run("shop", Operation.BACKUP)
            state = RunState.FAILED if failure else RunState.SUCCEEDED
            ledger.end_run(run, state, failure=failure)

    def answer(self, *, good):
        """Let the store be asked, now."""
        self.clock.advance(MINUTE)
        self.answers = {"primary": (good, self.clock.now())}

    def look(self):
        """Return what is wrong with the store, and what was said of it since the last look."""
        self.clock.advance(MINUTE / 6)
        seen = self.rounder.look()
        (repository,) = seen.repositories
        said = [event for event, kind in self.said if kind == AlarmKind.STORAGE_UNREACHABLE.value]
        self.said.clear()
        wrong = any(each.kind is AlarmKind.STORAGE_UNREACHABLE for each in repository.conditions)
        assert wrong == any(
            alarm.condition.kind is AlarmKind.STORAGE_UNREACHABLE for alarm in seen.alarms
        )
        return wrong, said


STORAGE_FAILURE = RunFailure("StorageUnavailableError", "no answer", STORAGE_CODE)


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path)
    yield found
    found.books.close()


def test_a_failure_that_an_answer_has_refuted_is_not_raised_again(world):
    """The daemon before this one heard of the store after the run; this one has not yet."""
    world.run(failure=STORAGE_FAILURE)
    assert world.look() == (True, ["alarm.raised"])
    world.answer(good=True)
    assert world.look() == (False, ["alarm.cleared"])
    world.begin()
    assert world.look() == (False, [])
    world.answer(good=True)
    assert world.look() == (False, [])


@pytest.mark.parametrize("ran", [False, True])
def test_an_open_alarm_stays_until_the_store_is_asked(world, ran):
    """Whether a run met the trouble or only the question did: no pair of over and again."""
    if ran:
        world.run(failure=STORAGE_FAILURE)
    world.answer(good=False)
    assert world.look() == (True, ["alarm.raised"])
    world.begin()
    for _ in range(2):
        assert world.look() == (True, [])
        world.clock.advance(WAITS)
    world.answer(good=False)
    assert world.look() == (True, [])
    world.begin()
    assert world.look() == (True, [])
    world.answer(good=True)
    assert world.look() == (False, ["alarm.cleared"])


def test_what_fails_while_the_daemon_is_there_is_news(world):
    """A run of its own time accuses the store at once, whoever is being asked."""
    world.begin()
    world.clock.advance(MINUTE / 6)
    world.run(failure=STORAGE_FAILURE)
    assert world.look() == (True, ["alarm.raised"])


def test_nobody_waits_for_ever_for_an_answer(world):
    """When the store cannot even be asked, the last run that needed it has the word."""
    world.run(failure=STORAGE_FAILURE)
    world.begin()
    assert world.look() == (False, [])
    world.clock.advance(WAITS)
    assert world.look() == (True, ["alarm.raised"])
    world.run()
    assert world.look() == (False, ["alarm.cleared"])


def test_a_run_that_ends_well_ends_an_alarm_about_its_store(world):
    """What reached the store knows that it answers."""
    world.answer(good=False)
    assert world.look() == (True, ["alarm.raised"])
    world.begin()
    world.run()
    assert world.look() == (False, ["alarm.cleared"])
