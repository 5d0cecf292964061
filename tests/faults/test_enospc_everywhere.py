"""A full disk, wherever drkeeper writes.

A store or target that is full is an error of its own (exit 21); a full cache or ledger costs a
warning, never a backup. Nothing is lost, and with room again the next run succeeds.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.invariants import (
    assert_acknowledged,
    assert_equal,
    assert_ledger_sound,
    assert_repository_sound,
    assert_restores,
    assert_tidy,
    describe,
)
from faults.scenarios import SCENARIOS, Worlds
from faults.worlds import World

NO_SPACE = 21
FULL_POINTS = (
    "storage.folder.write",
    "storage.folder.written",
    "storage.folder.link",
    "storage.folder.linked",
    "storage.folder.directory_made",
    "repository.private_file.write",
    "repository.private_file.written",
    "operations.backup.lock",
    "operations.restore.target.create",
    "operations.restore.marker.write",
    "operations.restore.mkdir",
    "operations.restore.node",
    "operations.restore.rename",
    "operations.restore.link",
    "operations.restore.large.written",
    "operations.restore.directory.leave",
    "operations.restore.sync",
)
"""Points beside a write. Cache and ledger speak SQLite's language: below, and real disks."""


@pytest.mark.parametrize("point", FULL_POINTS)
def test_no_space_at_a_write(worlds: Worlds, point: str) -> None:
    """ENOSPC at the first and a later hit: exit 21 or no harm at all; the next run succeeds."""
    struck = 0
    for name in ("first", "changed", "restore", "restore-in-place"):
        for hit in (1, 5):
            world = worlds.fresh(SCENARIOS[name].world)
            operation = SCENARIOS[name].operation.__name__
            outcome = worlds.forker.run(operation, world, fail=(point, hit, "full"))
            if outcome.hits.get(point, 0) >= hit:
                struck += 1
                assert outcome.status in {"done", "raised"}, outcome
                assert outcome.exit_code in {None, NO_SPACE} or point.startswith(
                    "operations.restore"
                ), outcome
                assert outcome.status == "done" or outcome.exit_code is not None, outcome.text
                assert not outcome.threads
                before = worlds.examine(name, world, idle=False)
                again = worlds.forker.run(
                    "restore_again" if name == "restore" else operation, world
                )
                assert again.status == "done", again
                worlds.examine_end(name, world, before[-1].n if before else 0)
            worlds.drop(world)
    assert struck


@pytest.mark.parametrize(
    "point",
    ["repository.cache.open", "repository.cache.commit", "repository.cache.learn"],
)
def test_a_cache_that_cannot_be_written_costs_no_backup(worlds: Worlds, point: str) -> None:
    """A full disk under the cache: the backup is made, and so is the next one."""
    kind = "full" if point == "repository.cache.open" else "sqlite-full"
    if point == "repository.cache.learn":
        point = "repository.cache.commit"
        hits = (2, 3)
    else:
        hits = (1,)
    for hit in hits:
        world = worlds.fresh("changed")
        outcome = worlds.forker.run("backup", world, fail=(point, hit, kind))
        assert outcome.status == "done", outcome
        commits = worlds.examine("changed", world)
        assert worlds.forker.run("backup", world).status == "done"
        worlds.examine_end("changed", world, commits[-1].n)
        worlds.drop(world)


# ---------------------------------------------------------------------- real full disks


def _may_mount() -> bool:
    """Whether this user may mount in a private namespace."""
    done = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        check=False,
        capture_output=True,
    )
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A place for a small file system of its own; skips loudly where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or not _may_mount():
        pytest.skip("mounting is not allowed here (run as root): no real disk was filled")
    yield folder
    while os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


def mounted(disk: Path, size: int) -> None:
    """Put a file system of ``size`` bytes there, or change the size of the one that is there."""
    remount = ["-o", f"remount,size={size}"] if os.path.ismount(disk) else ["-o", f"size={size}"]
    subprocess.run(["mount", "-t", "tmpfs", *remount, "tmpfs", disk], check=True)


def on_disk(disk: Path, part: Path) -> None:
    """Let a folder be on the disk, with all that is in it."""
    place = disk / part.name
    part.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", part, place], check=True)
    place.chmod(0o700)
    subprocess.run(["mount", "--bind", place, part], check=True)


def off_disk(part: Path) -> None:
    """Take the disk away again."""
    if os.path.ismount(part):
        subprocess.run(["umount", part], check=True)


KIB = 1024
ROOM = 64 * 1024 * KIB
SIZES = {
    "store": [4 * KIB, 24 * KIB, 200 * KIB, 2_000 * KIB, 3_700 * KIB],
    "cache": [0, 16 * KIB, 40 * KIB],
    "state": [4 * KIB, 32 * KIB, 72 * KIB],
    "target": [4 * KIB, 100 * KIB, 2_000 * KIB, 4_500 * KIB],
}


@pytest.mark.parametrize(
    ("part", "extra"), [(part, extra) for part, sizes in SIZES.items() for extra in sizes]
)
def test_a_full_disk(worlds: Worlds, disk: Path, part: str, extra: int) -> None:
    """A real file system with little room: exit 21 or no harm, nothing lost, goes on with room."""
    world = worlds.fresh("changed")
    mounted(disk, ROOM)
    on_disk(disk, world.root / part)
    try:
        fill_up(worlds, world, disk, part, extra)
    finally:
        off_disk(world.root / part)
    worlds.drop(world)


def fill_up(worlds: Worlds, world: World, disk: Path, part: str, extra: int) -> None:
    used = shutil.disk_usage(disk).used
    mounted(disk, used + extra)
    operation = "restore" if part == "target" else "backup"
    outcome = worlds.forker.run(operation, world)
    if part == "cache":
        assert outcome.status == "done", outcome
    assert outcome.status == "done" or outcome.exit_code == NO_SPACE, outcome
    assert not outcome.threads
    mounted(disk, ROOM)
    commits = assert_repository_sound(world)
    assert_acknowledged(commits, world.acks())
    older = worlds.older["changed"]
    for commit in commits:
        tree = older.get(commit.n) or worlds.tree(world)
        assert_restores(world, commit, tree, path=world.source)
    if part != "target" or outcome.status != "done":
        again = worlds.forker.run(operation, world)
        assert again.status == "done", again
    commits = assert_repository_sound(world)
    assert_ledger_sound(world, commits)
    if part == "target":
        top = world.target / str(world.source).lstrip("/")
        assert_equal(older[commits[0].n], describe(top), "the target")
    else:
        assert_restores(world, commits[-1], worlds.tree(world), path=world.source)
    assert_tidy(world)
