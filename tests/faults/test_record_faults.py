"""A process that dies, or a store that fails, at any moment of keeping the ledger in a repository."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import replace

from doubles.faultpoints import CRASHED, CrashAt, RaiseAt, Recorder, in_child, registered_points
from doubles.installation import Installation
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.locations import find_locations
from drkeeper.app.wiring.kit import parse_kit
from drkeeper.app.wiring.ledger_copies import copy_ledger, rebuild_ledger
from drkeeper.app.wiring.repositories import Access, open_for_backup, open_for_reading
from drkeeper.app.wiring.rescue import (
    below,
    keep_rescue,
    read_rescues,
    refuse_occupied,
    write_rescue,
)
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.app.wiring.takeover import take_over
from drkeeper.clock import SystemClock
from drkeeper.errors import ConfigurationError, NoSpaceError, StorageUnavailableError
from drkeeper.operations.keeping_ledgers import gather, read_kept
from drkeeper.repository.records import ledger_hosts, ledger_series

CLOCK = SystemClock()
STORING = (
    "repository.records.",
    "operations.keeping_ledgers.",
    "ledger.checkpoints.",
    "app.wiring.ledger_copies.remembering",
)
MAKING = (
    "ledger.storing.",
    "ledger.schema.re",
    "ledger.schema.building",
    "ledger.schema.built",
    "app.wiring.ledger_copies.moving",
)
POINTS = sorted(name for name in registered_points() if name.startswith((*STORING, *MAKING)))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An installation with a backup, whose ledger is stored, and news in the ledger."""
    home = Installation(tmp_path_factory.mktemp("made") / "home")
    home.home.mkdir()
    home.init()
    home.done("backup", "files")
    home.done("restore", "files", "--to", "copy")
    return home


@pytest.fixture
def home(made, tmp_path):
    shutil.copytree(made.home, tmp_path / "home", symlinks=True)
    moved = Installation(tmp_path / "home")
    moved._move(made.home)
    return moved


def configured(home):
    environment = home.environment()
    return load_configuration(find_locations(environment, root=False), variables=environment)


def store(home):
    (copied,) = copy_ledger(configured(home), CLOCK, None)
    return [str(copied.error), copied.stored and copied.stored.size]


def remake(home):
    """Make the ledger anew from what is stored, in the place of the one there is."""
    configuration = configured(home)
    access = Access(configuration.repository("primary"))
    repository = open_for_reading(access, configuration.locations.state, CLOCK, None)
    series = [ledger_series(repository, host) for host in ledger_hosts(repository)]
    kept = read_kept(series)
    (origin,) = kept.origins()
    gathered = gather(kept, origin, series[0].trusted_keys)
    rebuild_ledger(gathered, configuration, CLOCK, replace_whole=True)
    return [gathered.findings, len(gathered.events)]


def both(home):
    return [store(home), remake(home)]


def rows(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def assert_whole(home):
    """The ledger verifies, all of it can be stored, and what is stored is all of it."""
    path = home.home / "state" / "ledger.sqlite"
    with open_run_ledger(path, host="any", clock=CLOCK) as ledger:
        assert ledger.verify().ok
        size = ledger.last_event().seq
    assert store(home) == ["None", size]
    before = rows(path)
    assert remake(home) == [(), size]
    assert rows(path) == before


def test_every_point_is_reached(home, tmp_path):
    """A point that nothing passes guards nothing."""
    recorder = Recorder()

    def work():
        both(home)
        return recorder.hits

    assert in_child(work, tmp_path / "report", recorder) == 0
    assert set(POINTS) <= set(json.loads((tmp_path / "report").read_text()))


@pytest.mark.parametrize("name", POINTS)
def test_a_crash_leaves_all_whole(home, tmp_path, name):
    """Power cut at the first hit: what was there is there, and the next one does the rest."""
    ledger = home.home / "state" / "ledger.sqlite"
    assert in_child(lambda: both(home), tmp_path / "report", CrashAt(name, 1)) == CRASHED
    if not ledger.exists():  # between two names: the word that was given says where it is
        (aside,) = ledger.parent.glob("ledger.sqlite.aside-*")
        assert aside.stat().st_size > 0
        remake(home)
    assert_whole(home)


@pytest.mark.parametrize("name", [name for name in POINTS if name.startswith(STORING)])
def test_trouble_while_storing_is_an_answer(home, tmp_path, name):
    """A store that does not answer, or a full disk: it is said, and nothing is lost."""
    for error in (StorageUnavailableError, NoSpaceError):
        strike = RaiseAt(name, 1, lambda error=error: error("as the test wants it"))
        assert in_child(lambda: store(home), tmp_path / "report", strike) == 0
        said, size = json.loads((tmp_path / "report").read_text())
        assert said == "as the test wants it" or size is not None
    assert_whole(home)


@pytest.mark.parametrize("name", [name for name in POINTS if name.startswith(MAKING)])
def test_trouble_while_making_a_ledger_leaves_the_old_one(home, tmp_path, name):
    """A full disk while it is made anew: the one that was there is there again."""
    store(home)
    before = rows(home.home / "state" / "ledger.sqlite")
    strike = RaiseAt(name, 1, lambda: NoSpaceError("as the test wants it"))
    assert in_child(lambda: remake(home), tmp_path / "report", strike) != 0
    assert "as the test wants it" in (tmp_path / "report").read_text()
    assert rows(home.home / "state" / "ledger.sqlite") == before
    assert_whole(home)


def keep(home):
    """Keep what a rescue needs, as a backup does."""
    configuration = configured(home)
    settings, state = configuration.repository("primary"), configuration.locations.state
    repository, key = open_for_backup(settings, state, CLOCK, None)
    return keep_rescue(repository, key, configuration, CLOCK)


def kept(home):
    """Return what the kit finds."""
    access = Access(configured(home).repository("primary"), (parse_kit(home.kit.read_bytes()),))
    repository = open_for_reading(access, None, CLOCK, None)
    return repository, access, read_rescues(repository)


RESCUING = sorted(name for name in registered_points() if name.startswith("app.wiring.rescue.st"))
TAKING = sorted(name for name in registered_points() if name.startswith("app.wiring.takeover."))


@pytest.mark.parametrize("name", RESCUING)
def test_a_crash_while_keeping_leaves_the_next_to_do_it(home, tmp_path, name):
    """The newest is what the files say, and nothing is kept twice."""
    settings = home.etc / "drkeeper.yaml"
    settings.write_text(settings.read_text() + "time_zone: Europe/Berlin\n")
    assert in_child(lambda: keep(home), tmp_path / "report", CrashAt(name, 1)) == CRASHED
    assert keep(home) in {None, 2}
    assert keep(home) is None
    _, _, (((found,), wrong)) = kept(home)
    assert (found.number, found.settings, wrong) == (2, settings.read_text(), [])


@pytest.mark.parametrize("name", TAKING)
def test_a_crash_while_taking_over_can_be_begun_again(home, tmp_path, name):
    """Key files are there before a keyring names them; put away, it is done anew."""

    def work():
        repository, access, ((rescue,), _) = kept(home)
        settings = replace(access.settings, keys=tmp_path / "keys")
        return take_over(repository, access.kits, settings, rescue.host).keyring

    assert in_child(work, tmp_path / "report", CrashAt(name, 1)) == CRASHED
    assert not (tmp_path / "keys").exists() or list((tmp_path / "keys").iterdir())
    if (tmp_path / "keys").exists():
        (tmp_path / "keys").rename(tmp_path / "aside")
    assert work() == (3 if name.endswith(".changed") else 2)
    shutil.rmtree(home.etc / "keys" / "primary")
    (tmp_path / "keys").rename(home.etc / "keys" / "primary")
    home.done("backup", "files")


def test_a_crash_while_bringing_back_leaves_whole_files(home, tmp_path):
    """What was written is whole, and is not written over: the next one says that it is there."""
    _, _, ((rescue,), _) = kept(home)
    locations = below(configured(home).locations, tmp_path / "new")
    strike = CrashAt("app.wiring.rescue.writing", 2)
    assert in_child(lambda: write_rescue(rescue, locations), tmp_path / "report", strike) == CRASHED
    assert locations.settings.read_text() == rescue.settings
    with pytest.raises(ConfigurationError, match="not bare"):
        refuse_occupied(locations)
