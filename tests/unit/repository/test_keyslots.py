"""Key slots: only the ones that a session signed count."""

import os
from dataclasses import replace

import pytest

from doubles.repositories import SteppingClock, draft, new_repository
from drkeeper.crypto.age import encrypt
from drkeeper.crypto.digests import digest
from drkeeper.crypto.sealing import Header, Kind, seal
from drkeeper.errors import IntegrityError, KeyNotFoundError
from drkeeper.repository.creation import new_host_key, with_host
from drkeeper.repository.keyslots import MAX_SLOT_BYTES
from drkeeper.repository.parts import PartWriter
from drkeeper.repository.places import Codec, KeyClass, object_name
from drkeeper.repository.refs import RefsRoot, SlotRow, encode_root
from drkeeper.repository.repository import open_repository, update_keyring
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


# -- sessions that the journal has forgotten


def lists(made, session, rows, *, under=None):
    """Store the list of what a snapshot needs, naming the key slots of older sessions."""
    stored = []

    def emit(object_id, plain):
        header = Header(Kind.REFS, made.keys.id, session.id, object_id)
        name = object_name("refs", object_id)
        made.store.objects[name] = seal(session.keys.refs, header, plain)
        stored.append(name)

    writer = PartWriter(session.id, emit)
    data = encode_root(RefsRoot(tuple(rows), ()))
    where = writer.append(data, plain=len(data), codec=Codec.RAW, part_digest=digest(data))
    writer.flush()
    return replace(where, session=under or session.id), stored[0]


def row_of(session, **changes):
    """Return what an honest snapshot says of a session, or something else."""
    slots = {each.value: slot.digest for each, slot in session.slots.items()}
    return SlotRow(**({"session": session.id, "keyring": 2} | slots | changes))


class Story:
    """Two hosts; the first has a session whose only commit has expired."""

    def __init__(self):
        self.made = new_repository()
        self.other = new_host_key(self.made.keys.id)
        self.repository = self.made.open()
        admin = self.made.keys.admin.signing_key
        update_keyring(self.repository, admin, lambda keyring: with_host(keyring, self.other))
        self.old = self.snapshot(self.made.keys.host)
        n = max(self.repository.journal.state.commits)
        self.needing = self.snapshot(self.made.keys.host, [self.old])
        janitor = self.made.keys.janitor.signing_key
        self.repository.journal.append("expire", {"commits": [n], "reason": ""}, janitor)

    def snapshot(self, host, needs=(), *, rows=None, under=None):
        """Commit a snapshot of a host that needs older sessions."""
        lineage = LINEAGE if host is self.made.keys.host else host.host
        with open_session(self.repository, host=host, lineage=lineage) as session:
            rows = [row_of(old) for old in needs] if rows is None else rows
            refs, self.list_name = lists(self.made, session, rows, under=under)
            session.commit(draft(session.id, refs=refs), tuple)
        return session

    def keys(self, host=None):
        """Return what a reader knows who has the key of a host, or a verifier's."""
        options = {} if host is None else {"identities": host.identities}
        made = self.made
        return open_repository(
            made.store,
            clock=SteppingClock(),
            **({"identities": made.keys.verifier.identities, "admins": made.keys.admins} | options),
        ).keys


def test_a_forgotten_session_is_opened_by_the_word_of_a_snapshot_that_needs_it():
    """When all commits of a session have expired, a later snapshot says which slots are genuine."""
    story = Story()
    assert story.old.id.hex() not in story.repository.journal.state.keyslots
    assert story.keys().key(story.old.id, KeyClass.META) == story.old.keys.meta
    assert story.keys().slots(story.old.id) == row_of(story.old)


def test_lists_of_other_hosts_are_no_obstacle():
    """A host finds its forgotten sessions although it cannot open what other hosts need."""
    story = Story()
    story.snapshot(story.other)
    host = story.made.keys.host
    assert story.keys(host).key(story.old.id, KeyClass.META) == story.old.keys.meta
    with pytest.raises(KeyNotFoundError):
        story.keys(story.other).key(story.old.id, KeyClass.META)


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_damaged_list_is_no_obstacle(how):
    """A list that cannot be read has no word; the next snapshot is asked."""
    story = Story()
    story.snapshot(story.made.keys.host, [story.old])
    if how == "gone":
        del story.made.store.objects[story.list_name]
    else:
        story.made.store.objects[story.list_name] = b"damaged"
    assert story.keys().key(story.old.id, KeyClass.DATA) == story.old.keys.data


@pytest.mark.parametrize("lie", [{"keyring": 7}, {"data": bytes(32)}], ids=["name", "digest"])
def test_a_host_that_lies_about_a_session_closes_nothing(lie):
    """When snapshots disagree about key slots, the word that fits what is stored is taken."""
    story = Story()
    story.snapshot(story.other, rows=[row_of(story.old, **lie)])
    keys = story.keys()
    assert keys.key(story.old.id, KeyClass.DATA) == story.old.keys.data
    name = story.old.slots[KeyClass.REFS].name
    story.made.store.objects[name] = b"altered"
    with pytest.raises(IntegrityError):
        keys.key(story.old.id, KeyClass.REFS)


def test_a_list_that_needs_itself_to_be_read_is_refused():
    """A host may commit a list in an unknown session's name; asking for that session ends."""
    story = Story()
    ghost = bytes(16)
    story.snapshot(story.other, under=ghost)
    with pytest.raises(IntegrityError):
        story.keys().key(ghost, KeyClass.META)
    assert story.keys().key(story.old.id, KeyClass.META) == story.old.keys.meta
