"""Creation, sessions and pins: a power cut or a lost answer anywhere leaves nothing half-done."""

import errno
from contextlib import contextmanager

import pytest

from doubles.memory_store import FaultyStore, MemoryStore
from doubles.repositories import SteppingClock, draft, entry_count, new_repository
from drkeeper import faults
from drkeeper.errors import ConfigurationError, NoSpaceError, StorageUnavailableError
from drkeeper.repository.creation import create_repository
from drkeeper.repository.journal_entry import entry_name
from drkeeper.repository.private_file import create_private, replace_private
from drkeeper.repository.repository import open_repository
from drkeeper.repository.session import open_session

LINEAGE = bytes(range(16))


class PowerCut(BaseException):
    """Nothing in the program catches this."""


@contextmanager
def controller(control):
    """Let ``control`` see the points reached meanwhile."""
    faults.install(control)
    try:
        yield
    finally:
        faults.install(None)


def points_of(action):
    """Return the points that ``action`` reaches, in order."""
    reached = []
    with controller(reached.append):
        action()
    return reached


def cut_at(number):
    """Cut the power at the ``number``-th point reached."""
    left = [number]

    def control(_name):
        left[0] -= 1
        if left[0] < 0:
            raise PowerCut

    return control


def test_a_power_cut_while_creating_leaves_nothing_or_everything():
    """At every point: either there is no repository and creating again works, or it opens."""

    def create(store, saved):
        create_repository(store, clock=SteppingClock(), save=saved.append)

    total = len(points_of(lambda: create(MemoryStore(), [])))
    assert total >= 8
    outcomes = set()
    for number in range(total):
        store, saved = MemoryStore(), []
        with pytest.raises(PowerCut), controller(cut_at(number)):
            create(store, saved)
        exists = entry_name(1) in store.objects
        outcomes.add(exists)
        if exists:
            with pytest.raises(ConfigurationError, match="not empty"):
                create(store, [])
        else:
            create(store, saved)
        opened = open_repository(store, clock=SteppingClock(), admins=saved[-1].admins)
        assert opened.id == saved[-1].id
    assert outcomes == {True, False}


def snapshot(made, repository, what=None):
    """Open a session and commit, as a backup does, without tidying up after a crash."""
    session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
    return session.commit(draft(session.id) if what is None else what(session.id), tuple)


def test_a_power_cut_while_committing_keeps_the_journal_whole(tmp_path):
    """At every point: the journal is gapless and legal, and the next run needs no repair."""

    def prepared(name):
        made = new_repository()
        return made, made.open(state_dir=str(tmp_path / name))

    first = prepared("first")
    total = len(points_of(lambda: snapshot(*first)))
    assert total >= 25
    for number in range(total):
        made, repository = prepared(str(number))
        with pytest.raises(PowerCut), controller(cut_at(number)):
            snapshot(made, repository)
        again = made.open(state_dir=str(tmp_path / str(number)))
        before = again.live_commits()
        assert len(before) <= 1
        commit = snapshot(made, again)
        assert again.live_commits() == [*before, commit]
        assert again.journal.voids == ()
        entry_count(made.store)


@pytest.mark.parametrize("answer", ["lost reply", "refused"])
def test_one_lost_answer_anywhere_commits_at_most_once(answer):
    """Whichever request goes unanswered, there is one commit after trying again, never two."""

    def run(lose):
        made = new_repository()
        made.open()
        count = [0]

        def script(_kind, _key, _count):
            count[0] += 1
            return answer if count[0] == lose else None

        facts = {}

        def what(session):
            return facts.setdefault(session, draft(session))

        repository = made.open(FaultyStore(made.store, lambda *_: None))
        repository.store._script = script
        try:
            session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
        except StorageUnavailableError:
            session = open_session(repository, host=made.keys.host, lineage=LINEAGE)
        try:
            commit = session.commit(what(session.id), tuple)
        except StorageUnavailableError:
            commit = session.commit(what(session.id), tuple)
        assert made.open().live_commits() == [commit]
        entry_count(made.store)
        return count[0]

    total = run(None)
    for lose in range(1, total + 1):
        run(lose)


@pytest.mark.parametrize(
    "name",
    [
        "repository.private_file.write",
        "repository.private_file.written",
        "repository.private_file.published",
    ],
)
@pytest.mark.parametrize("write", [create_private, replace_private], ids=["create", "replace"])
def test_a_full_disk_leaves_no_half_file(name, write, tmp_path):
    """When the disk is full, the error says so, and no temporary file stays behind."""

    def control(at):
        if at == name:
            raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    with pytest.raises(NoSpaceError) as caught, controller(control):
        write(str(path), b"content")
    assert caught.value.hint
    assert [p.read_bytes() for p in tmp_path.iterdir()] in ([], [b"content"])


def test_a_full_local_disk_does_not_undo_a_commit(tmp_path):
    """A commit that is in the journal is acknowledged even if the pin cannot be saved."""
    made = new_repository()
    repository = made.open(state_dir=str(tmp_path))
    session = open_session(repository, host=made.keys.host, lineage=LINEAGE)

    def control(at):
        if at == "repository.private_file.write":
            raise OSError(errno.ENOSPC, "No space left on device")

    with controller(control):
        commit = session.commit(draft(session.id), tuple)
    assert made.open(state_dir=str(tmp_path)).live_commits() == [commit]
