"""A store is away for a day, in simulated time: the parts of the daemon over a real repository."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest

from doubles.clock import FakeClock
from doubles.daemons import configure, wait_for
from doubles.installation import Installation
from doubles.receivers import HttpReceiver
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.locations import find_locations
from drkeeper.app.daemon.assessing import Assessor, Rounder
from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.tick import Starts, Tick
from drkeeper.app.wiring.backups import BackupChoices, Voice, run_backup
from drkeeper.app.wiring.channels import Courier
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.errors import DrkeeperError
from drkeeper.model.alarm import AlarmKind, Subject
from drkeeper.model.run import RunState

STEP = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
BACK_OFF = [timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60)]
"""Source: docs/runs.md."""


class World:
    """The parts that decide, run, look and tell, with a clock that the test moves."""

    def __init__(self, made: Installation, url: str):
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self.clock = FakeClock(hour + timedelta(minutes=55))
        self.made = made
        variables = {**made.environment(), "DRKEEPER_NOTIFY_OPS_URL": url}
        self.configuration = load_configuration(
            find_locations(variables), variables=variables, clock=self.clock
        )
        self.concerns, self.starts = Concerns(self.clock), Starts(self.clock)
        daemon = Subject("daemon", "here")
        self.books = Books(
            "all", self.ledger, concerns=self.concerns, daemon=daemon, clock=self.clock
        )
        self.tick = Tick(
            configuration=lambda: self.configuration,
            books=self.books,
            executor=self,
            starts=self.starts,
            clock=self.clock,
            shared=False,
            log=lambda _event, **_fields: None,
        )
        self.courier = Courier(self.configuration, open_ledger=self.ledger, clock=self.clock)
        assessor = Assessor(
            configuration=lambda: self.configuration,
            books=self.books,
            concerns=self.concerns.held,
            reachable=lambda: {"primary": (made.store.exists(), self.clock.now())},
            since_start=self.starts.passed,
            verified_at=self.clock.now,
            clock=self.clock,
        )
        self.rounder = Rounder(
            assessor=assessor,
            books=self.books,
            courier=self.courier,
            mine=lambda _subject: True,
            clock=self.clock,
            log=lambda _event, **_fields: None,
        )

    def ledger(self):
        place = self.configuration.locations.ledger
        return open_run_ledger(place, host="here", clock=self.clock)

    def running(self):
        return {}

    def start(self, policy, run, *, again=False):
        """Run it here and now, as the child of an executor does."""
        del again
        voice = Voice(*[lambda *_: None] * 3)
        choices = BackupChoices({}, run=run)
        try:
            run_backup(
                policy, self.configuration, choices, clock=self.clock, passphrase=None, voice=voice
            )
        except DrkeeperError:
            pass  # the ledger has it
        finally:
            self.starts.began(policy.name, timedelta())

    def live(self, for_: timedelta):
        """Tick and look each minute."""
        until = self.clock.now() + for_
        while self.clock.now() < until:
            self.tick()
            self.rounder.look()
            boxes = self.courier._wiring.boxes.values()
            wait_for(lambda boxes=boxes: all(box.empty for box in boxes), "all to be told")
            self.clock.advance(STEP)


@pytest.fixture
def made(tmp_path):
    found = Installation(tmp_path).init()
    configure(found, "notify: {ops: {webhook: {}, remind_every: 6h}}\n")
    (found.etc / "policies.d" / "files.yaml").unlink()
    for name, promise in (("home", "schedule: hourly"), ("mail", "objectives: {rpo: 4h}")):
        found.policy(
            name,
            f"policy: {name}\nsource: {{files: {{paths: [{found.source}]}}}}\n"
            f"{promise}\nrepository: primary\ntime_zone: UTC\n",
        )
    return found


def attempts_follow(runs, most):
    """The pauses between attempts at one thing grow as they should."""
    for before, after, least in zip(runs, runs[1:], [*BACK_OFF, *[most] * 99], strict=False):
        pause = after.started_at - before.ended_at
        assert min(least, most) <= pause <= min(least, most) + 2 * STEP, (before, after)


def each_was_told(alarms, bodies):
    """Each thing was one alarm, told when it began and was over, with its reminders in between."""
    kinds = Counter((alarm.condition.kind, alarm.condition.subject.name) for alarm in alarms)
    assert set(kinds.values()) == {1}, kinds
    assert kinds[AlarmKind.STORAGE_UNREACHABLE, "primary"] == 1
    assert kinds[AlarmKind.RPO_VIOLATED, "mail"] == 1
    assert kinds[AlarmKind.FAILING, "home"] == 1
    told = Counter(
        kind
        for body in bodies
        for kind in ("entered", "reminder", "left")
        if f"drkeeper.{kind}" in body
    )
    assert told["entered"] == told["left"] == len(alarms)
    reminders = sum((alarm.cleared_at - alarm.raised_at) // (6 * HOUR) for alarm in alarms)
    assert reminders - len(alarms) <= told["reminder"] <= reminders
    print(dict(kinds), told)


@pytest.mark.slow
def test_a_store_that_is_away_for_a_day_is_told_once_and_made_up_for_once(made):
    """Attempts keep their pauses, each alarm is one with its reminders, one run makes good a day."""
    with HttpReceiver() as ops:
        world = World(made, ops.url)
        world.courier.start()
        world.live(2 * HOUR)
        with world.ledger() as ledger:
            assert {run.state for run in ledger.runs()} == {RunState.SUCCEEDED}
            assert ledger.open_alarms() == []
        away = made.store.rename(made.home / "away")
        gone_at = world.clock.now()
        world.live(DAY)
        back_at = world.clock.now()
        away.rename(made.store)
        world.live(3 * HOUR)
        assert world.courier.stop(timedelta(seconds=5))
        world.books.close()
    with world.ledger() as ledger:
        assert ledger.verify().ok
        assert ledger.open_alarms() == []
        alarms = ledger.alarms(limit=1000)
        runs = {name: ledger.runs(name, limit=1000)[::-1] for name in ("home", "mail")}
    failed = {
        name: [run for run in found if run.state is RunState.FAILED] for name, found in runs.items()
    }
    assert all(gone_at <= run.started_at < back_at for each in failed.values() for run in each)
    for _, slot in groupby(
        failed["home"], key=lambda run: run.started_at.replace(minute=0, second=0, microsecond=0)
    ):
        attempts_follow(list(slot), HOUR)
    attempts_follow(failed["mail"], HOUR)
    good = {
        name: [run for run in found if run.state is RunState.SUCCEEDED]
        for name, found in runs.items()
    }
    for name, found in good.items():
        after = [run for run in found if run.started_at >= back_at]
        assert after[0].started_at - back_at <= HOUR + 2 * STEP, name
    hours = Counter(
        run.started_at.replace(minute=0, second=0, microsecond=0) for run in good["home"]
    )
    assert set(hours.values()) == {1}
    assert len([run for run in good["mail"] if run.started_at >= back_at]) == 1
    assert not any(run.state.ended is False for each in runs.values() for run in each)
    each_was_told(alarms, [each.body.decode() for each in ops.requests])
    print({name: len(each) for name, each in failed.items()})
