"""Nothing that happens to a stored object goes unnoticed, or ends in anything but a typed error."""

import random
from pathlib import Path

import pytest

from doubles.damage import WHOLE, Judge, flips, random_flips
from doubles.memory_store import MemoryStore
from doubles.real_repository import DUE, make_in_memory
from doubles.repositories import SteppingClock
from drkeeper.errors import DrkeeperError, IntegrityError
from drkeeper.operations.check import CheckRequest, Severity, Slice, check, open_for_check
from drkeeper.repository.hint import HINT_NAME, read_hint
from drkeeper.repository.journal_entry import entry_name

SMALL_KINDS = ["journal", "keyslots", "inventory", "meta", "refs"]
KINDS = [*SMALL_KINDS, "packs"]
FLIPS_PER_PACK = 10_000


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Judge of a repository made by real backups."""
    return Judge(make_in_memory(tmp_path_factory.mktemp("sources")))


def names_it(judge: Judge, store: MemoryStore, name: str) -> bool:
    """Whether a check finds fault with the object, or opening already fails with a typed error.

    What some snapshot needs must be an error, garbage at least a warning.
    """
    try:
        report = judge.check(store)
    except IntegrityError:
        return True
    worst = {Severity.ERROR, Severity.WARNING} if name in judge.garbage else {Severity.ERROR}
    if name.startswith("packs/") and any(f.code == "refs" for f in report.findings):
        worst.add(Severity.WARNING)  # it may be needed only by what cannot be read
    return any(f.thing == name and f.severity in worst for f in report.findings)


def sample(judge: Judge, kind: str, count: int) -> list[tuple[str, int]]:
    """Choose bytes of objects of a kind."""
    choose = random.Random(kind)
    names = judge.of_kind(kind)
    chosen = [choose.choice(names) for _ in range(count)]
    return [(name, choose.randrange(len(judge.store.objects[name]))) for name in chosen]


def flipped(judge: Judge, name: str, at: int) -> MemoryStore:
    """Return the repository with one byte changed."""
    store = judge.store.copy()
    data = bytearray(store.objects[name])
    data[at] ^= 0x20
    store.objects[name] = bytes(data)
    return store


def test_the_repository_under_test_is_sound(judge):
    """What is about to be damaged is whole: no error, every snapshot readable, little garbage."""
    report = judge.check(judge.store)
    assert report.sound
    assert report.snapshots == len(judge.made.snapshots)
    assert judge.reads_all(judge.store)
    assert len(judge.garbage) < len(judge.names) / 3
    assert judge.needed == set(judge.objects.needs.names())
    assert {name.partition("/")[0] for name in judge.names} == {*KINDS, HINT_NAME}


@pytest.mark.parametrize("kind", SMALL_KINDS)
def test_every_changed_byte_of_every_small_object_is_noticed(judge, kind):
    """Whichever byte of a small object changes, what reads it in a check refuses the object."""
    undetected = [
        (name, number)
        for name in judge.of_kind(kind)
        for number, changed in enumerate(flips(judge.store.objects[name]))
        if not judge.detects(name, bytes(changed))
    ]
    assert undetected == []


def test_every_change_of_every_byte_of_the_hint_is_noticed(judge):
    """All 255 other values of each byte of drkeeper.json: opening refuses them, whatever they are."""
    data = judge.store.objects[HINT_NAME]
    store = MemoryStore()
    for at in range(len(data)):
        for value in set(range(256)) - {data[at]}:
            store.objects[HINT_NAME] = data[:at] + bytes([value]) + data[at + 1 :]
            with pytest.raises(IntegrityError):
                read_hint(store)


def test_ten_thousand_changed_bytes_of_every_pack_are_noticed(judge):
    """Decryption alone refuses a pack with a changed byte, whatever inventories say."""
    for number, name in enumerate(set(judge.of_kind("packs")) - judge.garbage):
        for changed in random_flips(judge.store.objects[name], FLIPS_PER_PACK, number):
            assert judge.refuses(lambda: judge.objects.open(name, changed)), name  # noqa: B023 - called at once


def test_changed_bytes_of_packs_are_noticed_without_keys(judge):
    """The digests in the inventories refuse a changed pack, also one that nothing needs."""
    for number, name in enumerate(judge.of_kind("packs")):
        for changed in random_flips(judge.store.objects[name], 300, number):
            assert judge.refuses(lambda: judge.objects.verify(name, changed)), name  # noqa: B023 - called at once


@pytest.mark.soak
@pytest.mark.slow
def test_a_hundred_thousand_changed_bytes_of_every_pack_are_noticed(judge):
    """The long form of the same question, with other positions."""
    for number, name in enumerate(set(judge.of_kind("packs")) - judge.garbage):
        for changed in random_flips(judge.store.objects[name], 10 * FLIPS_PER_PACK, 1000 + number):
            assert judge.refuses(lambda: judge.objects.open(name, changed)), name  # noqa: B023 - called at once


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_check_names_the_object_with_the_changed_byte(judge, kind):
    """A sample of changes, each judged by a whole check: it says the same as what reads the object."""
    for name, at in sample(judge, kind, 16):
        assert names_it(judge, flipped(judge, name, at), name), (name, at)


@pytest.mark.parametrize("kind", ["journal", "keyslots", "meta", "packs"])
def test_what_was_changed_is_never_restored(judge, kind):
    """A sample of changes in what restoring reads: a typed error, or a snapshot that is not there."""
    for name, at in sample(judge, kind, 16):
        if name not in judge.garbage and (kind != "keyslots" or judge.is_opened(name)):
            assert not judge.reads_all(flipped(judge, name, at)), (name, at)


def test_every_deleted_object_is_noticed(judge):
    """An object that is gone is named by a check, when anything needs it."""
    newest = entry_name(len(judge.of_kind("journal")))
    for name in judge.names:
        store = judge.store.copy()
        del store.objects[name]
        if name == HINT_NAME:
            with pytest.raises(DrkeeperError, match="no repository"):
                judge.check(store)
        elif name in judge.garbage and not name.startswith("journal/"):
            assert judge.check(store).sound, name
        elif name != newest:
            assert names_it(judge, store, name), name


@pytest.mark.parametrize("change", ["emptied", "halved", "cut", "extended", "doubled"])
def test_every_object_of_another_length_is_noticed(judge, change):
    """Truncated and extended objects are refused by what reads them."""
    for name in judge.names:
        data = judge.store.objects[name]
        other = {
            "emptied": b"",
            "halved": data[: len(data) // 2],
            "cut": data[:-1],
            "extended": data + b"\0",
            "doubled": data + data,
        }[change]
        assert judge.detects(name, other), name


def test_another_length_is_noticed_without_reading(judge):
    """A blind check that reads no data names every sealed object whose length is another."""
    for name in judge.names:
        if name.partition("/")[0] in {"packs", "meta", "refs"}:
            store = judge.store.copy()
            store.objects[name] = store.objects[name][:-4096]
            report = judge.check(store, CheckRequest(blind=True))
            assert any(f.thing == name and f.code == "length" for f in report.findings), name


def test_every_object_in_the_place_of_every_other_is_noticed(judge):
    """No object passes for another one, of its kind or of any other."""
    for name in judge.names:
        for other in judge.names:
            if name != other:
                assert judge.detects(name, judge.store.objects[other]), (name, other)


def test_a_whole_check_names_swapped_objects(judge):
    """A sample of pairs that changed places, each judged by a whole check."""
    choose = random.Random(7)
    for _ in range(60):
        one, other = choose.sample(judge.names, 2)
        store = judge.store.copy()
        objects = store.objects
        objects[one], objects[other] = objects[other], objects[one]
        # After a broken journal entry nothing is known of what came later, and what it said.
        entries = sorted(name for name in (one, other) if name.startswith("journal/"))
        for name in set(entries[:1] or (one, other)) - judge.garbage:
            assert names_it(judge, store, name), (one, other)


def test_a_journal_cut_off_is_noticed_by_who_has_seen_more(judge, tmp_path):
    """However much of its end the journal loses, a machine with a pin refuses it and says so."""
    state = str(tmp_path / "state")
    judge.made.open(judge.store, state_dir=state)
    end = len(judge.of_kind("journal"))
    for length in range(1, end):
        store = judge.store.copy()
        for n in range(length + 1, end + 1):
            del store.objects[entry_name(n)]
        with pytest.raises(IntegrityError, match="rolled back"):
            judge.made.open(store, state_dir=state)
        report = check(
            open_for_check(store, clock=SteppingClock(), state_dir=state),
            CheckRequest(blind=True),
        )
        assert any(f.code == "rollback" and f.thing == "journal" for f in report.findings)


def test_an_old_state_of_the_whole_store_is_noticed_by_who_has_seen_more(judge, tmp_path):
    """A store put back to what it was is refused by a machine with a pin, though all fits together."""
    state = str(tmp_path / "state")
    judge.made.open(judge.store, state_dir=state)
    store = rolled_back(judge)
    with pytest.raises(IntegrityError, match="rolled back"):
        judge.made.open(store, state_dir=state)


def test_an_old_state_is_noticed_as_late_by_who_sees_it_first(judge):
    """Without a pin an old state is sound; the promised snapshot that is missing gives it away."""
    repository = open_for_check(
        judge.store, clock=SteppingClock(DUE), admins=judge.made.keys.admins
    )
    soon = check(repository, CheckRequest(blind=True))
    assert not [f for f in soon.findings if f.code == "late"]
    late = open_for_check(
        judge.store, clock=SteppingClock(DUE.replace(year=2027)), admins=judge.made.keys.admins
    )
    assert [f.code for f in check(late, CheckRequest(blind=True)).findings if f.code == "late"]


def test_a_cut_journal_is_noticed_by_what_was_stored_after_it(judge):
    """An inventory of a session that the journal does not know proves that the journal was longer."""
    store = judge.store.copy()
    for n in range(5, len(judge.of_kind("journal")) + 1):
        del store.objects[entry_name(n)]
    report = check(
        open_for_check(store, clock=SteppingClock(), admins=judge.made.keys.admins),
        CheckRequest(blind=True),
    )
    assert not report.sound
    assert {f.code for f in report.findings} == {"rollback", "left-over"}


def rolled_back(judge: Judge) -> MemoryStore:
    """Return the store as it was before its newest session."""
    store = judge.store.copy()
    repository = judge.made.open(store)
    newest = repository.live_commits()[-1]
    for name in judge.names:
        if newest.session.hex() in name or store.objects[name][32:48] == newest.session:
            del store.objects[name]
    for n in range(newest.n - 1, newest.n + 1):
        del store.objects[entry_name(n)]
    return store


def test_an_old_state_of_the_whole_store_is_sound_in_itself(judge):
    """The rolled back store used here is a real old state: a check without memory finds no error."""
    assert judge.check(rolled_back(judge)).sound


def test_only_the_hint_is_ever_replaced(judge):
    """A hint of another repository is refused by who knows which one it should be."""
    store = judge.store.copy()
    store.objects[HINT_NAME] = make_other_hint()
    with pytest.raises(IntegrityError):
        judge.made.open(store, repository_id=judge.made.keys.id)


def make_other_hint() -> bytes:
    """Return the sound hint of another repository."""
    from doubles.repositories import new_repository  # noqa: PLC0415 - made only here

    return new_repository().store.objects[HINT_NAME]


def test_reading_in_slices_reads_everything_once(judge):
    """Consecutive slices of 30 percent are disjoint, and four of them read every pack."""
    read = []
    for turn in range(4):
        report = judge.check(judge.store, CheckRequest(read=Slice.percent(30, turn)))
        chosen = [n for n in judge.of_kind("packs") if Slice.percent(30, turn).holds(n)]
        meta = len(judge.of_kind("meta")) + len(judge.of_kind("refs"))
        assert report.read_objects == len(chosen) + meta
        read += chosen
    assert sorted(read) == judge.of_kind("packs")


def test_a_change_outside_the_slice_waits_for_its_turn(judge):
    """A changed pack is found by the check whose slice holds it, and by one of any four in a row."""
    name = next(n for n in judge.of_kind("packs") if n not in judge.garbage)
    store = flipped(judge, name, 1000)
    found = [
        not judge.check(store, CheckRequest(read=Slice.percent(25, turn))).sound
        for turn in range(4)
    ]
    assert found.count(True) == 1


def test_the_request_of_every_check_here_reads_everything():
    """The whole checks above are whole."""
    assert WHOLE.read == Slice(0, 1)
    assert Path(__file__).name == "test_damage.py"
