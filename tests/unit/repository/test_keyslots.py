"""Key slots: only the ones that a session signed count."""

import os

import pytest

from doubles.repositories import new_repository
from drkeeper.crypto.age import encrypt
from drkeeper.crypto.digests import digest
from drkeeper.errors import IntegrityError, KeyNotFoundError
from drkeeper.repository.keyslots import MAX_SLOT_BYTES
from drkeeper.repository.places import KeyClass
from drkeeper.repository.session import open_session

LINEAGE = bytes(range(16))


@pytest.fixture
def opened():
    """A repository with one open session; its keys are not remembered by the reader."""
    made = new_repository()
    session = open_session(made.open(), host=made.keys.host, lineage=LINEAGE)
    return made, session


def spoil(made, session, data):
    """Put other bytes in the place of the slot for data."""
    made.store.objects[session.slots[KeyClass.DATA].name] = data


@pytest.mark.parametrize("how", ["replaced", "flipped", "cut", "swapped", "huge", "absent"])
def test_a_slot_that_was_not_signed_is_refused(opened, how):
    """A slot somebody else encrypted, or damaged, or took away is never opened, and is named."""
    made, session = opened
    name = session.slots[KeyClass.DATA].name
    data = made.store.objects[name]
    recipients = made.keys.keyring.recipients(KeyClass.DATA, session.host)
    match how:
        case "replaced":
            spoil(made, session, encrypt(os.urandom(32), recipients))
        case "flipped":
            spoil(made, session, bytes([*data[:-1], data[-1] ^ 1]))
        case "cut":
            spoil(made, session, data[:-1])
        case "swapped":
            spoil(made, session, made.store.objects[session.slots[KeyClass.META].name])
        case "huge":
            spoil(made, session, bytes(MAX_SLOT_BYTES + 1))
        case _:
            del made.store.objects[name]
    with pytest.raises(IntegrityError) as caught:
        made.open().keys.key(session.id, KeyClass.DATA)
    assert name in str(caught.value)


def test_a_slot_that_holds_no_key_is_refused(opened):
    """A host that signed a slot with anything but 32 bytes gets an error, not a wrong key."""
    made, session = opened
    recipients = made.keys.keyring.recipients(KeyClass.DATA, session.host)
    reader = made.open()
    slot = encrypt(b"short", recipients)
    spoil(made, session, slot)
    state = reader.journal.state
    opened_session = state.sessions[session.id.hex()]
    slots = type(opened_session.keyslots)(
        data=digest(slot).hex(),
        meta=opened_session.keyslots.meta,
        refs=opened_session.keyslots.refs,
    )
    state.sessions[session.id.hex()] = type(opened_session)(
        lineage=opened_session.lineage,
        host=opened_session.host,
        n=opened_session.n,
        keyslots=slots,
        resumes=None,
        keyring=1,
    )
    with pytest.raises(IntegrityError, match="does not hold a key"):
        reader.keys.key(session.id, KeyClass.DATA)


def test_an_unknown_session_has_no_key(opened):
    """Keys of sessions that no live snapshot names are not looked for."""
    made, _ = opened
    with pytest.raises(IntegrityError, match="no live snapshot"):
        made.open().keys.key(bytes(16), KeyClass.META)


def test_slots_are_opened_once(opened):
    """A reader fetches and opens each slot once, however often its key is needed."""
    made, session = opened
    keys = made.open().keys
    assert keys.key(session.id, KeyClass.META) == session.keys.meta
    made.store.requests.clear()
    assert keys.key(session.id, KeyClass.META) == session.keys.meta
    assert made.store.requests == {}


def test_no_identity_at_all_is_said(opened):
    """Without identities the error says which would do, and exits with 12."""
    made, session = opened
    keys = made.open().keys
    keys._identities = ()
    with pytest.raises(KeyNotFoundError) as caught:
        keys.key(session.id, KeyClass.DATA)
    assert caught.value.exit_code == 12
    assert "recovery or verifier" in caught.value.hint
