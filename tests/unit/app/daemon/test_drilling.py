"""The daemon's drills: when one begins, and when none does."""

import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from doubles.clock import FakeClock
from doubles.drilling import plan
from doubles.ledgers import ledger_at, recovery_point
from drkeeper.app.daemon.drilling import Driller, Due
from drkeeper.errors import LedgerBusyError
from drkeeper.model.drill import DrillKind
from drkeeper.model.drill_schedule import default_bare_schedule, default_schedule
from drkeeper.model.policy import FilesSource, Policy
from drkeeper.model.probes import DrillTerms

SATURDAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class World:
    """A driller with a real ledger and a real, short process for each drill."""

    def __init__(self, path, *, program="pass"):
        self.clock = FakeClock(SATURDAY)
        self.path = path / "ledger.sqlite"
        self.policies = {
            name: Policy(
                name,
                FilesSource(("/a",)),
                "primary",
                "UTC",
                UTC,
                drill=DrillTerms(schedule=default_schedule()),
            )
            for name in ("home", "shop")
        }
        self.bare = {}
        self.busy = self.broken = False
        self.begun, self.ended, self.told = [], [], []
        self.program = program
        self.driller = Driller(
            self.start,
            policies=lambda: self.policies,
            bare=lambda: self.bare,
            books=self,
            is_idle=lambda: not self.busy,
            on_end=lambda: self.ended.append(self.clock.now()),
            clock=self.clock,
            log=lambda event, **fields: self.told.append((event, fields)),
        )
        with self.opened() as ledger:
            ledger.see_policies(dict.fromkeys(self.policies, "0" * 32))

    @contextmanager
    def opened(self):
        if self.broken:
            raise LedgerBusyError("somebody keeps it")
        with ledger_at(self.path, clock=self.clock) as ledger:
            yield ledger

    def start(self, due):
        self.begun.append(due.policy if due.kit is None else due)
        kind = DrillKind.RESTORE if due.kit is None else DrillKind.BARE
        with self.opened() as ledger:
            ledger.plan_drill(plan(policy=due.policy, kind=kind))
        return subprocess.Popen(
            [sys.executable, "-c", self.program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def has_point(self, name):
        with self.opened() as ledger:
            ledger.record_recovery_point(
                recovery_point(
                    len(ledger.newest_points()) + 1, policy=name, consistent_at=self.clock.now()
                )
            )


@pytest.fixture
def world(tmp_path):
    """Return a world in which both policies have a recovery point."""
    made = World(tmp_path)
    for name in made.policies:
        made.has_point(name)
    return made


def test_what_is_due_is_drilled_once_and_one_by_one(world):
    """Nothing before the slot; then one after the other, and nothing more until the next slot."""
    world.driller.look()
    assert world.begun == []
    world.clock.advance(DAY)
    for _ in range(4):
        world.driller.look()
        world.clock.advance(timedelta(minutes=1))
    assert sorted(world.begun) == ["home", "shop"]
    assert len(world.ended) == 2
    world.clock.advance(7 * DAY)
    world.driller.look()
    assert len(world.begun) == 3


def test_a_bare_drill_has_a_schedule_of_its_own(world):
    """Once a quarter, with the kit that the policy names; a weekly drill does not stand in for it."""
    terms = DrillTerms(schedule=None, bare=default_bare_schedule(), kit="/safe/kit.txt")
    world.bare = {"home": replace(world.policies["home"], drill=terms)}
    for days, bare in ((10, 0), (40, 1), (8, 1), (90, 2)):  # to December, January, January, April
        world.clock.advance(days * DAY)
        for _ in range(4):
            world.driller.look()
        found = [each for each in world.begun if isinstance(each, Due)]
        assert found == [Due("home", "/safe/kit.txt")] * bare
    assert len(world.begun) - len(found) == 2 * 4


def test_backups_come_first(world):
    """While a backup waits or runs, no drill begins."""
    world.clock.advance(DAY)
    world.busy = True
    world.driller.look()
    assert world.begun == []
    world.busy = False
    world.driller.look()
    assert len(world.begun) == 1


def test_what_cannot_be_drilled_is_left_alone(tmp_path):
    """Without a recovery point, without a ledger, without a policy: nothing begins, nothing breaks."""
    world = World(tmp_path)
    world.clock.advance(DAY)
    world.driller.look()
    world.broken = True
    world.driller.look()
    world.broken = False
    world.policies.clear()
    world.driller.look()
    assert world.begun == []


def test_a_drill_that_does_not_start_waits_for_its_next_slot(world):
    """It is said in the log, and not tried again every minute."""

    def refuse(due):
        world.begun.append(due.policy)
        raise OSError("no process")

    world.driller._start = refuse
    world.clock.advance(DAY)
    for _ in range(4):
        world.driller.look()
    assert sorted(world.begun) == ["home", "shop"]
    assert [event for event, _ in world.told] == ["drill.unstarted"] * 2


def test_a_drill_that_goes_on_is_ended_with_the_daemon(tmp_path):
    """It gets SIGTERM, by which it records its own end."""
    world = World(tmp_path, program="import time; time.sleep(60)")
    world.has_point("home")
    world.clock.advance(DAY)
    looking = threading.Thread(target=world.driller.look)
    looking.start()
    while world.driller._child is None:
        time.sleep(0.01)
    world.driller.end(timedelta(seconds=10))
    looking.join(10)
    assert not looking.is_alive()
    assert world.told[-1] == ("drill.ended", {"policy": "home", "kind": "restore", "code": -15})
