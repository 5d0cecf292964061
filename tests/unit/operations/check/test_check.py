"""What `check` finds, and what it leaves alone."""

import os
from collections.abc import Iterator

import pytest

from doubles.memory_store import FaultyStore, MemoryStore
from doubles.real_repository import Maker
from doubles.repositories import SteppingClock
from drkeeper.crypto.digests import digest
from drkeeper.crypto.sealing import Header, Kind, seal
from drkeeper.errors import ConfigurationError, KeyNotFoundError
from drkeeper.operations.check import (
    CheckReport,
    CheckRequest,
    Severity,
    Slice,
    check,
    open_for_check,
)
from drkeeper.operations.progress import Progress
from drkeeper.repository.commit import CommitDraft
from drkeeper.repository.inventory import StoredObject, encode
from drkeeper.repository.journal_entry import entry_name
from drkeeper.repository.needs import needs_writer
from drkeeper.repository.parts import PartReader
from drkeeper.repository.places import Codec, ObjectKind, inventory_name, object_name
from drkeeper.repository.reader import SnapshotReader
from drkeeper.repository.refs import RefsRoot, decode_root, encode_root
from drkeeper.repository.session import open_session
from drkeeper.storage.base import ObjectInfo

BLIND = CheckRequest(blind=True)
WHOLE = CheckRequest(read=Slice(0, 1))


def run(made, store, request=WHOLE, *, keys=None, **options) -> CheckReport:
    """Open and check."""
    identities = (keys or made.keys.recovery).identities
    repository = open_for_check(
        store,
        clock=SteppingClock(made.clock.now()),
        identities=() if request.blind else identities,
        admins=made.keys.admins,
        **options,
    )
    return check(repository, request)


def codes(report: CheckReport, severity: Severity = Severity.ERROR) -> list[tuple[str, str]]:
    """Return code and thing of each finding of a severity."""
    return [(f.code, f.thing) for f in report.findings if f.severity is severity]


@pytest.fixture
def store(made) -> MemoryStore:
    """A copy to work on."""
    return made.store.copy()


def some_pack(judge) -> str:
    """Return the name of a pack that snapshots need."""
    return next(name for name in judge.of_kind("packs") if name not in judge.garbage)


@pytest.mark.parametrize(
    "request_", [CheckRequest(), WHOLE, BLIND, CheckRequest(blind=True, read=Slice(0, 1))]
)
def test_a_sound_repository_has_no_errors(made, judge, store, request_):
    """Several hosts, partial snapshots, an aborted session, expiry and junk are all in order."""
    report = run(made, store, request_)
    assert report.sound
    assert report.damaged_snapshots == ()
    assert report.snapshots == len(made.snapshots)
    assert report.objects == len(store.objects)
    assert report.stored_bytes == sum(map(len, store.objects.values()))
    assert report.entries == len(judge.of_kind("journal"))
    assert codes(report, Severity.WARNING) == [("void-entry", junk(judge))]


def junk(judge) -> str:
    """Return the name of the entry that nobody signed."""
    return next(name for name in judge.garbage if name.startswith("journal/"))


def test_unneeded_objects_are_counted(made, judge, store):
    """What no live snapshot needs is no fault, only a number; blind, it is not known."""
    report = run(made, store, CheckRequest())
    unneeded = [n for n in judge.garbage if n.split("/")[0] in {"packs", "meta", "refs"}]
    assert report.unneeded_objects == len(unneeded) > 0
    assert report.unneeded_bytes == sum(len(store.objects[name]) for name in unneeded)
    assert run(made, store, BLIND).unneeded_objects == 0


def test_collected_objects_are_not_missed(made, judge, store):
    """After an expired snapshot was collected, every kind of check is content."""
    collected = {name for name in judge.garbage if not name.startswith("journal/")}
    sealed = [n.split("/") for n in collected if n.split("/")[0] in {"packs", "meta", "refs"}]
    objects = sorted(f"{kind}/{last}" for kind, _, last in sealed)
    janitor = made.keys.janitor.signing_key
    made.open(store).journal.append("condemn", {"objects": objects}, janitor)
    for name in collected:
        del store.objects[name]
    for request in (WHOLE, BLIND):
        assert run(made, store, request).sound


def test_blind_needs_no_identity_and_says_what_is_missing(made, judge, store):
    """Public keys suffice to miss an object; the snapshot that brought it is named."""
    live = {commit.session.hex() for commit in made.open(store).live_commits()}
    name = next(n for n in judge.of_kind("packs") if judge.session_of(n) in live)
    del store.objects[name]
    report = run(made, store, BLIND)
    assert codes(report) == [("missing", name)]
    (finding,) = [f for f in report.findings if f.severity is Severity.ERROR]
    assert set(finding.snapshots) <= {snapshot.n for snapshot in made.snapshots}
    assert finding.snapshots
    assert report.damaged_snapshots == finding.snapshots


def test_blind_misses_what_an_expired_snapshot_brought(made, judge, store):
    """Nobody without keys can tell whether later snapshots need it; it was never condemned."""
    live = {commit.session.hex() for commit in made.open(store).live_commits()}
    name = next(
        n
        for n in judge.of_kind("packs")
        if judge.session_of(n) not in live and n not in judge.garbage
    )
    del store.objects[name]
    assert codes(run(made, store, BLIND)) == [("missing", name)]


def test_structure_names_every_snapshot_that_needs_what_is_missing(made, store):
    """With keys it is known which snapshots a lost pack touches, also later ones that share it."""
    first, second = made.snapshots[:2]
    repository = made.open(store)
    packs = [
        {
            object_name(ObjectKind.PACKS, pack)
            for number in range(len(reader.root.pieces))
            for _, pack in reader.piece(number).packs
        }
        for commit in repository.live_commits()[:2]
        for reader in [SnapshotReader(repository, commit)]
    ]
    shared = min(packs[0] & packs[1])
    del store.objects[shared]
    report = run(made, store, CheckRequest())
    assert codes(report) == [("missing", shared)]
    assert report.damaged_snapshots == (first.n, second.n)


def test_without_an_identity_structure_cannot_be_checked(made, store):
    """No identity is a matter of keys, not of damage: exit code 12."""
    stranger = made.keys.admin
    with pytest.raises(KeyNotFoundError):
        run(made, store, CheckRequest(), keys=stranger)


def test_a_host_checks_what_it_can_open(made, store):
    """A host's identity checks its own snapshots; others are said to be unchecked."""
    report = run(made, store, CheckRequest(), keys=made.keys.host)
    assert report.sound
    others = [s.n for s in made.snapshots if b"beta" in s.root]
    unchecked = codes(report, Severity.WARNING)
    assert [thing for code, thing in unchecked if code == "unchecked"] == [
        f"snapshot {n}" for n in others
    ]
    assert report.unneeded_objects == 0


def test_a_host_cannot_read_data(made, store):
    """Reading packs takes an identity that opens class data, and the error says so."""
    with pytest.raises(KeyNotFoundError) as caught:
        run(made, store, WHOLE, keys=made.keys.host)
    assert "verifier" in caught.value.hint


def test_junk_at_the_end_of_the_journal_is_an_error_until_it_is_passed(made, store):
    """Nobody can tell junk from a damaged newest entry; once a later entry passes over it, it is junk."""
    repository = made.open(store)
    name = entry_name(repository.journal.read_to + 1)
    store.objects[name] = os.urandom(100)
    assert codes(run(made, store, BLIND)) == [("void-entry", name)]
    repository = made.open(store)
    hold = {"commit": made.snapshots[0].n, "until": None}
    repository.journal.append("hold", hold, made.keys.janitor.signing_key)
    assert run(made, store, BLIND).sound


def test_a_damaged_entry_is_told_from_what_follows_it(made, store):
    """Of a journal broken in the middle, the damaged entry and the first one after it are named."""
    data = bytearray(store.objects[entry_name(5)])
    data[100] ^= 1
    store.objects[entry_name(5)] = bytes(data)
    found = codes(run(made, store, BLIND))
    assert ("void-entry", entry_name(5)) in found
    assert ("commit", entry_name(6)) in found
    assert ("void-entry", entry_name(7)) not in found


def test_a_missing_entry_is_named(made, store):
    """A hole in the journal is an error that names the entry; the check goes on."""
    del store.objects[entry_name(6)]
    found = codes(run(made, store, BLIND))
    assert ("missing", entry_name(6)) in found


def test_strange_objects_are_told_and_nothing_more(made, store):
    """What is no object of a repository is a warning; leftovers of probes and creations are notes."""
    session = os.urandom(16).hex()
    strange = ["notes.txt", "packs/aa/" + "b" * 32, "journal/7", f"keyslots/{session}/x.data.age"]
    for name in strange:
        store.objects[name] = b"?"
    store.objects["probe/00/x"] = b"?"
    store.objects[f"keyslots/{session}/1.data.age"] = b"?"
    store.objects[entry_name(10**6)] = b"?" * 100
    report = run(made, store)
    assert report.sound
    warned = codes(report, Severity.WARNING)
    assert [thing for code, thing in warned if code == "stray"] == ["journal", *sorted(strange)]
    assert codes(report, Severity.NOTE) == [
        ("left-over", f"keyslots/{session}/1.data.age"),
        ("probe", "probe/00/x"),
    ]


def test_an_inventory_of_an_unknown_session_proves_a_longer_journal(made, store):
    """Inventories are written after their session opened, so the journal has lost that entry."""
    name = inventory_name(os.urandom(16), 1)
    store.objects[name] = b""
    assert codes(run(made, store, BLIND)) == [("rollback", name)]


def test_condemned_and_needed_is_an_error(made, judge, store):
    """An object that is about to be deleted and that a snapshot needs is an error."""
    name = some_pack(judge)
    janitor = made.keys.janitor
    reference = f"packs/{name.rpartition('/')[2]}"
    repository = made.open(store)
    repository.journal.append("condemn", {"objects": [reference]}, janitor.signing_key)
    assert codes(run(made, store, CheckRequest())) == [("condemned", name)]


def test_a_list_that_leaves_something_out_is_an_error(made, store):
    """A snapshot whose refs do not name all of its packs would lose them when others expire."""
    commit = snapshot_with_refs(made, store, RefsRoot((), ()))
    found = codes(run(made, store, CheckRequest()))
    assert {code for code, _ in found} == {"refs"}
    assert {thing[:5] for _, thing in found} == {"packs", "meta/", "sessi"}
    assert run(made, store, CheckRequest()).damaged_snapshots == (commit.n,)


def test_a_list_that_leaves_out_a_part_of_itself_is_an_error(made, store):
    """Where an earlier list is reused, the object that holds it is needed as well."""
    old = made.open(store).live_commits()[0]
    repository = made.open(store)
    listed = decode_root(PartReader(repository).read_refs(old.refs))
    sessions = {*listed.sessions, repository.keys.slots(old.session)}
    commit = snapshot_with_refs(made, store, RefsRoot(tuple(sorted(sessions)), listed.parts))
    report = run(made, store, CheckRequest())
    assert codes(report) == [("refs", object_name(ObjectKind.REFS, old.refs.id))]
    assert report.damaged_snapshots == (commit.n,)


def test_inventories_that_contradict_each_other_are_told(made, judge, store):
    """What is said of one object must be one thing, even where the store's bytes agree with one."""
    name = next(name for name in judge.of_kind("meta") if name not in judge.garbage)
    length = len(store.objects[name])
    other = StoredObject(bytes(32), length, name)
    snapshot_with_refs(made, store, RefsRoot((), ()), other)
    for request in (CheckRequest(), BLIND, CheckRequest(blind=True, read=Slice(0, 1))):
        told = ("inventory", name) in codes(run(made, store, request))
        assert told == (request != BLIND), "blind, and reading nothing, no digest is compared"


def snapshot_with_refs(made, store, listed, *more: StoredObject):
    """Commit an existing manifest once more, with this list of what it needs."""
    host = made.keys.host
    repository = made.open(store)
    old = repository.live_commits()[0]
    with open_session(repository, host=host, lineage=old.lineage) as session:
        stored = [StoredObject(s.digest, s.stored_bytes, s.name) for s in session.slots.values()]

        def emit(object_id: bytes, plain: bytearray) -> None:
            header = Header(Kind.REFS, repository.id, session.id, object_id)
            sealed = seal(session.keys.refs, header, plain)
            store.put(object_name(ObjectKind.REFS, object_id), sealed)

        data = encode_root(listed)
        writer = needs_writer(session.id, emit)
        root = writer.append(data, plain=len(data), codec=Codec.RAW, part_digest=digest(data))
        writer.flush()
        inventory = encode([*stored, *more])
        store.put(inventory_name(session.id, 1), inventory)
        draft = CommitDraft(
            consistent_at=old.consistent_at,
            finished_at=old.finished_at,
            next_due=None,
            complete=True,
            consistency="none",
            root=old.root,
            refs=root,
            inventory_k=1,
            inventory_digest=digest(inventory),
            counts=old.counts,
        )
        return session.commit(draft, tuple)


def test_a_pack_cut_short_is_noticed_by_the_manifest(made, judge, store):
    """Without its inventory, too, a shortened pack is noticed: a chunk would be beyond its end."""
    name = max(judge.of_kind("packs"), key=lambda name: len(store.objects[name]))
    store.objects[name] = store.objects[name][: 120 + 65536 + 16]
    for inventory in judge.of_kind("inventory"):
        del store.objects[inventory]
    found = codes(run(made, store, CheckRequest()))
    assert {thing.split("/")[0] for code, thing in found if code == "manifest"} == {"meta"}


def test_what_the_store_refuses_is_told_and_the_rest_checked(made, judge, store):
    """An object that cannot be read is an error of its own; the check reads all the others."""
    name = some_pack(judge)
    faulty = FaultyStore(
        store, lambda kind, key, _: "refused" if (kind, key) == ("get", name) else None
    )
    report = run(made, faulty)
    assert codes(report) == [("unreadable", name)]
    everything = [n for kind in ("packs", "meta", "refs") for n in judge.of_kind(kind)]
    assert report.read_objects == len(everything) - 1


def test_an_object_beyond_all_bounds_is_not_fetched(made, judge, store):
    """What a store says is longer than any object is refused before anything is allocated."""
    name = some_pack(judge)
    asked: list[str] = []

    class Boasting(MemoryStore):
        def entries(self, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
            for info in super().entries(prefix, start_after=start_after):
                length = 2**40 if info.key == name else info.stored_bytes
                yield ObjectInfo(info.key, length, self._at)

        def get(self, key: str, *, offset: int = 0, length: int | None = None) -> bytes:
            asked.append(key)
            return super().get(key, offset=offset, length=length)

    boasting = Boasting()
    boasting.objects = store.objects
    found = codes(run(made, boasting))
    assert {thing for _, thing in found} == {name}
    assert name not in asked


def test_every_finding_says_what_to_do(made, judge, store):
    """Findings name a thing and an action in one sentence; messages begin lower case, without stop."""
    for kind in ("packs", "meta", "inventory", "keyslots"):
        del store.objects[next(n for n in judge.of_kind(kind) if n not in judge.garbage)]
    store.objects["notes.txt"] = b""
    report = run(made, store)
    assert len(report.findings) > 4
    for finding in report.findings:
        assert finding.thing
        assert finding.action.endswith(".")
        assert finding.message[0].islower()
        assert not finding.message.endswith(".")


def test_worst_comes_first(made, judge, store):
    """Errors are listed before warnings, warnings before notes."""
    del store.objects[some_pack(judge)]
    store.objects["probe/00/x"] = b""
    severities = [finding.severity for finding in run(made, store).findings]
    order = [Severity.ERROR, Severity.WARNING, Severity.NOTE]
    assert severities == sorted(severities, key=order.index)
    assert set(severities) == set(order)


def test_progress_counts_up_to_the_whole(made, store):
    """Progress is told for each object, never goes back, and ends at what was announced."""
    told: list[Progress] = []
    repository = open_for_check(
        store,
        clock=made.clock,
        identities=made.keys.recovery.identities,
        admins=made.keys.admins,
    )
    report = check(repository, WHOLE, told.append)
    assert [step.files for step in told] == list(range(1, report.read_objects + 1))
    assert told == sorted(told, key=lambda step: step.plain_bytes)
    assert told[-1].plain_bytes == told[-1].plain_total == report.read_bytes
    assert told[-1].fraction == 1


@pytest.mark.parametrize(("number", "of"), [(-1, 3), (3, 3), (0, 0)])
def test_a_slice_that_is_none_is_refused(made, store, number, of):
    """A slice outside the repository is a mistake of the caller."""
    with pytest.raises(ConfigurationError):
        run(made, store, CheckRequest(read=Slice(number, of)))


def test_checking_changes_nothing(made, store, tmp_path):
    """Neither the store nor what this machine remembers is written to."""
    state = tmp_path / "state"
    made.open(store, state_dir=str(state))
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    made.open(store, state_dir=str(state))
    objects = dict(store.objects)
    store.requests.clear()
    run(made, store, WHOLE, state_dir=str(state))
    assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == before
    assert store.objects == objects
    assert store.requests.keys() <= {"get", "info", "entries"}


def test_an_empty_repository_is_sound(tmp_path):
    """A repository in which nothing was stored yet has nothing wrong with it."""
    maker = Maker(MemoryStore(), tmp_path)
    report = run(maker.made, maker.made.store)
    assert (report.findings, report.snapshots, report.objects) == ((), 0, 2)
