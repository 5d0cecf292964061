"""The ledger kept in a repository: stored in parts, compared, and brought back."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from doubles.forging import recomputed
from doubles.kept import KeptSeries
from doubles.ledgers import behind_its_back, ledger_at, live_through, what_a_reader_sees
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import IntegrityError, LedgerError
from drkeeper.ledger import storing
from drkeeper.ledger.checkpoints import origin_in
from drkeeper.ledger.engine import writing
from drkeeper.ledger.entries import Part, decode_part
from drkeeper.operations.keeping_ledgers import covered, gather, read_kept, store_ledger

KEY = SigningKey(b"k" * 32)
KEYS = [KEY.verify_key]


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A ledger of some events; tests work with copies of it, for making one takes longest."""
    path = tmp_path_factory.mktemp("lived") / "ledger.sqlite"
    with ledger_at(path) as ledger:
        live_through(ledger, 7, runs=5)
    return path


@pytest.fixture
def path(tmp_path, lived):
    path = tmp_path / "state" / "ledger.sqlite"
    path.parent.mkdir(mode=0o700)
    shutil.copy(lived, path)
    return path


@pytest.fixture
def ledger(path):
    with ledger_at(path) as opened:
        yield opened


@pytest.fixture
def series():
    return KeptSeries()


def store(ledger, series, **more):
    return store_ledger(ledger, series, KEY, "keeper", **more)


def rows(path):
    """Everything in a ledger's file, table by table."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_only_what_is_new_is_stored(ledger, series):
    """The whole chain first, then what was added; and nothing when there is nothing new."""
    first = store(ledger, series)
    assert (first.number, first.added) == (1, first.size)
    assert store(ledger, series) == replace(first, added=0)
    live_through(ledger, 8, runs=2, first=6)
    second = store(ledger, series, seen=1)
    assert (second.number, second.size) == (2, ledger.last_event().seq)
    assert second.added == second.size - first.size
    parts = [decode_part(series.entries[number]) for number in (1, 2)]
    assert [parts[0].first, parts[1].first] == [1, first.size + 1]
    assert parts[1].prev == parts[0].head
    assert [note.size for part in parts for note in part.notes] == [first.size, second.size]


def test_a_long_chain_is_stored_in_several_parts(ledger, series, monkeypatch):
    """No entry outgrows what an object may hold; together they are the chain."""
    monkeypatch.setattr(storing, "MOST_TEXT_BYTES", 1500)
    stored = store(ledger, series)
    assert stored.number > 3
    gathered = gather(read_kept([series]), ledger.origin(), KEYS)
    assert gathered.events == ledger.events(limit=10**6)


def test_a_ledger_comes_back_byte_for_byte(ledger, series, tmp_path, path):
    """Chain, tables and checkpoints of a ledger made from what is stored are those that were lost."""
    store(ledger, series)
    live_through(ledger, 9, runs=2, first=6)
    store(ledger, series)
    gathered = gather(read_kept([series]), ledger.origin(), KEYS)
    assert (gathered.machine, gathered.newer, gathered.findings) == ("keeper", 0, ())
    again = tmp_path / "again" / "ledger.sqlite"
    storing.make_ledger(again, gathered.events, gathered.notes)
    with ledger_at(again) as made:
        assert made.verify(covered(read_kept([series]), made.origin(), KEYS).signed).ok
        assert what_a_reader_sees(made) == what_a_reader_sees(ledger)
    passing = ('INSERT INTO "lease"', 'INSERT INTO "daemon"')
    assert [line for line in rows(path) if not line.startswith(passing)] == rows(again)


def test_where_a_ledger_is_none_is_made(ledger, series, path):
    """What is there is never written over."""
    store(ledger, series)
    gathered = gather(read_kept([series]), ledger.origin(), KEYS)
    with pytest.raises(LedgerError, match="there is a ledger already"):
        storing.make_ledger(path, gathered.events, gathered.notes)


def test_a_chain_computed_anew_is_found_by_what_is_stored(ledger, series, path, tmp_path):
    """It verifies by itself; beside a stored checkpoint it does not, and nothing is stored of it."""
    store(ledger, series)
    forged = tmp_path / "forged" / "ledger.sqlite"
    recomputed(path, 3, forged)
    with ledger_at(forged) as other:
        assert other.verify().ok
        found = covered(read_kept([series]), other.origin(), KEYS)
        assert found.findings == ()
        (finding,) = other.verify(found.signed).findings
        assert "are not those that a checkpoint was signed for" in finding
        live_through(other, 3, runs=1, first=9)
        with pytest.raises(IntegrityError, match="are not those that were stored"):
            store(other, series)
    assert len(series.entries) == 1


def test_a_chain_that_was_cut_short_is_found_by_what_is_stored(ledger, series, path, tmp_path):
    """An older copy in the place of the ledger is sound by itself, and shorter than what is stored."""
    older = tmp_path / "older" / "ledger.sqlite"
    older.parent.mkdir(mode=0o700)
    shutil.copy(path, older)
    live_through(ledger, 8, runs=2, first=6)
    size = store(ledger, series).size
    with ledger_at(older) as other:
        assert other.verify().ok
        found = covered(read_kept([series]), other.origin(), KEYS)
        (finding,) = other.verify(found.signed).findings
        assert f"checkpoint of {size} events was signed, but only" in finding
        with pytest.raises(IntegrityError, match="are not those that were stored"):
            store(other, series)


def test_entries_that_are_gone_from_the_store_are_told(ledger, series):
    """A machine that has seen three entries does not begin again at two."""
    for first in (6, 7, 8):
        live_through(ledger, first, runs=1, first=first)
        store(ledger, series)
    del series.entries[3]
    with pytest.raises(IntegrityError, match="entry 3 of the stored ledger is gone"):
        store(ledger, series, seen=3)


def test_junk_and_damage_in_the_store_hold_up_nothing(ledger, series):
    """Whoever can write there puts junk at any number: it is told, and what is missing is stored."""
    first = store(ledger, series)
    series.entries |= {2: b"junk", 10**12 - 1: b"junk"}
    live_through(ledger, 8, runs=2, first=6)
    second = store(ledger, series, seen=1)
    assert second.number == 3
    kept = read_kept([series])
    assert f"{series.name(4)} to {series.name(10**12 - 2)} are missing" in kept.findings
    gathered = gather(kept, ledger.origin(), KEYS)
    assert gathered.events == ledger.events(limit=10**6)
    series.entries[3] = b"damaged"
    third = store(ledger, series, seen=3)
    assert (third.number, third.added) == (4, second.size - first.size)
    assert gather(read_kept([series]), ledger.origin(), KEYS).events == gathered.events


def test_two_processes_that_store_at_once_store_everything_once(ledger, series):
    """The slower one sees what the other stored, and stores what is left."""
    series.before_put = lambda: store(ledger, series)
    stored = store(ledger, series)
    assert (stored.number, stored.added, len(series.entries)) == (1, 0, 1)


def test_a_ledger_that_was_begun_anew_is_stored_beside_the_old_one(ledger, series, tmp_path):
    """Both can be brought back; the new one is told that there was another."""
    store(ledger, series)
    with ledger_at(tmp_path / "new" / "ledger.sqlite") as new:
        live_through(new, 3, runs=1)
        assert store(new, series).number == 2
        kept = read_kept([series])
        assert covered(kept, new.origin(), KEYS).others == {
            ledger.origin(): ledger.last_event().seq
        }
        assert gather(kept, new.origin(), KEYS).events == new.events(limit=10**6)
    assert gather(kept, ledger.origin(), KEYS).events == ledger.events(limit=10**6)


def split(ledger, series, *sizes):
    """Store a chain in parts that end at these sizes, whatever was stored before."""
    chain = ledger.events(limit=10**6)
    ends = [*sizes, len(chain)]
    for begin, end in zip([0, *sizes], ends, strict=True):
        prev = chain[begin - 1].hash if begin else bytes(32)
        part = Part(ledger.origin(), "keeper", prev, chain[begin:end])
        series.put(max(series.numbers(), default=0) + 1, part.encode())


def test_what_is_missing_in_one_series_is_taken_from_another(ledger):
    """Hosts that share a ledger each store all of it, cut where they happened to."""
    one, two = KeptSeries("aa" * 16), KeptSeries("bb" * 16)
    split(ledger, one, 4, 9, 12)
    split(ledger, two, 6, 10)
    del one.entries[2], two.entries[3]
    gathered = gather(read_kept([one, two]), ledger.origin(), KEYS)
    assert gathered.events == ledger.events(limit=10**6)
    assert gathered.findings == (f"{one.name(2)} is missing",)


def test_a_hole_ends_what_can_be_brought_back(ledger, series):
    """What is sound before it is there, what is behind it is counted, and the hole is named."""
    split(ledger, series, 4, 9)
    series.entries[2] = series.entries[2].replace(b'"seq":6', b'"seq":7')
    gathered = gather(read_kept([series]), ledger.origin(), KEYS)
    assert gathered.events == ledger.events(limit=4)
    assert gathered.newer == ledger.last_event().seq - 4
    assert gathered.findings == (f"{series.name(2)}: stored part of a ledger leaves an event out",)


def test_without_its_beginning_nothing_is_brought_back(ledger, series):
    """There is no chain without its first event."""
    split(ledger, series, 4)
    del series.entries[1]
    with pytest.raises(IntegrityError, match="the beginning of ledger"):
        gather(read_kept([series]), ledger.origin(), KEYS)


def test_two_histories_of_one_ledger_are_not_mixed(ledger, path, tmp_path):
    """Parts that contradict each other are an error that names where."""
    one, two = KeptSeries("aa" * 16), KeptSeries("bb" * 16)
    split(ledger, one, 4)
    forged = tmp_path / "forged" / "ledger.sqlite"
    recomputed(path, 3, forged)
    with ledger_at(forged) as other:
        split(other, two, 6)
    with pytest.raises(IntegrityError, match="tell different histories from event 1 on"):
        gather(read_kept([one, two]), ledger.origin(), KEYS)


def test_a_checkpoint_by_nobody_known_proves_nothing(ledger, series):
    """It is a finding when verifying, and an error when rebuilding."""
    store_ledger(ledger, series, SigningKey(b"x" * 32), "keeper")
    kept = read_kept([series])
    found = covered(kept, ledger.origin(), KEYS)
    assert (found.signed, found.size, found.made_at) == ((), 0, None)
    assert found.findings == (f"{series.name(1)}: note is not signed by a known key",)
    with pytest.raises(IntegrityError, match="not signed by a known key"):
        gather(kept, ledger.origin(), KEYS)


def test_a_ledger_of_which_nothing_is_stored_is_told_from_others(ledger, series, tmp_path):
    """An empty series says nothing; one that holds only another ledger is a finding."""
    assert covered(read_kept([series]), ledger.origin(), KEYS).findings == ()
    with ledger_at(tmp_path / "new" / "ledger.sqlite") as new:
        store(new, series)
    found = covered(read_kept([series]), ledger.origin(), KEYS)
    assert found.findings == ("entries of another ledger are stored, and none of this one",)


def test_a_damaged_end_is_not_stored(ledger, series, path):
    """What was changed behind drkeeper's back does not reach the store as if it were history."""
    store(ledger, series)
    live_through(ledger, 8, runs=2, first=6)
    behind_its_back(
        path, "UPDATE event SET body = '{}' WHERE seq = (SELECT max(seq) - 1 FROM event)"
    )
    with pytest.raises(LedgerError):
        store(ledger, series)
    assert len(series.entries) == 1


LIES = {
    "form": lambda text: text.replace("ledger-entry/1", "ledger-entry/2"),
    "prev": lambda text: text.replace('"prev":"0', '"prev":"1', 1),
    "head": lambda text: text.replace('"head":"', '"head":"0', 1),
    "last": lambda text: text.replace('"last":', '"last":1', 1),
    "kind of line": lambda text: text.replace('"type":"event"', '"type":"evil"', 1),
    "half": lambda text: text[: len(text) // 2],
    "more": lambda text: text + "{}\n",
    "deep": lambda text: text + "[" * 100_000 + "\n",
    "number": lambda text: text + "7\n",
    "size": lambda text: text.replace('"size":', '"size":9', 1),
    "instant": lambda text: text.replace('"made_at":"2', '"made_at":"x', 1),
    "blank": lambda _text: "\n",
    "nothing": lambda _text: "",
    "no ASCII": lambda text: text + "\u00e4\n",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_part_that_is_not_what_was_stored_is_refused(ledger, series, lie):
    """Whatever a host may have signed: no crash, no guess."""
    store(ledger, series)
    with pytest.raises(IntegrityError, match="stored part of a ledger"):
        decode_part(LIES[lie](series.entries[1].decode()).encode())


def test_every_part_names_the_ledger(ledger, series):
    """By the name that its first event bears."""
    store(ledger, series)
    with writing(ledger._engine) as connection:
        assert decode_part(series.entries[1]).origin == origin_in(connection)
