"""Looking into snapshots: which one is meant, what is in it, what changed, one file's bytes."""

import os
import random
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.backups import Machine, new_machine
from drkeeper.errors import (
    ConfigurationError,
    InstantNotReachableError,
    IntegrityError,
    KeyNotFoundError,
    TargetError,
)
from drkeeper.model.entry import Entry, EntryFlag, Extra, FileType
from drkeeper.operations.backup import back_up
from drkeeper.operations.contents import Change, Named, differences, entries, write_content
from drkeeper.operations.snapshots import choose, history, snapshots
from drkeeper.repository.commit import Commit
from drkeeper.repository.creation import new_host_key, with_host
from drkeeper.repository.keyfile import KeyFile
from drkeeper.repository.places import object_name
from drkeeper.repository.repository import Repository, open_repository, update_keyring


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path)


def keeper(machine: Machine) -> Repository:
    """Open the repository as somebody who may read data, too."""
    return open_repository(
        machine.store,
        clock=machine.clock,
        identities=machine.keys.verifier.identities,
        admins=machine.keys.admins,
    )


def taken(machine: Machine) -> Commit:
    machine.clock.advance(timedelta(hours=1))
    return back_up(machine.request()).commit


def content(machine: Machine, commit: Commit, name: str) -> bytes:
    out = bytearray()
    path = os.fsencode(machine.tree / name).lstrip(b"/")
    write_content(keeper(machine), commit, path, out.extend)
    return bytes(out)


def names(machine: Machine, commit: Commit, *below: str) -> list[str]:
    root = os.fsencode(machine.tree).lstrip(b"/")
    paths = tuple(os.fsencode(machine.tree / name).lstrip(b"/") for name in below)
    found = [named.entry.path for named in entries(machine.repository(), commit, paths)]
    return [os.fsdecode(p.removeprefix(root + b"/")) for p in found if p.startswith(root + b"/")]


def test_the_newest_complete_snapshot_at_or_before_an_instant_is_meant(machine):
    """An instant between two snapshots means the earlier one; exactly on one means that one."""
    machine.write("a", b"1")
    first, second = taken(machine), taken(machine)
    repository = machine.repository()
    assert choose(repository, "shop", first.consistent_at) == first
    assert choose(repository, "shop", second.consistent_at - timedelta(seconds=1)) == first
    assert choose(repository, "shop", second.consistent_at) == second
    assert choose(repository, "shop", machine.clock.now()) == second


def test_an_instant_before_the_first_snapshot_is_refused_with_what_there_is(machine):
    """Never a substitute: the message says which instants can be reached."""
    machine.write("a", b"1")
    first = taken(machine)
    with pytest.raises(InstantNotReachableError, match="reachable: the one snapshot of 20"):
        choose(machine.repository(), "shop", first.consistent_at - timedelta(seconds=1))


def test_a_snapshot_is_found_by_its_number_or_the_beginning_of_its_id(machine):
    """A name that fits none, or more than one, is refused."""
    machine.write("a", b"1")
    first, second = taken(machine), taken(machine)
    repository = machine.repository()
    assert choose(repository, "shop", str(first.n)) == first
    assert choose(repository, None, second.digest.hex()[:16]) == second
    for unknown in ("999999", "zz", "", "abc"):
        with pytest.raises(InstantNotReachableError):
            choose(repository, "shop", unknown)
    with pytest.raises(ConfigurationError, match="there: shop"):
        choose(repository, "another", str(first.n))


def test_partial_snapshots_are_meant_only_by_name(machine):
    """A restore to an instant never brings back half a source."""
    machine.write("a", b"1")
    complete = taken(machine)
    assert [snapshot.commit for snapshot in snapshots(machine.repository(), "shop")] == [complete]
    assert snapshots(machine.repository(), "another") == []


def test_entries_are_listed_below_what_was_asked_for(machine):
    """A path names itself and all below it, and nothing that only begins alike."""
    for name in ("d/x", "d/y/z", "d.txt", "dd/x"):
        machine.write(name, b"1")
    commit = taken(machine)
    assert names(machine, commit, "d") == ["d", "d/x", "d/y", "d/y/z"]
    assert names(machine, commit) == ["d", "d/x", "d/y", "d/y/z", "d.txt", "dd", "dd/x"]
    assert names(machine, commit, "nothing") == []


def test_differences_say_what_became_of_each_path(machine):
    """Added, removed, changed content, changed metadata, changed type; nothing else."""
    for name in ("same", "changed", "mode", "gone", "kind"):
        machine.write(name, name.encode())
    first = taken(machine)
    machine.write("changed", b"differs")
    machine.write("added", b"new")
    (machine.tree / "mode").chmod(0o600)
    (machine.tree / "gone").unlink()
    (machine.tree / "kind").unlink()
    (machine.tree / "kind").symlink_to("same")
    second = taken(machine)
    repository = machine.repository()
    found = {
        os.path.basename(new.entry.path).decode(): change
        for change, _, new in differences(entries(repository, first), entries(repository, second))
    }
    assert found == {
        "added": Change.ADDED,
        "changed": Change.CONTENT,
        "gone": Change.REMOVED,
        "kind": Change.TYPE,
        "mode": Change.METADATA,
    }
    again = differences(entries(repository, second), entries(repository, second))
    assert list(again) == []


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ({"major": 1, "minor": 3}, {"major": 1, "minor": 5}, Change.CONTENT),
        ({"major": 1, "minor": 3}, {"major": 8, "minor": 3}, Change.CONTENT),
        ({"fsflags": 0x10}, {}, Change.METADATA),
        ({"project": 1}, {"project": 2}, Change.METADATA),
        ({"flags": int(EntryFlag.RACY)}, {}, None),
    ],
    ids=str,
)
def test_all_that_is_restored_is_compared(old, new, change):
    """Another device behind the same name is another content; flags and quotas are metadata."""

    def entry(**extra):
        what = Entry(b"dev/x", FileType.CHARACTER, 0o600, 0, 0, 1, 1, 1, 1, 1, 0)
        what.extra = Extra(**extra)
        return iter([Named(what, "root", "root")])

    found = [each for each, _, _ in differences(entry(**old), entry(**new))]
    assert found == ([] if change is None else [change])


def test_one_file_comes_out_byte_for_byte(machine):
    """Small, empty, of several chunks."""
    large = random.Random(1).randbytes(9 * 1024 * 1024)
    for name, data in (("small", b"few bytes"), ("empty", b""), ("large", large)):
        machine.write(name, data)
    commit = taken(machine)
    assert content(machine, commit, "small") == b"few bytes"
    assert content(machine, commit, "empty") == b""
    assert content(machine, commit, "large") == large


def test_holes_come_out_as_zeros(machine):
    """A sparse file has holes at its beginning, between its data, and at its end."""
    path = machine.tree / "sparse"
    with path.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
        for at in (1 << 20, 5 << 20):
            file.seek(at)
            file.write(b"data" * 4096)
    commit = taken(machine)
    assert content(machine, commit, "sparse") == path.read_bytes()


def test_what_is_no_file_of_the_snapshot_is_refused(machine):
    """Neither a path that is not there nor a directory has content."""
    machine.write("d/x", b"1")
    commit = taken(machine)
    for name, why in (("nothing", "has no"), ("d", "not a regular file")):
        with pytest.raises(TargetError, match=why):
            content(machine, commit, name)


# -- repositories of several hosts, and damaged ones


@pytest.fixture
def joined(machine: Machine) -> KeyFile:
    """Let a second host back up the same tree under the same policy name."""
    second = new_host_key(machine.keys.id)
    admin = machine.keys.admin.signing_key
    update_keyring(machine.repository(), admin, lambda ring: with_host(ring, second))
    return second


def taken_by(machine: Machine, host: KeyFile, **changes: object) -> Commit:
    machine.clock.advance(timedelta(hours=1))
    repository = open_repository(
        machine.store,
        clock=machine.clock,
        identities=host.identities,
        admins=machine.keys.admins,
    )
    facts = {"host": host, "host_name": "desk", "repository": repository} | changes
    return back_up(machine.request(**facts)).commit


def test_a_host_sees_its_own_snapshots_beside_those_of_others(machine, joined):
    """What a host cannot open, other hosts' metadata, is no obstacle to finding its own."""
    machine.write("a", b"1")
    mine = taken(machine)
    taken_by(machine, joined)
    repository = machine.repository()
    assert choose(repository, "shop", machine.clock.now()) == mine
    assert [each.commit for each in snapshots(repository)] == [mine]
    assert [each.commit for each in snapshots(repository, "shop")] == [mine]
    with pytest.raises(ConfigurationError, match="there: shop"):
        choose(repository, "another", machine.clock.now())


def test_nothing_that_opens_is_an_error_not_an_empty_list(machine):
    """Who holds no key that opens anything is told so."""
    machine.write("a", b"1")
    taken(machine)
    repository = open_repository(machine.store, clock=machine.clock, admins=machine.keys.admins)
    for look in (lambda: snapshots(repository), lambda: snapshots(repository, "shop")):
        with pytest.raises(KeyNotFoundError):
            look()


def test_one_hosts_data_is_never_restored_for_anothers(machine, joined):
    """When two hosts have a policy of one name, the host must be known; a number is enough."""
    machine.write("a", b"1")
    mine = taken(machine)
    other = taken_by(machine, joined)
    repository = keeper(machine)
    now = machine.clock.now()
    assert choose(repository, "shop", now, host="till") == mine
    assert choose(repository, "shop", now, host="desk") == other
    assert choose(repository, "shop", str(other.n)) == other
    for unknown in (None, "attic"):
        with pytest.raises(ConfigurationError, match="of 2 hosts here: desk, till"):
            choose(repository, "shop", now, host=unknown)


def test_the_history_of_a_policy_is_one_hosts(machine, joined):
    """What another host has is no change: comparing the newest two compares one host's."""
    machine.write("a", b"1")
    mine = [taken(machine)]
    others = [taken_by(machine, joined), taken_by(machine, joined)]
    mine.append(taken(machine))
    repository = keeper(machine)
    assert history(repository, "shop", host="till") == mine
    assert history(repository, "shop", host="desk") == others
    assert history(repository, "shop", host="till", beside=others[0]) == others
    with pytest.raises(ConfigurationError, match="of 2 hosts"):
        history(repository, "shop", host="attic")
    with pytest.raises(ConfigurationError, match="there: shop"):
        history(repository, "another", host="till")


def test_a_host_that_takes_anothers_name_is_not_taken_for_it(machine, joined):
    """Names are what hosts say of themselves; when two say the same, a person decides."""
    machine.write("a", b"1")
    taken(machine)
    taken_by(machine, joined, host_name="till")
    with pytest.raises(ConfigurationError, match="of 2 hosts"):
        choose(keeper(machine), "shop", machine.clock.now(), host="till")


def lose(machine: Machine, commit: Commit) -> None:
    machine.store.delete(object_name("meta", commit.root.id))


def test_damage_to_the_newest_snapshot_does_not_hide_the_others(machine):
    """Older snapshots of a policy are found, listed and chosen when the newest cannot be read."""
    machine.write("a", b"1")
    first = taken(machine)
    machine.write("b", b"2")
    second = taken(machine)
    lose(machine, second)
    repository = machine.repository()
    told = []
    listed = snapshots(repository, "shop", lambda commit, _error: told.append(commit))
    assert [each.commit for each in listed] == [first]
    assert told == [second]
    assert choose(repository, "shop", first.consistent_at) == first
    # It is still the one that is meant; whoever reads it is told what is wrong with it.
    assert choose(repository, "shop", second.consistent_at) == second
    with pytest.raises(IntegrityError):
        snapshots(repository, "shop")


def test_damage_that_may_hide_a_policy_is_told(machine):
    """A policy is not said to have no snapshot when what cannot be read may be one."""
    machine.write("a", b"1")
    lose(machine, taken(machine))
    with pytest.raises(IntegrityError):
        choose(machine.repository(), "shop", machine.clock.now())
