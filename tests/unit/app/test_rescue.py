"""What is kept for a rescue, and what is made of it on a bare machine."""

import dataclasses
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from doubles.installation import Installation, expect
from doubles.memory_store import MemoryStore
from doubles.repositories import SteppingClock
from drkeeper.app.config.configuration import load_configuration
from drkeeper.app.config.locations import find_locations
from drkeeper.app.wiring.rescue import (
    Rescue,
    Window,
    _rank,
    below,
    choose_rescue,
    keep_rescue,
    parse_rescue,
    read_rescues,
    refuse_occupied,
    write_rescue,
)
from drkeeper.errors import ConfigurationError, IntegrityError
from drkeeper.repository.creation import create_repository, new_host_key, with_host
from drkeeper.repository.records import rescue_series
from drkeeper.repository.repository import open_repository, update_keyring

POLICY = """
policy: home
source: {files: {paths: [/srv]}}
repository: primary
hooks: {before_backup: [/bin/run, "--url", "https://ann:hunter22@example.org/x"]}
"""
SETTINGS = "host: web1\nrepositories: {primary: {store: /backup}}\n"


class World:
    """A configuration in a folder, and a repository in memory with two hosts."""

    def __init__(self, folder):
        self.folder = folder
        self.clock = SteppingClock()
        self.store = MemoryStore()
        self.keys = create_repository(self.store, clock=self.clock, save=lambda _keys: None)
        self.other = new_host_key(self.keys.id)
        update_keyring(
            self.opened(self.keys.host),
            self.keys.admin.signing_key,
            lambda keyring: with_host(keyring, self.other),
        )
        (folder / "policies.d").mkdir(parents=True)
        (folder / "state").mkdir(mode=0o700)
        (folder / "drkeeper.yaml").write_text(SETTINGS)
        (folder / "policies.d" / "home.yaml").write_text(POLICY)

    def opened(self, key):
        return open_repository(
            self.store, clock=self.clock, identities=key.identities, admins=self.keys.admins
        )

    @property
    def configuration(self):
        locations = find_locations({}, config=str(self.folder))
        locations = replace(locations, state=self.folder / "state", state_fixed=True)
        return load_configuration(locations, variables={})

    def keep(self, key=None, configuration=None):
        key = key or self.keys.host
        return keep_rescue(self.opened(key), key, configuration or self.configuration, self.clock)

    def read(self, key=None):
        return read_rescues(self.opened(key or self.keys.recovery))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "etc")


def test_it_is_kept_when_it_has_changed_and_not_otherwise(world):
    """Also when this machine does not remember what it kept last."""
    assert world.keep() == 1
    assert world.keep() is None
    (world.folder / "state" / f"rescue-{world.keys.id.hex()}.json").unlink()
    assert world.keep() is None
    (world.folder / "drkeeper.yaml").write_text(SETTINGS + "time_zone: Europe/Berlin\n")
    assert world.keep() == 2
    (found,), wrong = world.read()
    assert wrong == []
    assert (found.number, found.machine, found.host) == (2, "web1", world.keys.host.host)
    assert found.settings.endswith("time_zone: Europe/Berlin\n")
    assert list(found.policies) == ["home.yaml"]


def test_no_secret_is_kept(world):
    """What looks like one is left out, and the file is named by whoever brings it back."""
    world.keep()
    ((found,), _) = world.read()
    assert "hunter22" not in json.dumps(found.policies)
    assert found.redacted() == ["home.yaml"]
    assert not [name for name, data in world.store.objects.items() if b"hunter22" in data]


def test_each_host_has_its_own(world):
    """The newest of each; a host reads its own only, and whoever is told which may choose."""
    world.keep()
    named = dataclasses.replace(world.configuration, host="web2")
    (world.folder / "state" / f"rescue-{world.keys.id.hex()}.json").unlink()
    world.keep(world.other, named)
    found, _ = world.read()
    assert [each.machine for each in found] == ["web2", "web1"]
    assert [each.machine for each in world.read(world.other)[0]] == ["web2"]
    with pytest.raises(ConfigurationError, match="2 hosts have kept") as caught:
        choose_rescue(found, None)
    assert caught.value.hint == "Choose with --host: web1, web2."
    assert choose_rescue(found, "web1").host == world.keys.host.host
    assert choose_rescue(found, world.other.host.hex()).machine == "web2"
    assert choose_rescue([], None) is None
    with pytest.raises(ConfigurationError, match="no host web3"):
        choose_rescue(found, "web3")


def test_damage_hides_no_older_record(world):
    """It is told, and the one before counts."""
    world.keep()
    (world.folder / "drkeeper.yaml").write_text(SETTINGS + "# changed\n")
    world.keep()
    damaged = bytearray(world.store.objects["rescue/000002"])
    damaged[-5] ^= 1
    world.store.objects["rescue/000002"] = bytes(damaged)
    (found,), (wrong,) = world.read()
    assert found.number == 1
    assert "rescue/000002" in wrong


def content(**changes):
    said = {
        "form": "drkeeper/rescue/1", "made_at": "2026-11-20T00:00:00.000000Z", "digest": "x",
        "host": "aa", "machine": "web1", "system": {"drkeeper": "0.1.0"},
        "settings": SETTINGS, "policies": {"home.yaml": POLICY},
    }  # fmt: skip
    return json.dumps(said | changes).encode()


HOSTILE = {
    "climbs": {"policies": {"../evil.yaml": ""}},
    "absolute": {"policies": {"/etc/cron.d/evil.yaml": ""}},
    "other kind": {"policies": {"evil.sh": ""}},
    "hidden": {"policies": {".evil.yaml": ""}},
    "control": {"policies": {"e\x1b[31m.yaml": ""}},
    "long": {"policies": {"a" * 300 + ".yaml": ""}},
    "no text": {"policies": {"home.yaml": 7}},
    "no files": {"policies": ["home.yaml"]},
    "huge": {"settings": "x" * (1024 * 1024 + 1)},
    "settings": {"settings": {"a": 1}},
    "machine": {"machine": None},
    "system": {"system": []},
    "form": {"form": "drkeeper/rescue/2"},
}


@pytest.mark.parametrize("lie", HOSTILE)
def test_what_a_host_may_not_say_is_refused(lie):
    """A host that was broken into names files where it likes; nothing is written of it."""
    with pytest.raises(IntegrityError, match="rescue record 7"):
        parse_rescue(content(**HOSTILE[lie]), number=7, host=b"h" * 16)


@pytest.mark.parametrize("raw", [b"", b"7", b"[]", b"\xff", b"[" * 100_000, b"{}"], ids=range(6))
def test_what_is_no_such_object_is_refused(raw):
    """Whatever was signed."""
    with pytest.raises(IntegrityError, match="rescue record 7 is malformed"):
        parse_rescue(raw, number=7, host=b"h" * 16)


def test_files_are_written_for_their_owner_and_never_over_others(tmp_path):
    """A machine that has a configuration is not bare."""
    rescue = parse_rescue(content(), number=1, host=b"h" * 16)
    locations = below(find_locations({}, config=str(tmp_path / "etc")), tmp_path / "new")
    refuse_occupied(locations)
    written = write_rescue(rescue, locations)
    assert [path.read_text() for path in written] == [SETTINGS, POLICY]
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}
    with pytest.raises(ConfigurationError, match="this machine is not bare"):
        refuse_occupied(locations)
    with pytest.raises(ConfigurationError, match="exists"):
        write_rescue(rescue, locations)


def test_a_host_without_a_configuration_keeps_that(tmp_path):
    """Policies alone are something; a file that is not there stays away."""
    rescue = parse_rescue(content(settings=None), number=1, host=b"h" * 16)
    locations = below(find_locations({}, config=str(tmp_path / "etc")), tmp_path / "new")
    (written,) = write_rescue(rescue, locations)
    assert written.name == "home.yaml"
    assert isinstance(rescue, Rescue)


def test_restores_come_in_the_order_in_which_they_are_best_made():
    """Files before databases, what is higher in the tree first, then by name."""
    now = SteppingClock().now()

    def window(policy, kind, *paths):
        return Window(policy, "web1", kind, paths, 1, now, now, 1, 0)

    ordered = [
        window("etc", "files", b"/etc"),
        window("srv", "files", b"/srv", b"/var/lib/app"),
        window("app", "files", b"/srv/app"),
        window("shop", "sqlite", b"/var/shop.db"),
    ]
    for begin in range(len(ordered)):
        turned = ordered[begin:] + ordered[:begin]
        assert sorted(turned, key=_rank) == ordered


def test_a_series_of_rescues_is_shared_by_hosts(world):
    """Numbers go on, whoever writes."""
    series = rescue_series(world.opened(world.keys.host), world.keys.host)
    assert [series.append(b"{}"), world.keep()] == [1, 2]


@pytest.fixture
def home(tmp_path):
    home = Installation(tmp_path / "one")
    home.home.mkdir()
    home.init()
    home.done("backup", "files")
    return home


def bare(home, name="two"):
    """An empty machine with the kit."""
    other = Installation(home.home.parent / name)
    other.home.mkdir()
    other.kit.write_bytes(home.kit.read_bytes())
    other.kit.chmod(0o600)
    return other


@pytest.mark.e2e
def test_a_bare_machine_is_rescued(home):
    """Looked at first, then brought back with its ledger; a second time it is refused."""
    other = bare(home)
    said = other.done("rescue", "--identity", other.kit, "--dry-run")
    assert "1. drkeeper restore files" in said
    assert not (other.home / "etc").exists()
    lines = other.lines("rescue", "--identity", other.kit, "--restore-to", "back")
    assert lines[-1]["restored"] == [str(other.home / "back" / "files")]
    copy = other.home / "back" / "files" / str(home.source)[1:] / "one.txt"
    assert copy.read_text() == "one\n"
    assert (other.etc / "drkeeper.yaml").read_text() == (home.etc / "drkeeper.yaml").read_text()
    seen = other.lines("ledger", "verify", "--storage", "--identity", other.kit)
    assert (seen[0]["ok"], seen[0]["covered"]) == (True, 4)
    expect(other.run("rescue", "--identity", other.kit), 13, "this machine is not bare", "--to DIR")
    other.done("rescue", "--identity", other.kit, "--to", "look")
    assert (other.home / "look" / "state" / "ledger.sqlite").is_file()


@pytest.mark.e2e
def test_what_is_missing_is_warned_of_and_the_rest_is_brought_back(home):
    """A store without records, a damaged one: exit 3, and the windows are shown all the same."""
    for folder in ("rescue", "ledger"):
        (home.store / folder).rename(home.home / folder)
    other = bare(home)
    result = other.run("rescue", "--identity", other.kit)
    assert result.returncode == 3
    assert "no configuration is kept there" in result.stderr
    assert "1. drkeeper restore files" in result.stdout
    (home.home / "rescue").rename(home.store / "rescue")
    third = bare(home, "three")
    result = third.run("rescue", "--identity", third.kit)
    assert result.returncode == 3
    assert "no ledger of" in result.stderr
    assert (third.etc / "drkeeper.yaml").is_file()


@pytest.mark.e2e
def test_a_taken_over_machine_goes_on_and_the_lost_one_does_not(home):
    """New keys sign and read from now on; what was there stays readable with the kit."""
    other = bare(home)
    other.done("rescue", "--identity", other.kit, "--take-over")
    other.done("backup", "files")
    assert home.run("backup", "files").returncode != 0
    assert len(other.lines("snapshots", "--identity", other.kit)) == 3
    other.done("restore", "files", "--to", "newest")
    other.done("ledger", "verify", "--storage")
    keyless = other.run("rescue", "--identity", other.etc / "keys" / "primary" / "verifier.key",
                        "--store", home.store, "--to", "x", "--take-over")  # fmt: skip
    assert keyless.returncode in {3, 12, 13}


@pytest.mark.e2e
def test_without_a_kit_there_is_no_rescue(home):
    """Said at once, with what to give."""
    expect(home.run("rescue"), 2, "--identity")
    assert isinstance(home.kit, Path)
