"""Databases through a repository and back."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from doubles.backups import new_machine
from doubles.databases import (
    assert_agrees,
    connect,
    failed,
    make_bank,
    probe,
    source_of,
    writers,
)
from drkeeper.operations.restore.request import Overwrite, RestoreRequest
from drkeeper.operations.restore.run import restore
from drkeeper.repository.reader import SnapshotReader
from drkeeper.sources.base import RestoredTree


@pytest.fixture
def machine(tmp_path):
    return new_machine(tmp_path)


def backed_up(machine, bank: Path):
    source = source_of(bank, spool=machine.base / "spool", clock=machine.clock)
    return machine.back_up(source=source)


def request_of(machine, report, target: Path, **options: object) -> RestoreRequest:
    snapshot = machine.snapshot(report.commit)
    reader = SnapshotReader(snapshot.repository, report.commit)
    return RestoreRequest(reader, os.fsencode(target), machine.clock, **options)


def test_a_database_comes_back_through_a_plain_restore(machine, tmp_path):
    """Backed up while it is written to, restored by what knows files only, proven exactly."""
    bank = tmp_path / "bank.db"
    make_bank(bank).close()
    bank.chmod(0o640)
    with writers(bank):
        report = backed_up(machine, bank)
    target = tmp_path / "target"
    restore(request_of(machine, report, target))
    place = target / str(bank)[1:]

    tree = RestoredTree(os.fsencode(target), report.consistent_at)
    assert not failed(probe(tree, bank))
    assert place.stat().st_mode & 0o777 == 0o640
    assert assert_agrees(place) >= 200


def test_what_lay_beside_an_old_database_is_not_applied_to_the_new_one(machine, tmp_path):
    """Restored over a database whose program died, with its log beside it."""
    bank = tmp_path / "bank.db"
    with closing(make_bank(bank)) as writing:
        report = backed_up(machine, bank)
        writing.execute("DELETE FROM movement")
        target = tmp_path / "target"
        old = (target / str(bank)[1:]).parent
        old.mkdir(parents=True)
        for name in ("bank.db", "bank.db-wal"):  # as after a power cut
            (old / name).write_bytes(bank.with_name(name).read_bytes())
    assert (old / "bank.db-wal").stat().st_size
    restore(request_of(machine, report, target, overwrite=Overwrite.ALWAYS, confirmed=True))

    assert assert_agrees(old / "bank.db") == 200


def test_a_second_snapshot_stores_what_is_new(machine, tmp_path):
    """Pages lie where they lay, so a few changed rows cost a few chunks."""
    bank = tmp_path / "bank.db"
    make_bank(bank, "delete", rows=12_000).close()
    first = backed_up(machine, bank)
    with closing(connect(bank)) as writing:
        writing.execute("UPDATE account SET balance = balance + 0")
        writing.execute("UPDATE movement SET pad = zeroblob(700) WHERE id = 6000")
    second = backed_up(machine, bank)

    assert second.read_bytes == pytest.approx(first.read_bytes, rel=0.01)
    assert second.new_bytes < first.new_bytes / 2
    assert second.warnings == 0
