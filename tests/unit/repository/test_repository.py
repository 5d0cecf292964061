"""Making and opening repositories, and what a machine remembers of them."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from doubles.memory_store import MemoryStore
from doubles.repositories import SteppingClock, draft, entry_count, new_repository
from drkeeper.clock import SystemClock
from drkeeper.crypto.age import Identity
from drkeeper.errors import (
    ConfigurationError,
    IntegrityError,
    NoSpaceError,
    RepositoryNotFoundError,
)
from drkeeper.repository.creation import create_repository
from drkeeper.repository.hint import HINT_NAME, read_hint
from drkeeper.repository.journal_entry import entry_name
from drkeeper.repository.keyring import Role
from drkeeper.repository.pin import PinFile
from drkeeper.repository.repository import open_repository, update_keyring
from drkeeper.repository.session import open_session
from drkeeper.storage.folder import FolderStore

LINEAGE = bytes(range(16))


class FullDisk:
    """A place for pins without any room."""

    def save(self, _pin, _copy=None):
        raise NoSpaceError("no space")


def create(store, **options):
    """Make a repository, forgetting its keys."""
    options = {"clock": SteppingClock(), "save": lambda _keys: None} | options
    return create_repository(store, **options)


def add_snapshot(made, repository):
    """Add one snapshot."""
    with open_session(repository, host=made.keys.host, lineage=LINEAGE) as session:
        return session.commit(draft(session.id), tuple)


def test_keys_are_saved_before_anything_is_stored():
    """If the keys cannot be saved, no repository comes into being."""
    store = MemoryStore()

    def full_disk(_keys):
        assert store.objects == {}
        raise ConfigurationError("no")

    with pytest.raises(ConfigurationError):
        create(store, save=full_disk)
    assert store.objects == {}


def test_an_occupied_store_is_refused():
    """No repository is made among other objects, nor over one that exists; nothing changes."""
    store = MemoryStore()
    create(store, capabilities={"conditional_create": True})
    before = dict(store.objects)
    with pytest.raises(ConfigurationError, match="not empty") as caught:
        create(store)
    assert caught.value.hint
    assert store.objects == before
    strange = MemoryStore()
    strange.objects["holiday.jpg"] = b""
    with pytest.raises(ConfigurationError, match="not empty"):
        create(strange)


def test_traces_of_a_probe_and_an_unused_hint_do_not_matter():
    """What an interrupted probe or creation left does not stop a new creation."""
    store = MemoryStore()
    store.objects["probe/ab/x"] = b"x"
    store.objects[HINT_NAME] = b"anything"
    made = create(store, capabilities={"range": True})
    hint = read_hint(store)
    assert (hint.repository, hint.capabilities) == (made.id, {"range": True})


def test_a_write_only_host_has_no_verifier():
    """With write_only no key on the host opens data, and the recovery key does."""
    made = create(MemoryStore(), write_only=True)
    assert made.verifier is None
    roles = {reader.role for reader in made.keyring.readers}
    assert roles == {Role.RECOVERY, Role.HOST, Role.JANITOR}


def test_given_recovery_recipients_are_all_used():
    """With recovery recipients of one's own, none is made, and each is in the keyring."""
    mine = [Identity.generate().recipient for _ in range(2)]
    made = create(MemoryStore(), recovery=mine)
    assert made.recovery is None
    recovery = {r.recipient for r in made.keyring.readers if r.role is Role.RECOVERY}
    assert recovery == {str(recipient) for recipient in mine}


def test_an_absent_repository_is_told_from_a_replaced_one():
    """No hint is exit 10 with a hint; the hint of another repository violates integrity."""
    made = new_repository()
    with pytest.raises(RepositoryNotFoundError) as caught:
        read_hint(MemoryStore())
    assert caught.value.exit_code == 10
    assert "drkeeper init" in caught.value.hint
    assert read_hint(made.store, expected=made.keys.id).repository == made.keys.id
    with pytest.raises(IntegrityError, match="as this machine remembers"):
        made.open(repository_id=bytes(16))


@pytest.mark.parametrize(
    "hint",
    [
        b"",
        b"{}",
        b"[]",
        b'{"format":1}',
        b'{"format":1,"repository":"zz"}',
        b'{"format":1,"format":1,"repository":"' + b"0" * 32 + b'"}',
        b'{"format":2,"repository":"' + b"0" * 32 + b'"}',
        b'{"format":true,"repository":"' + b"0" * 32 + b'"}',
        b'{"format":1,"repository":"' + b"0" * 32 + b'","capabilities":[]}',
        b'{"format":1,"repository":"%b","capabilities":{"a":%b},"digest":""}'
        % (b"0" * 32, b"[" * 600 + b"]" * 600),
        b"x" * (1024 * 1024 + 1),
    ],
    ids=range(11),
)
def test_a_malformed_hint_is_an_integrity_violation(hint):
    """Nothing unexpected in the unauthenticated hint gets further than a typed error."""
    store = MemoryStore()
    store.objects[HINT_NAME] = hint
    with pytest.raises(IntegrityError):
        read_hint(store)


def test_no_admin_key_no_trust():
    """Without a pin and without an admin key nothing is believed."""
    made = new_repository()
    with pytest.raises(ConfigurationError, match="no admin key") as caught:
        open_repository(made.store, clock=SteppingClock())
    assert "recovery kit" in caught.value.hint


def test_the_pin_makes_opening_short_and_rollback_visible(tmp_path):
    """A machine that remembers reads two entries to open, needs no admin key, and sees rollback."""
    made = new_repository()
    state_dir = str(tmp_path)
    repository = made.open()
    for _ in range(20):
        commit = add_snapshot(made, repository)
    made.open(state_dir=state_dir)
    made.store.requests.clear()
    again = open_repository(made.store, clock=SteppingClock(), state_dir=state_dir)
    assert again.live_commits()[-1] == commit
    assert made.store.requests["get"] <= 12
    assert again.journal.state.to_checkpoint() == repository.journal.state.to_checkpoint()
    for n in range(commit.n - 4, commit.n + 1):
        del made.store.objects[entry_name(n)]
    with pytest.raises(IntegrityError, match="rolled back"):
        open_repository(made.store, clock=SteppingClock(), state_dir=state_dir)


@pytest.mark.parametrize("damage", ["absent", "flipped", "truncated", "empty", "of another time"])
def test_a_damaged_copy_of_the_state_only_costs_time(tmp_path, damage):
    """Whatever happens to the local copy of the state, the journal says what is true."""
    made = new_repository()
    repository = made.open()
    path = os.path.join(tmp_path, "repositories", f"{made.keys.id.hex()}.state")
    copies = []
    for _ in range(2):
        for _ in range(17):
            add_snapshot(made, repository)
        made.open(state_dir=str(tmp_path))
        with open(path, "rb") as file:
            copies.append(file.read())
    older, data = copies
    replaced = {
        "flipped": bytes([data[0], data[1] ^ 1, *data[2:]]),
        "truncated": data[:-1],
        "empty": b"",
        "of another time": older,
    }
    os.unlink(path)
    if damage in replaced:
        with open(path, "wb", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(replaced[damage])
    again = open_repository(made.store, clock=SteppingClock(), state_dir=str(tmp_path))
    assert again.live_commits() == repository.live_commits()
    assert again.journal.state.to_checkpoint() == repository.journal.state.to_checkpoint()


@pytest.mark.parametrize(
    "pin", [b"", b"{}", b"[]", b"\x00", b'{"format":1,"format":1}'], ids=range(5)
)
def test_a_damaged_pin_is_never_ignored(tmp_path, pin):
    """A pin that cannot be read stops everything: ignoring it would allow a rollback."""
    made = new_repository()
    made.open(state_dir=str(tmp_path))
    path = PinFile(str(tmp_path), made.keys.id).path
    with open(path, "wb") as file:
        file.write(pin)
    with pytest.raises(ConfigurationError, match="damaged") as caught:
        made.open(state_dir=str(tmp_path))
    assert caught.value.hint


def test_pins_are_private_and_never_go_back(tmp_path):
    """Pin and copy are for their owner only, and an older mark never replaces a newer one."""
    made = new_repository()
    first = made.open(state_dir=str(tmp_path))
    second = made.open(state_dir=str(tmp_path))
    for _ in range(2):
        add_snapshot(made, first)
    file = PinFile(str(tmp_path), made.keys.id)
    newest = file.load()
    assert newest.high_water.n == first.journal.state.n
    second.memory.saved = 0
    second.remember()
    assert file.load() == newest
    for name in os.listdir(tmp_path / "repositories"):
        mode = (tmp_path / "repositories" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE((tmp_path / "repositories").stat().st_mode) == 0o700


def test_an_old_pin_is_enough_on_a_full_disk(tmp_path):
    """It goes on guarding what it knows of, and rises when there is room; the first one must be written."""
    made = new_repository()
    opened = made.open(state_dir=str(tmp_path))
    saved = opened.memory.saved
    room, opened.memory.file = opened.memory.file, FullDisk()
    add_snapshot(made, opened)
    opened.refresh()
    assert opened.journal.state.n > opened.memory.saved == saved
    opened.memory.file = room
    opened.refresh()
    assert opened.memory.saved == opened.journal.state.n
    opened.memory.file, opened.memory.saved = FullDisk(), 0
    with pytest.raises(NoSpaceError):
        opened.refresh()


def test_keyring_changes_need_an_admin_and_count_up():
    """Only an admin changes the keyring; each change is the next version."""
    made = new_repository()
    repository = made.open()
    more = Identity.generate().recipient
    with pytest.raises(ConfigurationError, match="may not keyring"):
        update_keyring(repository, made.keys.host.signing_key, lambda ring: ring)
    admin = made.keys.admin.signing_key
    changed = update_keyring(repository, admin, lambda ring: ring.with_reader(more, Role.RECOVERY))
    assert changed.version == 2
    assert str(more) in {reader.recipient for reader in changed.readers}
    back = update_keyring(repository, admin, lambda ring: ring.without_reader(str(more)))
    assert back.version == 3
    with pytest.raises(ConfigurationError, match="no recovery recipient"):
        update_keyring(
            repository,
            admin,
            lambda ring: ring.without_reader(
                next(r.recipient for r in ring.readers if r.role is Role.RECOVERY)
            ),
        )
    assert made.open().keyring == back


def test_sixteen_writers_at_once(tmp_path):
    """Every commit that was acknowledged is in the journal, which is gapless and legal."""
    store = FolderStore(str(tmp_path / "repository"), create=True)
    keys = create_repository(store, clock=SystemClock(), save=lambda _keys: None)

    def write(number):
        repository = open_repository(
            FolderStore(str(tmp_path / "repository")), clock=SystemClock(), admins=keys.admins
        )
        made = []
        for _ in range(4):
            with open_session(repository, host=keys.host, lineage=bytes([number]) * 16) as session:
                made.append(session.commit(draft(session.id), tuple))
        return made

    with ThreadPoolExecutor(16) as pool:
        acknowledged = [commit for made in pool.map(write, range(16)) for commit in made]
    repository = open_repository(store, clock=SystemClock(), admins=keys.admins)
    assert sorted(acknowledged, key=lambda commit: commit.n) == repository.live_commits()
    numbers = [int(info.key[-16:]) for info in store.entries("journal/")]
    assert numbers == list(range(1, 1 + 1 + 16 * 4 * 2))
    assert repository.journal.voids == ()
    assert repository.journal.state.sessions == {}


def test_the_hint_is_plain_json():
    """People and tools can read from the hint what is here."""
    made = new_repository()
    hint = json.loads(made.store.objects[HINT_NAME])
    assert hint.pop("digest")
    assert hint == {"format": 1, "repository": made.keys.id.hex(), "capabilities": {}}
    assert entry_count(made.store) == 1
