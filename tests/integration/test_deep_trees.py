"""Trees deeper than any path name may be long."""

import os
from pathlib import Path

from doubles.backups import new_machine
from drkeeper.clock import SystemClock
from drkeeper.operations.backup import back_up
from drkeeper.operations.restore import RestoreRequest, restore
from drkeeper.operations.restore.syscalls import allow_descriptors
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.repository import open_repository

LEVELS = 10_000


def dig(root: Path, levels: int) -> None:
    """Make directories one below the other, a file in every thousandth."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(levels):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
        if level % 1000 == 999:
            file = os.open("file", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd)
            os.write(file, f"level {level}".encode())
            os.close(file)
    os.close(fd)


def sound(root: Path) -> tuple[int, list[str]]:
    """Go down as far as there are directories; return how far that is, and what the files say."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    levels, said = 0, []
    while True:
        names = os.listdir(fd)
        if "file" in names:
            file = os.open("file", os.O_RDONLY, dir_fd=fd)
            said.append(os.read(file, 100).decode())
            os.close(file)
        if "d" not in names:
            os.close(fd)
            return levels, said
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd, levels = below, levels + 1


def fill_in(root: Path) -> None:
    """Remove the tree from the bottom up, as pytest could not."""
    fds = [os.open(root, os.O_RDONLY | os.O_DIRECTORY)]
    while "d" in (names := os.listdir(fds[-1])):
        if "file" in names:
            os.unlink("file", dir_fd=fds[-1])
        fds.append(os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fds[-1]))
    if "file" in os.listdir(fds[-1]):
        os.unlink("file", dir_fd=fds[-1])
    while len(fds) > 1:
        os.close(fds.pop())
        os.rmdir("d", dir_fd=fds[-1])
    os.close(fds.pop())


def test_ten_thousand_levels_come_back(tmp_path):
    """What the walk reads, the restore writes, however deep; nothing is left out in silence."""
    levels = min(LEVELS, allow_descriptors() - 1000)
    machine = new_machine(tmp_path)
    dig(machine.tree, levels)
    commit = back_up(machine.request()).commit
    repository = open_repository(
        machine.store,
        clock=machine.clock,
        identities=machine.keys.verifier.identities,
        admins=machine.keys.admins,
    )
    target = tmp_path / "out"
    report = restore(
        RestoreRequest(
            reader=SnapshotReader(repository, commit),
            target=os.fsencode(target),
            clock=SystemClock(),
        )
    )
    restored = target / str(machine.tree)[1:]
    try:
        assert sound(restored) == sound(machine.tree)
        assert report.directories >= levels
    finally:
        fill_in(restored)
        fill_in(machine.tree)
