"""How much a run has written."""

import os
from pathlib import Path

from doubles.clock import FakeClock
from drkeeper.scratch.disk import DiskWatch

MIB = 1024**2


def test_only_what_is_new_counts(tmp_path: Path) -> None:
    """What was restored before the run began is not its doing; what it changes and adds is."""
    (tmp_path / "restored").write_bytes(b"x" * 4 * MIB)
    tmp = tmp_path / "tmp"
    while True:  # the file system's clock may stand still for some milliseconds
        tmp.mkdir()
        if tmp.stat().st_ctime_ns > (tmp_path / "restored").stat().st_ctime_ns:
            break
        tmp.rmdir()
    watch = DiskWatch([tmp, tmp_path], MIB, FakeClock())
    assert watch.written() < MIB
    (tmp / "new").write_bytes(b"x" * MIB)
    assert MIB <= watch.written() < 2 * MIB


def test_names_and_links_count_once(tmp_path: Path) -> None:
    """A file with two names takes its room once; one without a name takes it all the same."""
    watch = DiskWatch([tmp_path], 10 * MIB, FakeClock())
    (tmp_path / "one").write_bytes(b"x" * MIB)
    os.link(tmp_path / "one", tmp_path / "two")
    assert watch.written() < 2 * MIB
    with open(tmp_path / "third", "wb") as file:
        file.write(b"x" * 3 * MIB)
        file.flush()
        os.unlink(tmp_path / "third")
        assert watch.written() < 2 * MIB
        assert watch.written([os.getpid()]) >= 4 * MIB
