"""Where a fresh reader begins: at a checkpoint only if its signer could do no further harm."""

import pytest

from doubles.memory_store import MemoryStore
from doubles.repositories import Fixture, draft, new_repository
from drkeeper.crypto.digests import digest
from drkeeper.errors import IntegrityError
from drkeeper.repository.creation import new_host_key, with_host
from drkeeper.repository.journal_damage import FindingKind
from drkeeper.repository.journal_entry import entry_name
from drkeeper.repository.journal_objects import JournalObjects
from drkeeper.repository.journal_start import WORTH_IT, find_start
from drkeeper.repository.pin import HighWater
from drkeeper.repository.repository import update_keyring
from drkeeper.repository.session import open_session

LINEAGE = bytes(range(16))


@pytest.fixture(scope="module")
def long_journal():
    """A journal long enough for checkpoints, with two keyrings; its last one is a janitor's."""
    made = new_repository()
    repository = made.open()
    second = new_host_key(made.keys.id)
    with open_session(repository, host=made.keys.host, lineage=LINEAGE) as session:
        session.commit(draft(session.id), tuple)
    update_keyring(repository, made.keys.admin.signing_key, lambda ring: with_host(ring, second))
    with open_session(repository, host=second, lineage=bytes(16)) as session:
        session.commit(draft(session.id), tuple)
    janitor = made.keys.janitor.signing_key
    while repository.journal.read_to < WORTH_IT + 10:
        objects = [f"packs/{repository.journal.read_to:032x}"]
        repository.journal.append("condemn", {"objects": objects}, janitor)
    return made, repository


@pytest.fixture
def made(long_journal):
    """A copy of the long journal that a test may spoil."""
    original, _ = long_journal
    return Fixture(original.store.copy(), original.keys)


def begin(made):
    """Return the number of the checkpoint a fresh reader starts at, if any."""
    start = find_start(JournalObjects(made.store), made.keys.id, made.keys.admins)
    return None if start is None else start.state.n


def test_a_checkpoint_and_everything_end_alike(made, long_journal):
    """A reader that starts at a checkpoint reads little and knows the same."""
    _, repository = long_journal
    made.store.requests.clear()
    quick, full = made.journal(), made.journal(full=True)
    quick.refresh()
    assert made.store.requests["get"] < 40
    full.refresh()
    assert quick.state.to_checkpoint() == full.state.to_checkpoint()
    assert quick.commits() == full.commits() == repository.live_commits()
    assert begin(made) == WORTH_IT


def test_a_commit_that_the_checkpoint_names_is_verified(made):
    """A live commit that is not the one whose digest the checkpoint holds is refused."""
    quick = made.journal()
    quick.refresh()
    made.store.objects[entry_name(3)] = made.store.objects[entry_name(2)]
    with pytest.raises(IntegrityError, match="entry 3 is missing or not the one"):
        quick.commits()


def replace_checkpoint(made, signer, **changes):
    """Put another checkpoint in the place of the newest, as a hostile store could."""
    before = made.journal(full=True)
    lines = MemoryStore()
    lines.objects = {
        name: data
        for name, data in made.store.objects.items()
        if name < entry_name(WORTH_IT) or not name.startswith("journal/")
    }
    before = Fixture(lines, made.keys).journal(full=True)
    before.refresh()
    state = before.state.to_checkpoint() | changes
    made.store.objects[entry_name(WORTH_IT)] = made.forge(
        WORTH_IT, "checkpoint", {"state": state}, prev=before.state.digest, signer=signer
    )


def test_a_hosts_checkpoint_is_no_place_to_start(made):
    """A host cannot hide the snapshots of others from a new reader: its checkpoint is not used."""
    replace_checkpoint(made, made.keys.host.signing_key, commits=[])
    assert begin(made) != WORTH_IT


def test_a_janitor_cannot_forge_the_keyring(made):
    """A checkpoint with a keyring that no admin signed is not used."""
    forged = made.keys.keyring.to_json() | {"admins": ["0" * 64]}
    replace_checkpoint(made, made.keys.janitor.signing_key, keyring=forged)
    assert begin(made) != WORTH_IT


@pytest.mark.parametrize(
    "keyrings",
    [[], [[1, "0" * 64]], [[2, "0" * 64]], "all but the last"],
    ids=["none", "other creation", "no creation", "all but the last"],
)
def test_every_keyring_must_be_named_and_proven(made, keyrings):
    """A checkpoint that leaves a keyring out, or names another, is not used."""
    if keyrings == "all but the last":
        journal = made.journal(full=True)
        journal.refresh()
        keyrings = [list(item) for item in journal.state.keyrings[:-1]]
    replace_checkpoint(made, made.keys.janitor.signing_key, keyrings=keyrings)
    assert begin(made) != WORTH_IT


def test_an_admin_that_is_not_trusted_gives_no_start(made):
    """Without a trusted creation there is no start at all."""
    assert find_start(JournalObjects(made.store), made.keys.id, ["0" * 64]) is None


def test_the_end_is_found_by_few_requests(made, long_journal):
    """Powers of two and bisection find the end without listing the journal."""
    _, repository = long_journal
    made.store.requests.clear()
    assert JournalObjects(made.store).find_end() == repository.journal.read_to
    assert made.store.requests["info"] < 30
    assert "entries" not in made.store.requests


def test_a_start_after_the_high_water_mark_still_compares_it(made, long_journal):
    """What was seen here before is looked for also when reading begins at a later checkpoint."""
    _, repository = long_journal
    genuine = HighWater(5, digest(made.store.objects[entry_name(5)]))
    journal = made.journal(high_water=genuine)
    journal.refresh()
    assert journal.state.n == repository.journal.state.n
    with pytest.raises(IntegrityError, match="entry 5 is not the one that was seen before"):
        made.journal(high_water=HighWater(5, bytes(32))).refresh()
    del made.store.objects[entry_name(5)]
    with pytest.raises(IntegrityError, match="entry 5 was seen before and is missing"):
        made.journal(high_water=genuine).refresh()


@pytest.mark.parametrize("what", ["session", "commit", "promise", "hold", "id"])
def test_a_checkpoint_that_contradicts_itself_is_no_place_to_start(made, what):
    """Even a janitor cannot make a reader stumble: a state that nothing leads to is not used."""
    journal = made.journal(full=True)
    journal.refresh()
    state = journal.state.to_checkpoint()
    lineage = next(iter(state["lineages"]))
    ghost = {
        "lineage": "f" * 32,
        "host": "f" * 32,
        "n": 2,
        "keyslots": {"data": "0" * 64, "meta": "0" * 64, "refs": "0" * 64},
        "resumes": None,
        "keyring": 1,
    }
    changes = {
        "session": {"sessions": {"0" * 32: ghost}},
        "commit": {"keyslots": {}},
        "promise": {
            "lineages": state["lineages"] | {lineage: state["lineages"][lineage] | {"next_due": ""}}
        },
        "hold": {"holds": {"3": "tomorrow"}},
        "id": {"lineages": state["lineages"] | {"x": state["lineages"][lineage]}},
    }
    replace_checkpoint(made, made.keys.janitor.signing_key, **changes[what])
    assert begin(made) != WORTH_IT


def test_one_damaged_commit_stops_only_those_who_need_it(made, tmp_path):
    """A live commit that is damaged behind a checkpoint: the journal opens, the others are read."""
    made.store.objects[entry_name(3)] = b"damaged"
    repository = made.open(state_dir=str(tmp_path))
    with pytest.raises(IntegrityError, match="entry 3 is missing or not the one"):
        repository.live_commits()
    sound = [n for n in repository.journal.state.commits if n != 3]
    assert [repository.journal.commit(n).n for n in sound] == sound
    salvaged = made.open(salvage=True)
    assert [commit.n for commit in salvaged.live_commits()] == sound
    (finding,) = salvaged.journal.findings
    assert (finding.kind, finding.n) == (FindingKind.ALTERED, 3)
    # What is remembered here must not make up for what is missing there.
    with pytest.raises(IntegrityError, match="entry 3 is missing or not the one"):
        made.open(state_dir=str(tmp_path)).live_commits()


def test_commits_behind_a_checkpoint_are_read_once_and_remembered(made, tmp_path):
    """The entries of live commits are read when a machine opens a repository first, never again."""
    repository = made.open(state_dir=str(tmp_path))
    wanted = repository.live_commits()
    made.store.requests.clear()
    assert repository.live_commits() == wanted
    assert made.store.requests == {}
    again = made.open(state_dir=str(tmp_path))
    assert again.live_commits() == wanted
    assert made.store.requests["get"] <= 2
