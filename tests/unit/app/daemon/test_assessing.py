"""How everything stands, from a real ledger and from memory, and who is told."""

from datetime import UTC, timedelta
from pathlib import Path

import pytest

from doubles.clock import FakeClock
from doubles.ledgers import recovery_point
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.locations import Locations
from drkeeper.app.daemon.assessing import LOOK_EVERY, Assessor, Rounder
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.errors import LedgerError
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.lateness import GRACE
from drkeeper.model.policy import FilesSource, Objectives, Policy

HERE = Subject("daemon", "here")
HOUR = timedelta(hours=1)
SHOP = Policy(
    "shop", FilesSource(("/srv",)), "primary", "UTC", UTC, objectives=Objectives(rpo=2 * HOUR)
)


class Courier:
    """Notes whom it is to tell what."""

    def __init__(self):
        self.seen = []
        self.unrecorded = []

    def tick(self, overview):
        self.seen.append({alarm.condition.kind for alarm in overview.alarms})

    def tell_unrecorded(self, conditions):
        self.unrecorded.append({condition.kind for condition in conditions})


class World:
    """A ledger with one recovery point, and those who look at it."""

    def __init__(self, folder):
        self.clock = FakeClock()
        self.place = folder / "ledger.sqlite"
        self.concerns = Concerns(self.clock)
        self.error = None
        self.said = []
        self.courier = Courier()
        places = Locations(*[Path("/nonexistent")] * 3, folder, folder, chosen_by="a test")
        configuration = Configuration(places, "here", "UTC", policies={"shop": SHOP})
        self.point()
        self.books = Books("look", self.open, concerns=self.concerns, daemon=HERE, clock=self.clock)
        self.assessor = Assessor(
            configuration=lambda: configuration,
            books=self.books,
            concerns=self.concerns.held,
            reachable=dict,
            since_start=dict,
            verified_at=self.clock.now,
            clock=self.clock,
        )
        self.rounder = Rounder(
            assessor=self.assessor,
            books=self.books,
            courier=self.courier,
            mine=lambda _subject: True,
            clock=self.clock,
            log=lambda event, **fields: self.said.append((event, fields.get("kind"))),
        )

    def open(self):
        if self.error is not None:
            raise self.error
        return open_run_ledger(self.place, host="here", clock=self.clock)

    def point(self, number=1):
        now = self.clock.now()
        with open_run_ledger(self.place, host="here", clock=self.clock) as ledger:
            ledger.record_recovery_point(
                recovery_point(number, policy="shop", consistent_at=now, finished_at=now)
            )

    def kinds(self):
        return {alarm.condition.kind for alarm in self.rounder.look().alarms}


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path)
    yield found
    found.books.close()


def test_what_is_overdue_is_noticed_within_a_minute():
    """A look comes soon enough after the time within which a run may begin."""
    assert timedelta(minutes=1) > GRACE + LOOK_EVERY


def test_an_alarm_is_raised_and_cleared_once(world):
    """However often it is looked at; the courier and the log learn of both."""
    assert AlarmKind.RPO_VIOLATED not in world.kinds()
    world.clock.advance(3 * HOUR)
    for _ in range(3):
        assert AlarmKind.RPO_VIOLATED in world.kinds()
    world.point(2)
    for _ in range(3):
        assert AlarmKind.RPO_VIOLATED not in world.kinds()
    told = [event for event, kind in world.said if kind == "rpo-violated"]
    assert told == ["alarm.raised", "alarm.cleared"]
    assert [AlarmKind.RPO_VIOLATED in each for each in world.courier.seen] == (
        [False] + [True] * 3 + [False] * 3
    )


def test_a_clock_that_is_set_back_makes_no_point_younger(world):
    """Its age is measured by a clock that nobody sets, from when it was first seen."""
    assert AlarmKind.RPO_VIOLATED not in world.kinds()
    world.clock.jump(-30 * 24 * HOUR)
    world.clock.advance(2 * HOUR)
    assert AlarmKind.RPO_VIOLATED in world.kinds()


def test_without_its_ledger_it_judges_from_memory(world):
    """Time goes on: what becomes overdue is told, and so is the ledger; nothing is raised."""
    world.kinds()
    world.books.close()
    world.error = LedgerError("it is damaged")
    world.clock.advance(3 * HOUR)
    world.rounder.look()
    (told,) = world.courier.unrecorded
    assert {AlarmKind.RPO_VIOLATED, AlarmKind.LEDGER_TROUBLE} <= told
    assert ("alarms.kept_in_memory", None) in world.said
    world.error = None
    assert AlarmKind.RPO_VIOLATED in world.kinds()
    assert AlarmKind.LEDGER_TROUBLE not in world.kinds()


def test_what_the_daemon_finds_wrong_is_an_alarm(world):
    """It stands beside what the ledger says, and goes with its reason."""
    world.concerns.hold(
        Condition(AlarmKind.CLOCK_JUMPED, HERE, "it was set", "Find out.", world.clock.now())
    )
    assert AlarmKind.CLOCK_JUMPED in world.kinds()
    world.concerns.drop(AlarmKind.CLOCK_JUMPED)
    assert AlarmKind.CLOCK_JUMPED not in world.kinds()


def test_what_is_at_stake_is_known_without_asking_anybody(world):
    """For the watchdog, when everything else hangs: from memory, at any instant."""
    world.kinds()
    world.error = LedgerError("it hangs")
    assert list(world.assessor.stakes(world.clock.now())) == []
    (condition,) = world.assessor.stakes(world.clock.now() + 3 * HOUR)
    assert condition.kind is AlarmKind.RPO_VIOLATED
    assert condition.subject == Subject("policy", "shop")


def test_incidents_follow_what_is_seen(world):
    """A violated RPO is an incident from the instant it was true until there was a new point."""
    world.kinds()
    began = world.clock.now() + 2 * HOUR
    world.clock.advance(3 * HOUR)
    for _ in range(2):
        world.kinds()
    with open_run_ledger(world.place, host="here", clock=world.clock) as ledger:
        (incident,) = ledger.open_incidents()
        assert abs(incident.began_at - began) < timedelta(seconds=1)
        (alarm,) = [a for a in ledger.open_alarms() if a.condition.kind is AlarmKind.RPO_VIOLATED]
        assert incident.alarm == alarm.id
    world.point(2)
    for _ in range(2):
        world.kinds()
    with open_run_ledger(world.place, host="here", clock=world.clock) as ledger:
        assert ledger.open_incidents() == []
        (incident,) = ledger.incidents()
        assert abs(incident.worst - 3 * HOUR) < timedelta(seconds=1)
    said = [event for event, _ in world.said if event.startswith("incident.")]
    assert said == ["incident.opened", "incident.closed"]
