"""Reloading: what was right stays in force until something that is right takes its place."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from doubles.clock import FakeClock
from drkeeper.app.config.accepted import read_accepted
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.environment import run_environment
from drkeeper.app.config.locations import find_locations
from drkeeper.app.config.problems import InvalidFilesError
from drkeeper.app.config.reloading import Reloader, in_force
from drkeeper.errors import ConfigurationError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SETTINGS = """
repositories:
  primary: {store: /backup}
notify:
  ops: {apprise: {}}
"""


class World:
    """An installation in a folder, and a daemon that reloads it."""

    def __init__(self, folder):
        self.folder = folder
        self.settings = folder / "etc" / "drkeeper.yaml"
        self.policies = folder / "etc" / "policies.d"
        self.policies.mkdir(parents=True)
        self.settings.write_text(SETTINGS)
        self.restart()

    def restart(self):
        """Begin anew, as a daemon does after a reboot."""
        variables = {"DRKEEPER_STATE_DIR": str(self.folder / "state")}
        self.locations = find_locations(variables, config=str(self.settings), root=False)
        self.clock = FakeClock(NOW)
        self.reloader = Reloader(self.locations, clock=self.clock, variables=variables)

    def write(self, name, *lines, policy=None):
        """Write a policy with some lines more than it needs."""
        text = f"policy: {policy or name}\nsource: {{files: {{paths: [/{name}]}}}}\n"
        (self.policies / f"{name}.yaml").write_text(text + "".join(f"{line}\n" for line in lines))

    def schedules(self):
        """Reload, and return the schedule of each policy, and the problems."""
        configuration, problems = self.reloader.reload()
        assert configuration.problems == problems
        policies = configuration.policies.values()
        return {policy.name: str(policy.schedule) for policy in policies}, problems


@pytest.fixture
def world(tmp_path):
    """Return an installation with the policies ``a`` and ``b``, reloaded once."""
    world = World(tmp_path)
    world.write("a", "schedule: daily at 01:00")
    world.write("b", "schedule: daily at 02:00", "notify: [ops]")
    assert world.schedules() == ({"a": "daily at 01:00", "b": "daily at 02:00"}, ())
    return world


BOTH = {"a": "daily at 01:00", "b": "daily at 02:00"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"policy: a\nsource: {files",
        b"policy: a\nsource: {files: {paths: [/a]}}\nschedule: dayly\n",
        b"policy: a\nsource: {files: {paths: [/a]}}\njitter: 1h\n",
        b"policy: \xff\n",
        b"x" * 2_000_000,
    ],
    ids=["empty", "half written", "wrong value", "contradiction", "not text", "too large"],
)
def test_a_wrong_policy_keeps_its_last_good_version(world, content):
    """Others take their changes meanwhile; when the file is right again, it takes its own."""
    (world.policies / "a.yaml").write_bytes(content)
    world.write("b", "schedule: daily at 03:00")
    schedules, problems = world.schedules()
    assert schedules == BOTH | {"b": "daily at 03:00"}
    assert {problem.file for problem in problems} == {str(world.policies / "a.yaml")}
    assert world.schedules()[1] == problems
    world.write("a", "schedule: daily at 04:00")
    assert world.schedules() == ({"a": "daily at 04:00", "b": "daily at 03:00"}, ())


def test_an_unreadable_policy_keeps_its_last_good_version(world):
    """Here, because a folder is in its place, which stops even root."""
    (world.policies / "a.yaml").unlink()
    (world.policies / "a.yaml").mkdir()
    schedules, problems = world.schedules()
    assert schedules == BOTH
    assert [problem.file for problem in problems] == [str(world.policies / "a.yaml")]


def test_a_removed_file_removes_its_policy(world):
    """Whoever removes it means it, also while it is wrong."""
    (world.policies / "a.yaml").write_text("policy: [")
    world.schedules()
    (world.policies / "a.yaml").unlink()
    assert world.schedules() == ({"b": "daily at 02:00"}, ())


def test_a_policy_that_gets_another_name_is_another_policy(world):
    """By its key as well as by its file, and both at once."""
    world.write("a", "schedule: daily at 01:00", policy="c")
    assert world.schedules() == ({"c": "daily at 01:00", "b": "daily at 02:00"}, ())
    (world.policies / "a.yaml").rename(world.policies / "z.yaml")
    assert world.schedules() == ({"c": "daily at 01:00", "b": "daily at 02:00"}, ())


def test_a_second_file_does_not_push_out_the_first(world):
    """Although its name comes first: the policy in force stays, and the newcomer is told."""
    world.write("0", "schedule: daily at 05:00", policy="a")
    schedules, problems = world.schedules()
    assert schedules == BOTH
    assert [problem.file for problem in problems] == [str(world.policies / "0.yaml")]
    assert "is in" in problems[0].message


@pytest.mark.parametrize("content", ["repositories: [", "host: /\n", "nonsense: 1\n"])
def test_broken_settings_keep_the_last_good_ones(world, content):
    """Policies take their changes all the same."""
    world.settings.write_text(content)
    world.write("b", "schedule: daily at 03:00")
    schedules, problems = world.schedules()
    assert schedules == BOTH | {"b": "daily at 03:00"}
    assert {problem.file for problem in problems} == {str(world.settings)}


@pytest.mark.parametrize(
    "content",
    [
        "repositories: {other: {store: /backup}}\nnotify: {ops: {apprise: {}}}\n",
        "repositories: {primary: {store: /backup}}\n",
        "",
    ],
    ids=["no repository", "no channel", "nothing"],
)
def test_settings_that_take_from_a_policy_what_it_needs_are_not_taken(world, content):
    """The policy is said to be wrong, with what it lacks, and runs."""
    world.settings.write_text(content)
    configuration, problems = world.reloader.reload()
    assert set(configuration.policies) == {"a", "b"}
    assert set(configuration.repositories) == {"primary"}
    assert any("no repository" in each.message or "no channel" in each.message for each in problems)
    world.settings.write_text(SETTINGS + "time_zone: Europe/Berlin\n")
    assert world.reloader.reload()[0].zone_name == "Europe/Berlin"


def test_settings_that_are_removed_keep_the_last_good_ones(world):
    """As long as policies need them."""
    world.settings.unlink()
    schedules, problems = world.schedules()
    assert schedules == BOTH
    assert problems


def test_a_folder_that_is_gone_takes_no_policy_with_it(world):
    """It is more likely to be unmounted than meant; an empty folder is meant."""
    for path in world.policies.iterdir():
        path.unlink()
    world.policies.rmdir()
    schedules, problems = world.schedules()
    assert schedules == BOTH
    assert "the folder is gone" in problems[0].message
    world.policies.mkdir()
    assert world.schedules() == ({}, ())


def test_a_restart_remembers_what_was_right(world):
    """A reboot with a broken file does not end the promise of its policy."""
    (world.policies / "a.yaml").write_text("policy: [")
    world.restart()
    schedules, problems = world.schedules()
    assert schedules == BOTH
    assert problems
    world.settings.write_text("repositories: [")
    world.restart()
    assert world.schedules()[0] == BOTH


@pytest.mark.parametrize("content", ["", "[]", '{"settings": 1, "policies": []}', "{", "null"])
def test_a_damaged_memory_is_written_anew(world, content):
    """It costs nothing while the files are right."""
    (world.folder / "state" / "accepted.json").write_text(content)
    world.restart()
    assert world.schedules() == (BOTH, ())
    assert len(read_accepted(world.folder / "state" / "accepted.json").policies) == 2


def test_a_restart_remembers_also_where_the_settings_name_the_folder(tmp_path):
    """The copy is where ``state`` says, which is only known when drkeeper.yaml has been read."""
    world = World(tmp_path)
    world.settings.write_text(f"state: {tmp_path}/elsewhere\n{SETTINGS}")
    world.write("a", "schedule: daily at 01:00")
    places = find_locations({"HOME": str(tmp_path)}, config=str(world.settings), root=False)
    first = Reloader(places, clock=world.clock, variables={})
    assert list(first.reload()[0].policies) == ["a"]
    world.write("a", "schedule: dayly")
    second = Reloader(places, clock=world.clock, variables={})
    configuration, problems = second.reload()
    assert list(configuration.policies) == ["a"]
    assert problems


def test_the_memory_of_another_configuration_is_not_believed(world, tmp_path):
    """Two configurations that share a state folder do not lend each other policies."""
    world.settings = tmp_path / "other" / "drkeeper.yaml"
    world.settings.parent.mkdir()
    world.restart()
    assert world.schedules() == ({}, ())


def test_broken_settings_at_the_first_start_are_an_error(tmp_path):
    """There is nothing to fall back to."""
    world = World(tmp_path)
    world.settings.write_text("repositories: [")
    with pytest.raises(InvalidFilesError):
        world.reloader.reload()


def test_a_policy_that_was_never_right_is_left_out(tmp_path):
    """And told, each time."""
    world = World(tmp_path)
    (world.policies / "a.yaml").write_text("policy: [")
    world.write("b")
    for _ in range(2):
        schedules, problems = world.schedules()
        assert set(schedules) == {"b"}
        assert len(problems) == 1


def test_a_run_reads_what_the_daemon_has_accepted(world):
    """And not the file that is being written just now."""
    (world.policies / "a.yaml").write_text("policy: [")
    configuration, _ = world.reloader.reload()
    variables = run_environment(configuration.locations.accepted)
    locations = find_locations(variables, config=str(world.settings), root=False)
    of_run = load_configuration(locations, variables={})
    assert of_run.policies == configuration.policies
    assert of_run.definitions() == configuration.definitions()
    assert not of_run.problems


def test_who_only_looks_sees_what_is_in_force(world):
    """And leaves the copy as it is."""
    kept = (world.folder / "state" / "accepted.json").read_bytes()
    (world.policies / "a.yaml").write_text("policy: [")
    world.write("b", "schedule: daily at 03:00")
    found = in_force(world.locations, clock=FakeClock(NOW))
    assert str(found.policies["a"].schedule) == "daily at 01:00"
    assert str(found.policies["b"].schedule) == "daily at 03:00"
    assert len(found.problems) == 1
    assert (world.folder / "state" / "accepted.json").read_bytes() == kept


def test_a_full_disk_keeps_nothing_from_being_reloaded(world):
    """Runs then read the files themselves, and somebody is told."""
    state = world.folder / "state"
    (state / "accepted.json").unlink()
    os.rmdir(state)
    state.write_text("in the way")
    world.write("b", "schedule: daily at 03:00")
    configuration, problems = world.reloader.reload()
    assert str(configuration.policies["b"].schedule) == "daily at 03:00"
    assert configuration.locations.accepted is None
    assert "runs read the files themselves" in problems[0].message


def test_a_pause_that_was_right_stays_right(world):
    """Time that passes brings its end nearer, and never makes a file wrong."""
    end = NOW + timedelta(days=366)
    world.write("a", f"pause: {{until: '{end:%Y-%m-%dT%H:%M:%SZ}'}}")
    assert world.reloader.reload()[0].policies["a"].pause.until == end
    world.write("a", f"pause: {{until: '{end:%Y-%m-%dT%H:%M:01Z}'}}")
    assert "more than 366 days away" in world.schedules()[1][0].message


def test_a_clock_that_is_set_back_makes_nothing_wrong(world):
    """Neither by hours nor by years."""
    world.write("a", "pause: {until: 2026-12-24}")
    before = world.schedules()
    world.clock.jump(-timedelta(days=3650))
    assert world.schedules() == before
    assert not before[1]


def test_a_wrong_variable_keeps_what_is_in_force(world):
    """A daemon that runs is not stopped by it; one that begins is."""
    world.reloader._variables["DRKEEPER_WEB_TOKEN_FILE"] = "/nonexistent"
    schedules, problems = world.schedules()
    assert schedules == BOTH
    assert len(problems) == 1
    fresh = Reloader(
        world.locations,
        clock=FakeClock(NOW),
        variables={"DRKEEPER_DAEMON_WORKERS": "many"},
    )
    (world.folder / "state" / "accepted.json").unlink()
    with pytest.raises(ConfigurationError, match="DRKEEPER_DAEMON_WORKERS"):
        fresh.reload()
