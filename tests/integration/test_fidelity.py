"""What comes back is what was there, judged by programs that are not ours."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import trees
from doubles.backups import Machine, new_machine
from drkeeper.clock import SystemClock
from drkeeper.operations.restore import RestoreRequest, restore
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import open_repository
from services import program, require

pytestmark = pytest.mark.integration

_FORMAT = r"%P %y %m %U %G %n %s %T@ %l\0"
"""Path, type, mode, owners, links, size, time to the nanosecond, link target."""


def _listing(root: Path) -> list[bytes]:
    found = subprocess.run(
        ["find", ".", "-mindepth", "1", "!", "-type", "s", "-printf", _FORMAT],
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout
    lines = found.split(b"\0")
    # The size of a directory is the file system's own affair.
    return sorted(
        b" ".join(line.split(b" ")[:-3] + line.split(b" ")[-2:]) if b" d " in line else line
        for line in lines
    )


def _attributes(root: Path) -> bytes:
    return subprocess.run(
        ["getfattr", "-R", "-P", "-h", "-d", "-m-", "-e", "hex", "."],
        cwd=root,
        check=False,
        capture_output=True,
    ).stdout


def _data_of(path: Path) -> list[tuple[int, bytes]]:
    """Return the runs of data of a file with holes."""
    runs = []
    with path.open("rb") as file:
        at = 0
        while True:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return runs
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            runs.append((start, os.pread(file.fileno(), at - start, start)))


def _bottom(path: Path) -> tuple[int, bytes]:
    """Return how deep a branch goes, and what is in its last file."""
    depth = 0
    fd = os.open(path, os.O_RDONLY)
    while True:
        (name,) = os.listdir(fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
        depth += 1
        if not os.path.isdir(f"/proc/self/fd/{fd}"):
            content = os.read(fd, 100)
            os.close(fd)
            return depth, content


def compare(one: Path, other: Path) -> None:
    """Compare two trees with rsync, find and getfattr."""
    difference = subprocess.run(
        [
            "rsync",
            "-naHAXcS",
            "--numeric-ids",
            "--delete",
            "-i",
            # rsync cannot go that deep, and would read the terabyte of zeros for minutes.
            "--exclude=/deep/*",
            "--exclude=/holes/huge",
            f"{one}/",
            f"{other}/",
        ],
        check=True,
        capture_output=True,
    ).stdout
    # Sockets are made by programs, and not restored.
    lines = [line for line in difference.splitlines() if not line.endswith(b" socket")]
    assert lines == []
    assert _listing(one) == _listing(other)
    assert _data_of(one / "holes" / "huge") == _data_of(other / "holes" / "huge")
    assert _bottom(one / "deep") == _bottom(other / "deep")
    assert sorted(_attributes(one).split(b"\n\n")) == sorted(_attributes(other).split(b"\n\n"))


def back_up_and_restore(machine: Machine, target: Path) -> None:
    """Back the tree up, and restore all of it."""
    report = machine.back_up()
    repository = open_repository(
        machine.store,
        clock=machine.clock,
        identities=machine.keys.verifier.identities,
        admins=machine.keys.admins,
    )
    restore(
        RestoreRequest(
            SnapshotReader(repository, report.commit),
            os.fsencode(target),
            SystemClock(),
            privileged=os.geteuid() == 0,
        )
    )


@contextmanager
def mounted(folder: Path, kind: str) -> Iterator[Path]:
    """Mount a fresh file system of a kind from a file."""
    make = program(f"mkfs.{kind}")
    require(f"mkfs.{kind}", present=make is not None)
    image = folder / "image"
    with image.open("wb") as file:
        file.truncate(400 * trees.MIB)
    subprocess.run([make, "-q", image], check=True, capture_output=True)
    at = folder / "mounted"
    at.mkdir()
    done = subprocess.run(["mount", "-o", "loop", image, at], check=False, capture_output=True)
    require(f"loop mounts of {kind}", present=done.returncode == 0)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


def test_everything_comes_back(tmp_path):
    """A tree that holds everything comes back without a difference on the same file system."""
    require("rsync", programs=("rsync", "getfattr", "find"))
    machine = new_machine(tmp_path)
    trees.build_everything(machine.tree, privileged=os.geteuid() == 0)
    back_up_and_restore(machine, tmp_path / "restored")
    compare(machine.tree, tmp_path / "restored" / str(machine.tree)[1:])


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_everything_comes_back_elsewhere(kind, tmp_path):
    """The same tree, made and restored on each common file system, comes back without a difference."""
    require("rsync", programs=("rsync", "getfattr", "find"))
    require("loop mounts", present=os.geteuid() == 0)
    with mounted(tmp_path, kind) as at:
        machine = new_machine(at)
        trees.build_everything(machine.tree, privileged=True)
        back_up_and_restore(machine, at / "restored")
        compare(machine.tree, at / "restored" / str(machine.tree)[1:])
