"""Backups of databases that end at the wrong moment: no lock, no copy and no process stays."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from doubles.databases import assert_agrees, connect, failed, make_bank, probe, take
from doubles.faultpoints import registered_points
from drkeeper import faults
from drkeeper.errors import NoSpaceError, SourceError

POINTS = sorted(name for name in registered_points() if name.startswith("sources.sqlite."))

PROGRAM = """
import sys
from pathlib import Path
from doubles.databases import take
take(Path(sys.argv[1]), spool=Path(sys.argv[2]))
"""


@pytest.fixture
def controlled():
    yield faults.install
    faults.install(None)


def readers(path: Path) -> list[int]:
    """Return the processes that hold a lock on a file, as the kernel says."""
    inode = path.stat().st_ino
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [
        int(words[-4])
        for words in lines
        if words[-3].endswith(f":{inode}") and "READ" in words and int(words[-4]) != os.getpid()
    ]


def caught_reading(running: subprocess.Popen, path: Path) -> int | None:
    """Stop the process that holds the read lock; ``None`` when it was quicker."""
    while running.poll() is None:
        for pid in readers(path):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                if pid in readers(path):
                    return pid
                os.kill(pid, signal.SIGCONT)
    return None


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists():
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":  # nobody reaps orphans in some containers
            return
        assert time.monotonic() < until, "the process outlived the backup"
        time.sleep(0.02)


def test_every_fault_point_leaves_nothing(tmp_path, controlled):
    """Struck anywhere: no copy, no lock; the next backup succeeds."""
    bank, spool = tmp_path / "bank.db", tmp_path / "spool"
    make_bank(bank, "delete").close()
    for name in POINTS:
        reached = []

        def strike(point, name=name, reached=reached):
            if point == name and not reached:
                reached.append(point)
                raise InterruptedError

        controlled(strike)
        with pytest.raises(InterruptedError):
            take(bank, spool=spool)
        controlled(None)

        assert reached, name
        assert not spool.exists() or list(spool.iterdir()) == []
        with closing(connect(bank, timeout=0)) as writing:
            writing.execute("BEGIN EXCLUSIVE")
    assert not failed(probe(take(bank, spool=spool).put(tmp_path / "out"), bank))


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_killed_while_it_copies_it_leaves_no_lock(tmp_path, mode):
    """SIGKILL of drkeeper: the process with the lock ends by itself, and writers go on."""
    bank, spool = tmp_path / "bank.db", tmp_path / "spool"
    # The connection that stays holds no lock; it keeps the log of a WAL where it is.
    keeping = make_bank(bank, mode, rows=30_000)
    locked = bank.with_name("bank.db-shm") if mode == "wal" else bank
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, str(bank), str(spool)]
    for _ in range(20):
        with subprocess.Popen(command, env=environment) as running:
            reader = caught_reading(running, locked)
            running.kill()
        if reader is not None:
            break
    assert reader is not None, "the copy was always quicker"
    os.kill(reader, signal.SIGCONT)

    wait_until_gone(reader)
    assert readers(locked) == []
    keeping.execute("PRAGMA busy_timeout = 0")
    keeping.execute("BEGIN IMMEDIATE")
    keeping.execute("UPDATE account SET balance = balance")
    keeping.execute("COMMIT")
    keeping.close()
    taken = take(bank, spool=spool)
    assert list(spool.iterdir()) == []
    taken.put(tmp_path / "out")
    assert assert_agrees(tmp_path / "out" / str(bank)[1:]) == 30_000


def take_often(bank: Path, spool: Path) -> None:
    """Back up until it fails; a copy may be too quick to be seen."""
    for _ in range(20):
        take(bank, spool=spool)


def test_a_killed_copy_is_an_error_of_the_source(tmp_path):
    """Somebody ends the process that copies: the run fails, says so, and leaves nothing."""
    bank, spool = tmp_path / "bank.db", tmp_path / "spool"
    make_bank(bank, "delete", rows=30_000).close()
    ended = threading.Event()

    def kill():
        while not ended.is_set():
            for pid in readers(bank):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        with pytest.raises(SourceError) as caught:
            take_often(bank, spool)
    finally:
        ended.set()
        killing.join()

    assert "the process that read it died" in str(caught.value)
    assert list(spool.iterdir()) == []
    assert readers(bank) == []


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 1 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("mounting is not allowed here (run as root): a full disk is not tested")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_full_disk_is_an_error_of_its_own(tmp_path, tiny_disk, mode):
    """Seen beforehand by the size of the file, or when it happens by what was in the log."""
    bank = tmp_path / "bank.db"
    with closing(make_bank(bank, mode, rows=3000)) as writing:
        assert (bank.stat().st_size < 1024 * 1024) == (mode == "wal")
        with pytest.raises(NoSpaceError) as caught:
            take(bank, spool=tiny_disk / "spool")
        writing.execute("UPDATE account SET balance = balance")

    assert caught.value.hint
    assert list((tiny_disk / "spool").iterdir()) == []


def test_a_copy_in_use_is_not_swept(tmp_path):
    """Two policies share one directory for copies."""
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    used = spool / "copy-used"
    with used.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        bank = tmp_path / "bank.db"
        make_bank(bank, "delete").close()
        take(bank, spool=spool)
        assert list(spool.iterdir()) == [used]
    take(bank, spool=spool)
    assert list(spool.iterdir()) == []
