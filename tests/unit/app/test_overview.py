"""One screen from a real ledger and a real configuration."""

import dataclasses
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import event

from doubles.clock import FakeClock
from doubles.ledgers import recovery_point, verification
from doubles.stories import DAY, HOUR, MINUTE, at
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.locations import find_locations
from drkeeper.app.wiring.overview import (
    all_conditions,
    known_policies,
    overview,
    overview_of,
    read_overview,
)
from drkeeper.app.wiring.planning import plan
from drkeeper.app.wiring.remembering import OF_FAILING, RECENT, remember
from drkeeper.ledger.ledger import open_ledger
from drkeeper.ledger.process import this_process
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.foresight import foresee
from drkeeper.model.run import Operation, Process, RunFailure, RunState
from drkeeper.model.status import PolicyState

BEGIN = at("2026-11-20T12:00")
STORE_GONE = RunFailure("StorageUnavailableError", "no answer from the store", 17)
SOURCE_GONE = RunFailure("SourceError", "cannot read /srv", 18)


class World:
    """An installation, its ledger and its clock."""

    def __init__(self, home: Path) -> None:
        self.clock = FakeClock(BEGIN)
        self.home = home
        (home / "policies.d").mkdir()
        (home / "drkeeper.yaml").write_text(
            "host: keeper\nrepositories:\n  primary: {store: /srv/store}\n"
        )
        self.policy("home", "schedule: hourly\nobjectives: {rpo: 3h}\n")
        self.me = this_process("keeper")
        self.ledger = open_ledger(home / "ledger.sqlite", clock=self.clock, me=lambda: self.me)

    def policy(self, name, more=""):
        """Write a policy."""
        text = f"policy: {name}\nsource: {{files: {{paths: [/srv]}}}}\nrepository: primary\n{more}"
        (self.home / "policies.d" / f"{name}.yaml").write_text(text)

    @property
    def configuration(self):
        """What the files say now."""
        variables = {"DRKEEPER_STATE_DIR": str(self.home)}
        locations = find_locations(variables, config=str(self.home))
        return load_configuration(locations, variables={})

    def see(self):
        """Let the ledger see the policies."""
        self.ledger.see_policies(self.configuration.definitions())

    def run(self, name="home", failure=None, number=1):
        """Run a policy, for five minutes."""
        run = self.ledger.begin_run(name, Operation.BACKUP)
        began = self.clock.now()
        self.clock.advance(5 * MINUTE)
        if failure is not None:
            self.ledger.end_run(run, RunState.FAILED, failure=failure)
            return
        made = recovery_point(
            number, policy=name, run=run, consistent_at=began, finished_at=self.clock.now()
        )
        result = {"files": 100, "plain_bytes": 10_000_000}
        self.ledger.end_run(run, RunState.SUCCEEDED, result=result, made=[made])

    def look(self, **more):
        """Say how everything stands now."""
        return overview(self.configuration, self.ledger, self.clock, **more)


@pytest.fixture
def world(tmp_path):
    """Return an installation whose policy was seen and has run once."""
    made = World(tmp_path)
    made.see()
    made.run()
    yield made
    made.ledger.close()


def kinds(seen):
    """Return the kinds of all that is wrong."""
    return [condition.kind.value for condition in all_conditions(seen)]


def test_a_policy_that_runs_as_it_should_is_ok(world):
    """State, times and figures come from the ledger, the promise from the configuration."""
    seen = world.look()
    (home,) = seen.policies
    assert home.state is PolicyState.OK
    assert home.points.durable == BEGIN
    assert home.next_due == at("2026-11-20T13:00")
    assert home.rpo_target == 3 * HOUR
    assert kinds(seen) == []
    assert (seen.host, seen.daemon_alive, seen.queue_depth) == ("keeper", False, 0)


def test_what_is_wrong_is_found_in_the_ledger(world):
    """Hours later: overdue, and more at stake than is promised."""
    world.clock.advance(4 * HOUR)
    assert kinds(world.look()) == ["rpo-violated", "overdue"]


def test_a_policy_that_has_failed_for_long_still_knows_its_last_success(world):
    """It is not among the newest runs, and is asked for; the failures are counted."""
    for _ in range(RECENT + 3):
        world.run(failure=SOURCE_GONE)
    (home,) = world.look().policies
    assert home.last_success.started_at == BEGIN
    assert f"failed {RECENT + 3} times" in home.conditions[0].message
    for _ in range(OF_FAILING):
        world.run(failure=SOURCE_GONE)
    (home,) = world.look().policies
    assert home.last_success.started_at == BEGIN


def test_restores_do_not_hide_the_backups(world):
    """Who restores file after file makes no policy overdue, in a status or in a plan."""
    for _ in range(OF_FAILING + RECENT):
        run = world.ledger.begin_run("home", Operation.RESTORE)
        world.ledger.end_run(run, RunState.SUCCEEDED)
    seen = world.look()
    assert kinds(seen) == []
    assert seen.policies[0].last_success.started_at == BEGIN
    decision = plan(world.configuration, world.ledger, world.clock.now())["home"]
    assert decision.slot is None


def test_queued_and_running_runs_show(world):
    """How many wait for room; what runs, with a lease that says whether it moves."""
    world.clock.advance(HOUR)
    run = world.ledger.queue_run("home", Operation.BACKUP)
    seen = world.look()
    assert (seen.queue_depth, seen.policies[0].state) == (1, PolicyState.QUEUED)
    assert world.ledger.claim_run(run, lease=MINUTE)
    assert world.look().policies[0].state is PolicyState.RUNNING
    world.clock.advance(20 * MINUTE)
    world.ledger.renew_lease(run, lease=MINUTE, progress={})
    assert "capture-stalled" in kinds(world.look())
    world.ledger.renew_lease(run, lease=MINUTE, progress={"files": 1})
    assert "capture-stalled" not in kinds(world.look())


def test_a_repository_is_stale_until_it_is_checked(world):
    """Its own name is learnt from what was made in it; other repositories' checks do not count."""
    world.clock.advance(36 * DAY)
    assert "verifier-stale" in kinds(world.look())
    now = world.clock.now()
    world.ledger.record_verification(verification(repository="abcdef", checked_at=now))
    assert "verifier-stale" in kinds(world.look())
    world.ledger.record_verification(verification(repository="c0ffee", checked_at=now))
    seen = world.look()
    assert "verifier-stale" not in kinds(seen)
    assert seen.repositories[0].checked_at == now


def test_a_store_that_refuses_runs_or_does_not_answer(world):
    """By the newest run of any policy that asked it, or by who asks it now."""
    world.run(failure=STORE_GONE)
    assert "storage-unreachable" in kinds(world.look())
    world.policy("other", "schedule: hourly\n")
    world.see()
    world.run("other", number=2)
    assert "storage-unreachable" not in kinds(world.look())
    gone = {"primary": (False, world.clock.now())}
    assert "storage-unreachable" in kinds(world.look(reachable=gone))


def test_what_the_caller_knows_is_shown_with_what_it_is_about(world):
    """Conditions of policies and repositories beside them, others by themselves."""
    extra = [
        Condition(kind, Subject(*subject), "it", "Do.", BEGIN)
        for kind, subject in (
            (AlarmKind.CLOCK_JUMPED, ("daemon", "keeper")),
            (AlarmKind.FAILING, ("policy", "home")),
            (AlarmKind.STORAGE_UNREACHABLE, ("repository", "primary")),
        )
    ]
    seen = world.look(extra=extra)
    assert list(seen.policies[0].conditions) == [extra[1]]
    assert list(seen.repositories[0].conditions) == [extra[2]]
    assert list(seen.conditions) == [extra[0]]
    assert len(all_conditions(seen)) == 3


def test_a_daemon_that_lives_shows(world):
    """By its beat and, on this host, by its process; a stuck one is a condition."""
    world.ledger.beat("1.0", BEGIN)
    assert world.look().daemon_alive
    world.clock.advance(3 * MINUTE)
    seen = world.look()
    assert not seen.daemon_alive
    assert kinds(seen) == ["scheduler-stalled"]
    world.ledger.beat("1.0", BEGIN)
    world.me = Process("keeper", "another boot", os.getpid(), "1")
    world.ledger.beat("1.0", BEGIN)
    assert world.look().daemon_alive  # the first one still does
    dead = replace(this_process("keeper"), boot_id="an earlier boot", started="1")
    world.clock.advance(3 * MINUTE)
    world.me = dead
    world.ledger.beat("1.0", BEGIN)
    assert not world.look().daemon_alive
    world.me = Process("elsewhere", "boot", 1)
    world.ledger.beat("1.0", BEGIN)
    assert world.look().daemon_alive


def test_open_alarms_show_until_they_are_cleared(world):
    """As the ledger has them."""
    condition = Condition(AlarmKind.OVERDUE, Subject("policy", "home"), "it", "Do.", BEGIN)
    alarm = world.ledger.raise_alarm(condition)
    assert [each.id for each in world.look().alarms] == [alarm.id]
    world.ledger.clear_alarm(alarm.id)
    assert world.look().alarms == ()


def test_without_a_ledger_nothing_has_happened(tmp_path):
    """The first look at a new installation is no error."""
    (tmp_path / "new").mkdir()
    fresh = World(tmp_path / "new")
    fresh.ledger.close()
    (fresh.home / "ledger.sqlite").unlink()
    seen = read_overview(fresh.configuration, fresh.clock)
    assert [status.state for status in seen.policies] == [PolicyState.WAITING]
    assert kinds(seen) == []
    assert not (fresh.home / "ledger.sqlite").exists()


def test_a_damaged_ledger_is_said_and_nothing_is_made_up(world):
    """No policy is called well, or ill, of which nothing is known."""
    (world.home / "ledger.sqlite").write_bytes(b"not a ledger at all" * 100)
    seen = read_overview(world.configuration, world.clock)
    assert kinds(seen) == ["ledger-trouble"]
    assert seen.policies == ()
    assert "drkeeper ledger verify" in seen.conditions[0].hint


def test_the_number_of_queries_does_not_grow_with_the_policies(world):
    """A thousand policies are read as ten are."""
    asked = []
    event.listen(
        world.ledger._engine, "before_cursor_execute", lambda *given: asked.append(given[2])
    )
    remember(world.ledger)
    before = len(asked)
    for number in range(20):
        world.policy(f"p{number}", "schedule: hourly\n")
        world.run(f"p{number}", number=number + 10)
    asked.clear()
    remember(world.ledger)
    assert len(asked) == before


def test_the_future_goes_on_from_what_happened(world):
    """The next runs and their RPO rest on the newest point and on how long runs took."""
    world.run(number=2)
    known = known_policies(world.configuration, world.clock)["home"]
    foreseen = foresee(known, known.now + DAY)
    assert foreseen.duration == 5 * MINUTE
    assert foreseen.runs[0].began == at("2026-11-20T13:00")
    assert len(foreseen.runs) == 24
    assert foreseen.achieved.worst == HOUR + 5 * MINUTE
    assert foreseen.keeps_promise
    assert foreseen.achieved.at <= known.now + timedelta(hours=2)


def test_a_thousand_policies_are_judged_in_a_third_of_a_second(world):
    """What is read is judged as fast: 1,000 policies with five runs each."""
    for number in range(1000):
        schedule = ("hourly at :%02d", "daily at 02:%02d", "weekly on sun at 03:%02d")[number % 3]
        world.policy(f"p{number:04}", f"schedule: {schedule % (number % 60)}\n")
    configuration, seen = world.configuration, remember(world.ledger)
    for name in configuration.policies:
        seen.runs[name] = [replace(run, policy=name) for run in seen.runs["home"]] * RECENT
        seen.points = {**seen.points, name: seen.points["home"]}
    took = []
    for _ in range(3):
        begun = time.process_time()
        judged = overview_of(configuration, seen, world.clock.now())
        took.append(time.process_time() - begun)
    assert len(judged.policies) == 1001
    assert min(took) < 0.3


def test_a_daemon_of_another_machine_keeps_other_policies(world):
    """On a shared ledger it is no reason to call ours alive, nor to leave alarms to it."""
    world.me = Process("elsewhere", "boot", 1)
    world.ledger.beat("1.0", BEGIN)
    shared = dataclasses.replace(world.configuration, ledger="postgresql://keeper@db/drkeeper")
    seen = overview(shared, world.ledger, world.clock)
    assert not seen.daemon_alive
    assert [beat.process.host for beat in seen.daemons] == ["elsewhere"]
    world.me = this_process("keeper")
    world.ledger.beat("1.0", BEGIN)
    world.me = Process("elsewhere", "boot", 1)
    world.clock.advance(MINUTE / 2)
    world.ledger.beat("1.0", BEGIN)
    seen = overview(shared, world.ledger, world.clock)
    assert seen.daemon_alive
    assert [beat.process.host for beat in seen.daemons] == ["keeper", "elsewhere"]
    assert seen.beat_at == world.clock.now() - MINUTE / 2
