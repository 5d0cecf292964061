"""Backing up a real tree into a real folder."""

import os
import random
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.backups import Machine, new_machine
from drkeeper.errors import ConfigurationError, FencedError, SourceError
from drkeeper.operations.backup import back_up
from drkeeper.operations.progress import Progress
from drkeeper.repository.session import open_session


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return new_machine(tmp_path)


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def fill(machine: Machine) -> None:
    """A bit of everything: empty, one byte, small, at the limit, of many chunks, compressible."""
    machine.write("empty", b"")
    machine.write("one", b"1")
    machine.write("a/small", noise(5000, 2))
    machine.write("a/limit", noise(256 * 1024, 3))
    machine.write("a/below-limit", noise(256 * 1024 - 1, 4))
    machine.write("b/large", noise(9_000_000, 5))
    machine.write("b/text", b"the same line again and again\n" * 200_000)
    machine.write("b/zeros", bytes(10_000_000))
    for number in range(300):
        machine.write(f"many/{number:03d}", noise(number * 7, 1000 + number))


def test_what_was_backed_up_is_what_was_there(machine):
    """Every path and every byte of the tree is in the snapshot, and all it needs is stored."""
    fill(machine)
    report = machine.back_up()
    machine.assert_snapshot_is_tree(report.commit)
    assert report.commit.complete
    assert report.tally.files_new == 308
    assert report.warnings == 0


def test_an_unchanged_tree_stores_no_content_again(machine):
    """A second backup reads no file, stores no pack and no piece, and makes a snapshot."""
    fill(machine)
    first = machine.back_up()
    packs, metas = machine.objects("packs/"), machine.objects("meta/")
    second = machine.back_up()
    assert (second.read_bytes, second.new_bytes) == (0, 0)
    assert second.tally.files_unchanged == 308
    assert machine.objects("packs/") == packs
    assert len(machine.objects("meta/")) == len(metas) + 1
    roots = [machine.snapshot(report.commit).root for report in (first, second)]
    assert roots[0].pieces == roots[1].pieces
    machine.assert_snapshot_is_tree(second.commit)


def test_a_changed_file_is_stored_and_nothing_else(machine):
    """Of a tree in which one small file changed, only that file is read."""
    fill(machine)
    machine.back_up()
    machine.write("many/007", b"changed")
    machine.write("new", b"new")
    (machine.tree / "many/009").unlink()
    report = machine.back_up()
    assert (report.tally.files_changed, report.tally.files_new) == (1, 1)
    assert report.read_bytes == 10
    machine.assert_snapshot_is_tree(report.commit)


def test_a_moved_directory_stores_nothing_new(machine):
    """Files that moved are recognised by their content, small ones and large ones."""
    fill(machine)
    machine.back_up()
    (machine.tree / "many").rename(machine.tree / "elsewhere")
    (machine.tree / "b").rename(machine.tree / "c")
    packs = machine.objects("packs/")
    report = machine.back_up()
    assert report.new_bytes == 0
    assert machine.objects("packs/") == packs
    machine.assert_snapshot_is_tree(report.commit)


def test_equal_content_is_stored_once(machine):
    """Copies within one tree cost nothing, whatever their size."""
    for name in ("x", "y", "z"):
        machine.write(f"{name}/small", noise(3000))
        machine.write(f"{name}/large", noise(3_000_000))
    report = machine.back_up()
    assert report.new_bytes == 3_003_000
    machine.assert_snapshot_is_tree(report.commit)


def test_hard_links_share_their_content(machine):
    """Both names of a file carry its extents and its inode."""
    path = machine.write("one", noise(400_000))
    os.link(path, machine.tree / "two")
    report = machine.back_up()
    entries = {
        entry.path.rpartition(b"/")[2]: entry
        for entry, _ in machine.snapshot(report.commit).contents()
    }
    assert entries[b"one"].inode == entries[b"two"].inode
    assert entries[b"one"].extents == entries[b"two"].extents
    machine.assert_snapshot_is_tree(report.commit)


@pytest.mark.parametrize("damage", ["lost", "garbage", "cut", "flipped"])
def test_a_damaged_cache_costs_time_and_nothing_else(machine, damage):
    """Whatever happens to the cache, nothing is stored twice and the snapshot is right."""
    fill(machine)
    machine.back_up()
    data = bytearray(machine.cache_file.read_bytes())
    if damage == "lost":
        machine.cache_file.unlink()
    else:
        if damage == "garbage":
            data = bytearray(b"no database")
        elif damage == "cut":
            del data[len(data) // 2 :]
        else:
            for at in range(4096, len(data), 512):
                data[at] ^= 0xFF
        machine.cache_file.write_bytes(data)
    (machine.tree / "b").rename(machine.tree / "c")
    report = machine.back_up()
    machine.assert_snapshot_is_tree(report.commit)
    if damage in {"lost", "garbage"}:
        assert report.new_bytes == 0
    machine.assert_snapshot_is_tree(machine.back_up().commit)


def test_partial_commits_hold_a_prefix_and_are_continued(machine):
    """What a long run has finished survives its end, and the next run does not read it again."""
    for number in range(9000):
        machine.write(f"d{number // 1000}/{number:04d}", b"%d" % number)
    seen = []

    def fail_late(progress: Progress) -> None:
        machine.clock.advance(timedelta(seconds=1))
        if progress.phase == "commit":
            raise SourceError("gone")
        seen.append(progress)

    with pytest.raises(SourceError):
        back_up(machine.request(partial_every=timedelta(seconds=1)), fail_late)
    repository = machine.repository()
    partial = repository.live_commits()[-1]
    assert not partial.complete
    held = {entry.path for entry, _ in machine.snapshot(partial).contents()}
    assert held
    report = machine.back_up()
    assert report.continued == partial.n
    assert report.tally.files_unchanged >= 256
    assert report.tally.files == 9000
    machine.assert_snapshot_is_tree(report.commit)
    after = machine.back_up()
    assert after.read_bytes == 0
    assert after.continued is None


def test_an_empty_source_is_refused_until_confirmed(machine):
    """A source with nothing in it is more often an unmounted disk than an empty one."""
    with pytest.raises(SourceError, match="empty") as caught:
        machine.back_up()
    assert "--allow-shrink" in caught.value.hint
    report = machine.back_up(allow_shrink=True)
    machine.assert_snapshot_is_tree(report.commit)


def test_a_source_that_lost_nearly_everything_is_refused(machine):
    """Nine tenths of the files gone: no snapshot, unless the operator says so."""
    for number in range(40):
        machine.write(str(number), b"x")
    before = machine.back_up().commit
    for number in range(37):
        (machine.tree / str(number)).unlink()
    with pytest.raises(SourceError, match="shrunk to 3 files"):
        machine.back_up()
    assert [commit.n for commit in machine.repository().live_commits()] == [before.n]
    machine.assert_snapshot_is_tree(machine.back_up(allow_shrink=True).commit)


def test_a_missing_source_fails_the_run(machine):
    """A path that the policy names and that is not there is an error, not an empty snapshot."""
    machine.write("x", b"x")
    machine.back_up()
    machine.tree.rename(machine.base / "away")
    with pytest.raises(SourceError):
        machine.back_up()
    assert len(machine.repository().live_commits()) == 1


def test_two_backups_of_one_policy_do_not_run_at_once(machine):
    """The second one is told so and changes nothing."""
    machine.write("x", b"x")
    errors = []

    def second(progress: Progress) -> None:
        if progress.phase in {"read", "commit"}:
            with pytest.raises(FencedError, match="another backup"):
                machine.back_up()
            errors.append(progress)

    back_up(machine.request(), second)
    assert errors
    assert len(machine.repository().live_commits()) == 1


def test_the_open_sessions_of_a_dead_run_are_ended(machine):
    """What a killed process left open is aborted by the next run of the same policy."""
    machine.write("x", b"x")
    repository = machine.repository()
    lineage = machine.keys.host.domain.lineage_id("shop", "files")
    open_session(repository, host=machine.keys.host, lineage=lineage)
    report = machine.back_up()
    repository.refresh()
    assert not repository.journal.state.sessions
    machine.assert_snapshot_is_tree(report.commit)


def test_only_a_host_key_writes(machine):
    """A verifier's key is refused before anything is touched."""
    machine.write("x", b"x")
    with pytest.raises(ConfigurationError, match="cannot write snapshots"):
        machine.back_up(host=machine.keys.verifier)


def test_no_threads_are_left(machine):
    """A backup ends its threads, also when it fails."""
    fill(machine)
    machine.back_up()

    def fail(progress: Progress) -> None:
        if progress.phase == "commit":
            raise SourceError("gone")

    machine.write("b/more", noise(5_000_000, 9))
    with pytest.raises(SourceError, match="gone"):
        back_up(machine.request(), fail)
    assert not [t for t in threading.enumerate() if t.name.startswith("drkeeper-")]


def test_the_report_says_what_was_found(machine):
    """Unreadable files are in the report, the snapshot and its findings, as warnings."""
    machine.write("x", b"x")
    if os.getuid() == 0:
        os.mkfifo(machine.tree / "pipe")
        report = machine.back_up()
        assert report.tally.others == 1
    else:
        machine.write("secret", b"s").chmod(0)
        report = machine.back_up()
        assert (report.tally.unreadable, report.warnings) == (1, 1)
        root = machine.snapshot(report.commit).root
        assert [finding.code for finding in root.findings] == ["unreadable"]
    assert set(report.phases) == {"prepare", "read", "commit"}


def test_what_a_partial_commit_leaves_open_is_known_afterwards(machine):
    """Chunks stored before a partial commit for files after it are remembered with the rest."""
    for number in range(3000):
        machine.write(f"many/{number:04d}", b"%d" % number)
    machine.write("zz/large", noise(3_000_000))

    def hurry(_progress: Progress) -> None:
        machine.clock.advance(timedelta(seconds=1))

    back_up(machine.request(partial_every=timedelta(seconds=1)), hurry)
    assert len(machine.repository().live_commits()) > 1
    (machine.tree / "zz/large").rename(machine.tree / "zz/moved")
    (machine.tree / "many").rename(machine.tree / "other")
    report = machine.back_up()
    assert report.new_bytes == 0
    machine.assert_snapshot_is_tree(report.commit)
