"""Snapshots outlive the commits of the sessions whose objects they need."""

from datetime import timedelta

import pytest

from doubles.backups import Machine, new_machine
from drkeeper.errors import IntegrityError
from drkeeper.operations.backup import back_up
from drkeeper.repository.commit import Commit
from drkeeper.repository.places import KeyClass


@pytest.fixture
def machine(tmp_path) -> Machine:
    return new_machine(tmp_path)


def next_backup(machine: Machine, name: str, data: bytes) -> Commit:
    machine.clock.advance(timedelta(hours=1))
    machine.write(name, data)
    return back_up(machine.request()).commit


def expire(machine: Machine, n: int) -> None:
    body = {"commits": [n], "reason": "test"}
    machine.repository().journal.append("expire", body, machine.keys.janitor.signing_key)


def test_key_slots_of_an_expired_session_are_proven_by_the_snapshots_that_need_it(machine):
    """The journal forgets the session; the snapshot that needs its packs signs what its slots are."""
    first = next_backup(machine, "old", b"kept from the first run" * 40_000)
    second = next_backup(machine, "new", b"written later" * 40_000)
    expire(machine, first.n)
    repository = machine.repository()
    assert repository.journal.state.slots_of(first.session.hex()) is None
    row = repository.keys.slots(first.session)
    assert row.session == first.session
    assert len(repository.keys.key(first.session, KeyClass.META)) == 32
    # And the next snapshot, made when only the second one said so, says it in turn.
    next_backup(machine, "newer", b"later still" * 40_000)
    expire(machine, second.n)
    assert machine.repository().keys.slots(first.session) == row


def test_a_session_that_no_snapshot_needs_is_unknown(machine):
    """What nothing signed proves is not used."""
    next_backup(machine, "only", b"here")
    with pytest.raises(IntegrityError, match="needed by no live snapshot"):
        machine.repository().keys.key(bytes(16), KeyClass.META)


def test_an_exchanged_key_slot_is_refused_after_expiry_too(machine):
    """The digest in the snapshot's table is compared like the one in the journal."""
    first = next_backup(machine, "old", b"kept from the first run" * 40_000)
    next_backup(machine, "new", b"written later" * 40_000)
    expire(machine, first.n)
    row = machine.repository().keys.slots(first.session)
    path = (
        machine.base
        / "repository/keyslots"
        / first.session.hex()
        / f"{row.keyring}.{KeyClass.META.value}.age"
    )
    path.write_bytes(path.with_name(f"{row.keyring}.refs.age").read_bytes())
    with pytest.raises(IntegrityError, match="not the key slot that its session signed"):
        machine.repository().keys.key(first.session, KeyClass.META)
