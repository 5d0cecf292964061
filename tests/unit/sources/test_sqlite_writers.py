"""Backups of databases that others are writing to."""

import pytest

from doubles.databases import assert_agrees, failed, make_bank, probe, take, writers


@pytest.mark.parametrize("mode", ["wal", "delete", "truncate", "persist"])
def test_every_backup_is_a_committed_state(tmp_path, mode):
    """Two programs write; every copy holds whole transactions and all that was acknowledged."""
    bank, spool = tmp_path / "bank.db", tmp_path / "spool"
    make_bank(bank, mode).close()
    with writers(bank) as writing:
        for number in range(6):
            taken = take(bank, spool=spool)
            root = tmp_path / f"out-{number}"
            restored = taken.put(root)

            assert not failed(probe(restored, bank))  # no false alarm
            newest = assert_agrees(root / str(bank)[1:])
            assert writing.acknowledged(taken.consistent_at) <= newest
            assert list(spool.iterdir()) == []
    assert assert_agrees(bank) == writing.acknowledged()


def test_writers_are_not_held_up_by_a_copy_of_a_log(tmp_path):
    """With a write-ahead log, programs write on while the copy is made."""
    bank = tmp_path / "bank.db"
    make_bank(bank, "wal", rows=20_000).close()
    with writers(bank) as writing:
        before = writing.acknowledged()
        take(bank, spool=tmp_path / "spool")

        assert writing.acknowledged() > before
