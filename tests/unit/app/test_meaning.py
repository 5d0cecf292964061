"""What files mean is remembered, and never believed of other files, by others, or for another reader."""

import os
from datetime import UTC, datetime

import pytest

from doubles.clock import FakeClock
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.locations import find_locations
from drkeeper.app.config.meaning import WORTH
from drkeeper.errors import ConfigurationError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SETTINGS = """
host: keeper
time_zone: Europe/Berlin
repositories:
  primary: {store: "s3://bucket/prefix", region: eu-1, limits: {upload: 5 MiB/s}}
notify:
  ops: {webhook: {url: "https://example.org/hook"}}
"""
POLICY = """
policy: NAME
source: {files: {paths: [/home, /etc], exclude: ["*.o"], exclude_larger_than: 50 GiB}}
schedule: weekly on sun at 03:00
jitter: 20m
retention: {last: 3, within: 2d, daily: 7}
objectives: {rpo: 8d, rto: 30m}
tags: {team: web, zone: b}
limits: {memory: 512 MiB, closed: [22:00-06:00]}
pause: {until: 2026-12-24 14:30, reason: moving}
hooks: {before_backup: [[/bin/quiesce, --fast], {command: [/bin/sync], timeout: 90s}]}
notify: [ops]
"""


class World:
    """An installation that is worth remembering."""

    def __init__(self, folder):
        self.settings = folder / "drkeeper.yaml"
        self.settings.write_text(SETTINGS)
        self.policies = folder / "policies.d"
        self.policies.mkdir()
        self.cache = folder / "cache"
        self.kept = self.cache / "policies.msgpack"
        self.locations = find_locations(
            {"DRKEEPER_CACHE_DIR": str(self.cache)}, config=str(self.settings), root=False
        )
        for number in range(WORTH):
            self.write(f"p{number}")

    def write(self, name, text=POLICY):
        (self.policies / f"{name}.yaml").write_text(text.replace("NAME", name))

    def load(self, **variables):
        return load_configuration(self.locations, variables=variables, clock=FakeClock(NOW))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def said(configuration):
    """Return all that a configuration says, channels made."""
    names = ("host", "zone_name", "repositories", "policies", "problems", "daemon", "web", "log")
    return (
        *(getattr(configuration, name) for name in (*names, "ledger", "locations")),
        dict(configuration.channels),
        configuration.definitions(),
    )


def is_believed(world, **variables):
    """Say whether the files were read by the letter: what is then kept is another file."""
    before = world.kept.stat().st_ino
    world.load(**variables)
    return world.kept.stat().st_ino == before


def test_what_is_remembered_is_what_was_read(world):
    """The second time says the same as the first, to the last field, in fewer steps."""
    first = said(world.load())
    assert len(first[3]) == WORTH
    assert world.kept.stat().st_mode & 0o777 == 0o600
    assert said(world.load()) == first
    assert is_believed(world)


def test_any_change_is_seen_at_once(world):
    """A file that says something else, with the same length and times; one more; one less."""
    world.load()
    path = world.policies / "p3.yaml"
    times = path.stat()
    path.write_text(path.read_text().replace("at 03:00", "at 04:00"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert str(world.load().policy("p3").schedule) == "weekly on sun at 04:00"
    world.write("more")
    assert "more" in world.load().policies
    path.unlink()
    assert "p3" not in world.load().policies
    world.settings.write_text(SETTINGS.replace("keeper", "other"))
    assert world.load().host == "other"


def test_variables_are_part_of_it(world):
    """What a variable says holds for whoever has it, and for nobody else."""
    assert world.load().daemon.workers == 2
    assert world.load(DRKEEPER_DAEMON_WORKERS="5").daemon.workers == 5
    assert world.load().daemon.workers == 2


def test_secrets_leave_no_trace(world):
    """Neither a token nor the secret of a channel is kept, and each is asked for anew."""
    secrets = {"DRKEEPER_WEB_TOKEN": "tok3n", "DRKEEPER_NOTIFY_OPS_SECRET": "h00k"}
    configuration = world.load(**secrets)
    assert configuration.channels["ops"].kind.secret == "h00k"
    assert b"tok3n" not in world.kept.read_bytes()
    assert b"h00k" not in world.kept.read_bytes()
    assert is_believed(world)
    assert world.load().web.token is None
    assert world.load(DRKEEPER_WEB_TOKEN="0ther").web.token == "0ther"


def test_wrong_files_are_never_remembered(world):
    """Everything that is wrong is told each time, with its place."""
    world.write("bad", "policy: bad\nsource: {}\n")
    first = world.load().problems
    assert first
    assert first[0].mark is not None
    assert not world.kept.exists()
    assert world.load().problems == first


@pytest.mark.parametrize(
    "damage",
    [lambda kept: kept[:-1], lambda kept: kept[:32] + b"\xc1" * 40, lambda _kept: b""],
    ids=["cut", "overwritten", "empty"],
)
def test_damage_is_no_trouble(world, damage):
    """What was cut off or overwritten is written again; the files say what they say."""
    first = said(world.load())
    world.kept.write_bytes(damage(world.kept.read_bytes()))
    assert said(world.load()) == first
    assert is_believed(world)


def test_what_others_may_have_written_is_not_believed(world):
    """Commands are in it: it must be this user's alone."""
    first = said(world.load())
    world.kept.chmod(0o666)
    assert not is_believed(world)
    assert said(world.load()) == first
    assert world.kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_others_is_not_believed(world):
    """Another user's file counts for nothing, and nothing is written into another user's folder."""
    world.load()
    os.chown(world.kept, 12345, 12345)
    assert not is_believed(world)
    world.kept.unlink()
    os.chown(world.cache, 12345, 12345)
    world.load()
    assert not world.kept.exists()


def test_a_cache_that_cannot_be_written_is_no_trouble(world):
    """There is a file where the folder should be."""
    world.cache.write_text("in the way")
    assert len(world.load().policies) == WORTH


def test_the_folder_that_the_file_names_is_used(world, tmp_path):
    """The cache of drkeeper.yaml holds it; one that is spelt unusually is simply not used."""
    world.locations = find_locations(
        {"HOME": str(tmp_path)}, config=str(world.settings), root=False
    )
    elsewhere = tmp_path / "elsewhere"
    world.settings.write_text(f"{SETTINGS}cache: {elsewhere}\n")
    world.load()
    assert (elsewhere / "policies.msgpack").exists()
    world.settings.write_text(f'{SETTINGS}"cache": {tmp_path}/third\n')
    assert len(world.load().policies) == WORTH
    assert not (tmp_path / "third").exists()
    assert not (tmp_path / ".cache").exists()


def test_a_broken_copy_does_not_hide_that_a_file_cannot_be_read(world):
    """A folder of policies that is gone is an empty one, as it always was."""
    world.load()
    world.policies.rename(world.policies.with_name("away"))
    assert world.load().policies == {}
    world.settings.unlink()
    world.settings.mkdir()
    with pytest.raises(ConfigurationError):
        world.load()
