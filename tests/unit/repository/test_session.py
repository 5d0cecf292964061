"""Sessions: opening, committing, being ended by others."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from doubles.memory_store import FaultyStore
from doubles.repositories import draft, entry_count, new_repository
from drkeeper.errors import (
    ConfigurationError,
    FencedError,
    KeyNotFoundError,
    StorageUnavailableError,
)
from drkeeper.repository.commit import stale_lineages
from drkeeper.repository.creation import new_host_key, with_host
from drkeeper.repository.keyring import Role
from drkeeper.repository.places import KeyClass
from drkeeper.repository.repository import update_keyring
from drkeeper.repository.session import CondemnedError, open_session

LINEAGE = bytes(range(16))


def nothing():
    return ()


def unplug(repository, made):
    """Take the store away, and fail."""
    repository.journal._store = FaultyStore(made.store, lambda *_: "refused")
    repository.journal._objects._store = repository.journal._store
    raise ZeroDivisionError


def test_commit_makes_a_snapshot_exist():
    """A commit that was acknowledged is found by whoever opens the repository next."""
    made = new_repository()
    repository = made.open()
    with open_session(repository, host=made.keys.host, lineage=LINEAGE) as session:
        commit = session.commit(draft(session.id), nothing)
    assert (commit.seq, commit.previous, commit.session) == (1, 0, session.id)
    assert made.open().live_commits(LINEAGE) == [commit]
    assert made.open().live_commits(bytes(16)) == []
    assert entry_count(made.store) == 3


def test_commits_of_a_lineage_are_numbered_and_linked():
    """Each commit of a lineage follows the one before, whatever session made it."""
    made = new_repository()
    commits = []
    for _ in range(3):
        with open_session(made.open(), host=made.keys.host, lineage=LINEAGE) as session:
            commits.append(session.commit(draft(session.id), nothing))
    assert [commit.seq for commit in commits] == [1, 2, 3]
    assert [commit.previous for commit in commits] == [0, commits[0].n, commits[1].n]


def test_partial_commits_keep_the_session_open():
    """A session may commit in part any number of times before its complete commit ends it."""
    made = new_repository()
    repository = made.open()
    with open_session(repository, host=made.keys.host, lineage=LINEAGE) as session:
        session.commit(draft(session.id, complete=False), nothing)
        session.commit(draft(session.id, complete=False), nothing)
        assert session.id.hex() in repository.journal.state.sessions
        session.commit(draft(session.id), nothing)
    assert session.id.hex() not in repository.journal.state.sessions
    assert [commit.complete for commit in repository.live_commits()] == [False, False, True]


def test_the_same_draft_is_committed_once():
    """Committing again after an answer that got lost returns the commit that exists."""
    made = new_repository()
    with open_session(made.open(), host=made.keys.host, lineage=LINEAGE) as session:
        what = draft(session.id)
        assert session.commit(what, nothing) == session.commit(what, nothing)
    assert entry_count(made.store) == 3


@pytest.mark.parametrize("answer", ["lost reply", "refused"])
def test_an_unclear_answer_never_commits_twice(answer):
    """A reply that is lost on every kind of request leaves exactly one commit."""
    made = new_repository()
    failed = []

    def once(kind, key, count):
        asked = kind in {"create", "get", "info"} and key.startswith("journal/") and count == 1
        if asked and (kind == "create" or failed):
            failed.append(key)
            return answer
        return None

    repository = made.open()
    session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
    faulty = made.open(FaultyStore(made.store, lambda *_: None))
    faulty.journal._store = FaultyStore(made.store, once)
    session.repository = faulty
    commit = session.commit(draft(session.id), nothing)
    assert failed
    assert made.open().live_commits() == [commit]
    assert entry_count(made.store) == 3


def test_no_answer_at_all_is_said_to_be_unclear():
    """When the store stays silent, nobody claims that the commit exists or does not."""
    made = new_repository()
    repository = made.open()
    session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
    silent = FaultyStore(
        made.store, lambda kind, _key, _count: "refused" if kind == "create" else None
    )
    repository.journal._store = silent
    with pytest.raises(StorageUnavailableError, match="unclear"):
        session.commit(draft(session.id), nothing)
    assert len(repository.journal._clock.slept) == 6


def test_an_aborted_session_cannot_commit():
    """A writer that somebody else ended finds itself fenced, and nothing is committed."""
    made = new_repository()
    session = open_session(made.open(), host=made.keys.host, lineage=LINEAGE)
    janitor = made.keys.janitor.signing_key
    made.open().journal.append("abort", {"session": session.id.hex(), "reason": "idle"}, janitor)
    with pytest.raises(FencedError) as caught:
        session.commit(draft(session.id), nothing)
    assert caught.value.exit_code == 11
    assert caught.value.hint
    assert made.open().live_commits() == []


def test_a_snapshot_that_needs_condemned_objects_is_refused():
    """Nothing is committed that needs an object about to be deleted; the session goes on."""
    made = new_repository()
    session = open_session(made.open(), host=made.keys.host, lineage=LINEAGE)
    pack = f"packs/{os.urandom(16).hex()}"
    janitor = made.keys.janitor.signing_key
    made.open().journal.append("condemn", {"objects": [pack]}, janitor)
    with pytest.raises(CondemnedError) as caught:
        session.commit(draft(session.id), lambda: [pack])
    assert caught.value.names == {pack}
    assert session.commit(draft(session.id), nothing).n == 4


def test_needs_are_asked_again_after_a_lost_race():
    """What is condemned while a commit races is noticed: it decides anew after each loss."""
    made = new_repository()
    repository = made.open()
    session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
    pack = f"packs/{os.urandom(16).hex()}"
    rival = made.open()
    asked = []

    def needs():
        asked.append(pack)
        if len(asked) == 1:
            rival.journal.append("condemn", {"objects": [pack]}, made.keys.janitor.signing_key)
        return [pack]

    with pytest.raises(CondemnedError):
        session.commit(draft(session.id), needs)
    assert len(asked) == 2


def test_leaving_with_an_error_aborts_and_keeps_the_error():
    """A failed run ends its session, and its own error is the one that is seen."""
    made = new_repository()
    repository = made.open()
    with (
        pytest.raises(ZeroDivisionError),
        open_session(repository, host=made.keys.host, lineage=LINEAGE),
    ):
        raise ZeroDivisionError
    assert repository.journal.state.sessions == {}


def test_a_failing_abort_does_not_hide_the_first_error():
    """When the store is gone too, the first error is still the one that is seen."""
    made = new_repository()
    repository = made.open()
    with (
        pytest.raises(ZeroDivisionError),
        open_session(repository, host=made.keys.host, lineage=LINEAGE),
    ):
        unplug(repository, made)


def test_a_session_does_not_survive_a_fork():
    """A forked child cannot commit in its parent's session: they would share random numbers."""
    made = new_repository()
    session = open_session(made.open(), host=made.keys.host, lineage=LINEAGE)
    session._process += 1
    with pytest.raises(FencedError, match="fork"):
        session.commit(draft(session.id), nothing)


def test_another_hosts_lineage_is_refused():
    """A host cannot write into the snapshots of another one."""
    made = new_repository()
    second = new_host_key(made.keys.id)
    repository = made.open()
    admin = made.keys.admin.signing_key
    update_keyring(repository, admin, lambda keyring: with_host(keyring, second))
    open_session(repository, host=made.keys.host, lineage=LINEAGE)
    with pytest.raises(ConfigurationError, match="another host"):
        open_session(repository, host=second, lineage=LINEAGE)
    open_session(repository, host=second, lineage=bytes(16))


def test_a_key_of_another_repository_is_refused_with_both_named():
    """Using the wrong key file is said before anything is stored."""
    made, before = new_repository(), None
    other = new_host_key(bytes(16))
    before = dict(made.store.objects)
    with pytest.raises(ConfigurationError, match="another repository"):
        open_session(made.open(), host=other, lineage=LINEAGE)
    assert made.store.objects == before


def test_a_host_that_left_the_keyring_is_refused():
    """A host that an admin removed cannot open sessions any more."""
    made = new_repository()
    repository = made.open()
    key = made.keys.host.signing_key.verify_key.hex
    update_keyring(repository, made.keys.admin.signing_key, lambda ring: ring.without_signer(key))
    with pytest.raises(ConfigurationError, match="would not accept") as caught:
        open_session(repository, host=made.keys.host, lineage=LINEAGE)
    assert caught.value.hint


def test_a_keyring_change_while_a_session_opens_gives_new_slots():
    """Key slots are always for the recipients of the keyring that the session names."""
    made = new_repository()
    admin = made.keys.admin.signing_key
    rival = made.open()
    changed = []

    def change(kind, key, _count):
        if kind == "put" and key.startswith("keyslots/") and not changed:
            changed.append(key)
            second = new_host_key(made.keys.id)
            update_keyring(rival, admin, lambda keyring: with_host(keyring, second))

    repository = made.open(FaultyStore(made.store, change))
    session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
    assert repository.journal.state.sessions[session.id.hex()].keyring == 2
    assert all(f"/{2}." in slot.name for slot in session.slots.values())


@pytest.mark.parametrize(
    ("role", "classes"),
    [
        (Role.RECOVERY, ["data", "meta", "refs"]),
        (Role.VERIFIER, ["data", "meta", "refs"]),
        (Role.HOST, ["meta", "refs"]),
        (Role.JANITOR, ["refs"]),
    ],
    ids=str,
)
def test_roles_open_their_classes_and_no_others(role, classes):
    """Each role opens exactly the key classes that the format gives it."""
    made = new_repository()
    session = open_session(made.open(), host=made.keys.host, lineage=LINEAGE)
    key = getattr(made.keys, role.value)
    opened = made.open().keys
    opened._identities = key.identities
    for key_class in KeyClass:
        if key_class.value in classes:
            assert opened.key(session.id, key_class) == session.keys.of(key_class)
        else:
            with pytest.raises(KeyNotFoundError, match=key_class.value) as caught:
                opened.key(session.id, key_class)
            assert "recovery" in caught.value.hint


def test_a_lineage_is_stale_after_its_promise_and_grace():
    """A missing promised commit is reported when due and grace have passed, and not before."""
    made = new_repository()
    repository = made.open()
    with open_session(repository, host=made.keys.host, lineage=LINEAGE) as session:
        due = datetime(2026, 11, 22, tzinfo=UTC)
        session.commit(draft(session.id, next_due=due), nothing)
    state, grace = repository.journal.state, timedelta(hours=1)
    assert stale_lineages(state, due + grace, grace) == []
    (stale,) = stale_lineages(state, due + timedelta(hours=2), grace)
    assert (stale.lineage, stale.late_by) == (LINEAGE, timedelta(hours=2))


def test_secrets_are_in_no_repr():
    """No repr of a session, key file or repository shows a secret."""
    made = new_repository()
    session = open_session(made.open(), host=made.keys.host, lineage=LINEAGE)
    shown = repr(session) + repr(made.keys)
    host = made.keys.host
    for secret in (session.keys.data, host.signing_key.seed, host.domain.secret):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert "AGE-SECRET-KEY" not in shown
    assert "DRK-SIGNING-KEY" not in shown
