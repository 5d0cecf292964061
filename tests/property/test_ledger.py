"""Laws of the ledger: every history verifies, every change behind its back is found."""

import json
import os
import random
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from msgspec.structs import replace

from doubles.clock import FakeClock
from doubles.forging import HOW, recomputed
from doubles.kept import KeptSeries
from doubles.ledgers import behind_its_back, ledger_at, live_through, what_a_reader_sees
from drkeeper.crypto.merkle import Tree, leaf_hash
from drkeeper.crypto.notes import Checkpoint
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import LedgerError
from drkeeper.ledger.events import canonical, hashed_bytes
from drkeeper.ledger.ledger import Ledger
from drkeeper.ledger.storing import make_ledger
from drkeeper.operations.keeping_ledgers import gather, read_kept, store_ledger
from services.postgresql import fresh_schema

KEY = SigningKey(b"k" * 32)
FEW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def empty():
    """A ledger just made; histories start from copies of it, for making one takes longest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        ledger_at(path).close()
        yield path


@pytest.fixture(scope="module")
def lived(empty):
    """A ledger of some 40 events."""
    path = empty.parent / "lived.db"
    shutil.copy(empty, path)
    with ledger_at(path) as ledger:
        live_through(ledger, 11, runs=15)
    return path


@given(seed=st.integers(0, 10**6), runs=st.integers(0, 12))
@FEW
def test_every_history_verifies_and_is_rebuilt_as_it_was(empty, tmp_path, seed, runs):
    """Whatever happened, the ledger verifies, and its tables follow from its events alone."""
    path = shutil.copy(empty, tmp_path / "ledger.sqlite")
    with ledger_at(path) as ledger:
        live_through(ledger, seed, runs=runs)
        before = what_a_reader_sees(ledger)
        report = ledger.verify()
        assert report.ok
        assert report.events == len(ledger.events())
        assert [event.seq for event in ledger.events()] == list(range(1, report.events + 1))
        ledger.rebuild_projections()
        assert what_a_reader_sees(ledger) == before
        assert ledger.verify() == report


@pytest.mark.integration
@given(seed=st.integers(0, 10**6), runs=st.integers(0, 12))
@settings(FEW, max_examples=8)
def test_every_history_is_the_same_on_a_server(postgresql, tmp_path_factory, seed, runs):
    """The same history in a file and on a server is the same to a reader, name for name, and
    verifies and is rebuilt on both.
    """
    seen = []
    for place in (tmp_path_factory.mktemp("s") / "ledger.sqlite", fresh_schema(postgresql)):
        with ledger_at(place, clock=FakeClock()) as ledger:
            live_through(ledger, seed, runs=runs)
            before = what_a_reader_sees(ledger)
            report = ledger.verify()
            assert report.ok
            ledger.rebuild_projections()
            assert what_a_reader_sees(ledger) == before
            assert ledger.verify() == report
            seen.append(_without_names(before))
    assert seen[0] == seen[1]


def _without_names(seen):
    """Write down what a reader sees with the names of runs, hashes and the ledger's own left out."""
    events = [replace(event, prev=b"", hash=b"") for event in seen[0]]
    return re.sub(r"\b([0-9a-f]{16}|[0-9a-f]{32})\b", "?", repr([events, *seen[1:]]))


_EDITS = (
    "UPDATE event SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = {0}",
    "UPDATE event SET kind = kind || 'x' WHERE seq = {0}",
    "UPDATE event SET body = replace(body, '{{', '{{ ') WHERE seq = {0}",
    "UPDATE event SET prev = zeroblob(32) WHERE seq = {0} AND seq > 1",
    "UPDATE event SET hash = randomblob(32) WHERE seq = {0}",
    "UPDATE event SET hash = hex(hash) WHERE seq = {0}",
    "UPDATE event SET body = CAST(body AS BLOB) WHERE seq = {0}",
    "UPDATE event SET seq = seq + 1000 WHERE seq = {0}",
    "UPDATE event SET seq = -seq WHERE seq = {0}",
    "DELETE FROM event WHERE seq = {0}",
    "DELETE FROM event WHERE seq >= {0}",
    "INSERT INTO event SELECT seq + 1000, at, kind, body, prev, hash FROM event WHERE seq = {0}",
    "INSERT INTO event SELECT -seq, at, kind, body, prev, hash FROM event WHERE seq = {0}",
)


@given(edit=st.sampled_from(_EDITS), place=st.integers(0, 10**6))
@settings(FEW, max_examples=60)
def test_every_edit_of_an_event_is_found(lived, tmp_path, edit, place):
    """An event changed, removed, added or renumbered with a database tool does not verify."""
    path = shutil.copy(lived, tmp_path / "ledger.sqlite")
    with ledger_at(path) as ledger:
        last = ledger.verify().events
        seq = 2 + place % (last - 1)
        behind_its_back(path, edit.format(seq))
        assert not ledger.verify().ok


@given(places=st.lists(st.integers(1, 30), min_size=2, max_size=2, unique=True))
@FEW
def test_events_that_changed_places_are_found(lived, tmp_path, places):
    """Two events that swap their positions do not verify, though each row is one of ours."""
    first, second = places
    path = shutil.copy(lived, tmp_path / "ledger.sqlite")
    with ledger_at(path) as ledger:
        behind_its_back(
            path,
            f"UPDATE event SET seq = -1 WHERE seq = {first}",
            f"UPDATE event SET seq = {first} WHERE seq = {second}",
            f"UPDATE event SET seq = {second} WHERE seq = -1",
        )
        assert not ledger.verify().ok


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_bodies_are_spelt_once_and_for_all(body):
    """Any body is plain ASCII without NUL, and spelling what was spelt changes nothing."""
    spelt = canonical({"body": body})
    assert spelt.isascii()
    assert "\0" not in spelt
    assert "\\u0000" not in spelt
    assert canonical(json.loads(spelt)) == spelt


def rebuilt(path, tmp_path, seed, runs):
    """Let a ledger live and be stored now and then, and make it anew from what is stored."""
    chance, series = random.Random(seed), KeptSeries()
    again = tmp_path / "again" / "ledger.sqlite"
    for each in (path, again):
        shutil.rmtree(each.parent, ignore_errors=True)
    with ledger_at(path) as ledger:
        for number in range(1, runs + 1):
            live_through(ledger, chance.randrange(10**6), runs=1, first=number)
            if chance.random() < 0.3:
                store_ledger(ledger, series, KEY, "keeper")
        store_ledger(ledger, series, KEY, "keeper")
        gathered = gather(read_kept([series]), ledger.origin(), [KEY.verify_key])
        make_ledger(again, gathered.events, gathered.notes)
        with ledger_at(again) as made:
            assert what_a_reader_sees(made) == what_a_reader_sees(ledger)
            assert made.checkpoints() == ledger.checkpoints()
            assert made.verify().ok
    assert kept_rows(again) == kept_rows(path)


def kept_rows(path):
    """Everything in the file but what goes with the processes that wrote it."""
    with closing(sqlite3.connect(path)) as connection:
        local = ('INSERT INTO "lease"', 'INSERT INTO "daemon"')
        return [line for line in connection.iterdump() if not line.startswith(local)]


@given(seed=st.integers(0, 10**6), runs=st.integers(0, 12))
@settings(FEW, max_examples=10)
def test_every_history_is_rebuilt_from_storage_as_it_was(tmp_path, seed, runs):
    """Tables, chain and checkpoints of a ledger made from what was stored are the ones that were lost."""
    rebuilt(tmp_path / "one" / "ledger.sqlite", tmp_path, seed, runs)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(200))
def test_two_hundred_histories_are_rebuilt_from_storage_as_they_were(tmp_path, seed):
    """As above, for histories of up to thirty runs."""
    rebuilt(tmp_path / "one" / "ledger.sqlite", tmp_path, seed, seed % 31)


@given(at=st.integers(2, 28), size=st.integers(0, 30), how=st.sampled_from(sorted(HOW)))
@settings(FEW, max_examples=15)
def test_a_chain_computed_anew_is_found_by_every_later_checkpoint(lived, tmp_path, at, size, how):
    """Whichever event was changed, removed or swapped with the next: each checkpoint that covers
    it tells, and no other, however soundly the rest was computed.
    """
    path = tmp_path / "ledger.sqlite"
    shutil.copy(lived, path)
    with ledger_at(path) as ledger:
        chain = ledger.events(limit=10**6)
        tree = Tree([leaf_hash(hashed_bytes(event)) for event in chain[:size]])
        kept = Checkpoint(ledger.origin(), size, tree.root)
    forged = tmp_path / "forged" / "ledger.sqlite"
    shutil.rmtree(forged.parent, ignore_errors=True)
    recomputed(path, at, forged, how)
    with ledger_at(forged) as other:
        told = [
            each for each in other.verify([kept]).findings if "a checkpoint was signed for" in each
        ]
        assert bool(told) == (size >= at)
        if how == "edited":
            assert other.verify().ok


PARTS = 64
"""Of a run over all bits, so that it can be shared between processors, and ended."""


def flips(lived: Path, chosen: Iterable[int], path: Path, *, wholly: bool) -> tuple[int, int]:
    """Flip one bit at a time; return how many change what SQLite serves, and how many were found.

    A flip is *found* when opening fails or verify has findings. One that is not must not change what
    a reader sees. Whoever reads a ledger reads what SQLite serves, so where that is the same nobody
    sees anything; ``wholly`` says to ask the ledger even so, whether that is true.
    """
    shutil.copy(lived, path)
    served = as_served(path)
    assert served is not None
    with ledger_at(path, read_only=True) as ledger:
        before = what_a_reader_sees(ledger)
    missed, changed, found = [], 0, 0
    with ledger_at(path, read_only=True) as ledger, path.open("r+b", buffering=0) as file:
        for bit in chosen:
            (sound,) = os.pread(file.fileno(), 1, bit // 8)
            os.pwrite(file.fileno(), bytes([sound ^ 1 << bit % 8]), bit // 8)
            changes = as_served(path) != served
            noticed = (wholly or changes) and (_is_noticed(ledger) or _is_noticed_anew(path))
            if (wholly or changes) and not noticed and _is_seen(path, before):
                missed.append(bit)
            changed, found = changed + changes, found + noticed
            os.pwrite(file.fileno(), bytes([sound]), bit // 8)
    assert missed == []
    return changed, found


def as_served(path: Path) -> list[object] | None:
    """Return all that SQLite serves of a database, and whether it thinks it whole; ``None`` for none."""
    try:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            connection.text_factory = bytes
            names = "application_id", "user_version", "encoding", "integrity_check"
            found: list[object] = [
                connection.execute(f"PRAGMA {name}").fetchall() for name in names
            ]
            schema = connection.execute("SELECT * FROM sqlite_schema ORDER BY rowid").fetchall()
            for kind, name, *_ in schema:
                if kind == b"table":
                    found.append(connection.execute(f'SELECT * FROM "{name.decode()}"').fetchall())
            return [schema, *found]
    except (sqlite3.Error, UnicodeDecodeError):
        return None


def _is_noticed(ledger: Ledger) -> bool:
    try:
        return not ledger.verify().ok
    except LedgerError:
        return True
    finally:
        ledger.close()  # what it has read is not read again


def _is_noticed_anew(path: Path) -> bool:
    try:
        with ledger_at(path, read_only=True) as ledger:
            return _is_noticed(ledger)
    except LedgerError:
        return True


def _is_seen(path: Path, before: list[object]) -> bool:
    try:
        with ledger_at(path, read_only=True) as ledger:
            return what_a_reader_sees(ledger) != before
    except LedgerError:
        return True


def used_bits(path: Path) -> list[int]:
    """Name every bit of the file that is not in the midst of a hole of zeros."""
    data = path.read_bytes()
    return [
        8 * place + bit
        for place in range(len(data))
        if any(data[max(0, place - 4) : place + 5])
        for bit in range(8)
    ]


@pytest.fixture
def of_sixty(empty, tmp_path):
    """A ledger of sixty rows or some more, in all its tables."""
    path = tmp_path / "sixty" / "ledger.sqlite"
    path.parent.mkdir(mode=0o700)
    shutil.copy(empty, path)
    with ledger_at(path) as ledger:
        live_through(ledger, 5, runs=7)
        assert ledger.verify().events >= 19
    with closing(sqlite3.connect(path)) as connection:
        inserted = [line for line in connection.iterdump() if line.startswith("INSERT INTO")]
        assert 60 <= len(inserted) < 90
    (tmp_path / "flips").mkdir(mode=0o700)
    return path


def test_flipped_bits_are_found(of_sixty, tmp_path):
    """Of the bits in use, 500 at random: none changes what a reader sees without being found."""
    chosen = random.Random(1).sample(used_bits(of_sixty), 500)
    changed, found = flips(of_sixty, chosen, tmp_path / "flips" / "ledger.sqlite", wholly=True)
    assert changed >= found > 250


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_every_flipped_bit_is_found(of_sixty, tmp_path, part):
    """All bits of a ledger of some sixty rows, one after the other: none is missed."""
    every = range(part, 8 * of_sixty.stat().st_size, PARTS)
    changed, found = flips(of_sixty, every, tmp_path / "flips" / "ledger.sqlite", wholly=False)
    assert changed >= found > 100_000 // PARTS
