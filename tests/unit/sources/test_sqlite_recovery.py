"""Every kind of damage to a restored database is seen by a probe, and nothing else is."""

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.databases import PlainRunner, Taken, connect, failed, make_bank, probe, take
from drkeeper.sources.base import Ran, RestoredTree
from drkeeper.sources.sqlite import SqliteRecovery
from drkeeper.sources.sqlite.child import examine

SIDECAR = ".drkeeper.json"


@dataclass
class Restored:
    """A restored database, and what a snapshot before it had."""

    bank: Path
    place: Path
    tree: RestoredTree
    earlier: Taken
    taken: Taken

    def probes(self) -> set[str]:
        return failed(probe(self.tree, self.bank))

    def change(self, statement: str) -> None:
        with closing(connect(self.place)) as changed:
            changed.execute("PRAGMA foreign_keys = OFF")
            changed.execute(statement)

    def beside(self, suffix: str) -> Path:
        return self.place.with_name(self.place.name + suffix)

    def root_page(self, name: str) -> int:
        with closing(connect(self.place)) as asked:
            query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
            return asked.execute(query, (name,)).fetchone()[0]


@pytest.fixture
def restored(tmp_path):
    """A database that was written to, backed up, written to, backed up, and restored."""
    bank, spool = tmp_path / "bank.db", tmp_path / "spool"
    with closing(make_bank(bank, "delete")) as writing:
        earlier = take(bank, spool=spool)
        writing.execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
        writing.execute("UPDATE account SET balance = balance - 1 WHERE id = 2")
        taken = take(bank, spool=spool)
    tree = taken.put(tmp_path / "out")
    place = tmp_path / "out" / str(bank)[1:]
    return Restored(bank, place, tree, earlier, taken)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def flipped_row(restored):
    data = restored.place.read_bytes()
    with closing(connect(restored.place)) as asked:
        (pad,) = asked.execute("SELECT pad FROM movement WHERE id = 77").fetchone()
    flip(restored.place, data.index(pad) + 300)


def zeroed_page(restored):
    data = bytearray(restored.place.read_bytes())
    at = (restored.root_page("by_account") - 1) * 4096
    data[at : at + 4096] = bytes(4096)
    restored.place.write_bytes(data)


def truncated(restored):
    os.truncate(restored.place, restored.place.stat().st_size - 4096)


def longer(restored):
    with restored.place.open("ab") as file:
        file.write(b"x")


def emptied(restored):
    restored.place.write_bytes(b"")


def missing(restored):
    restored.place.unlink()


def noise(restored):
    restored.place.write_bytes(os.urandom(8192))


def link(restored):
    restored.place.unlink()
    restored.place.symlink_to("/dev/null")


def missing_rows(restored):
    restored.change("DELETE FROM movement WHERE id > 190")


def another_row(restored):
    restored.change("UPDATE movement SET pad = x'00' WHERE id = 3")


def emptied_table(restored):
    restored.change("DELETE FROM total")


def orphans(restored):
    restored.change("UPDATE movement SET account = 9999 WHERE id = 4")


def other_schema(restored):
    restored.change("DROP INDEX by_account")


def other_version(restored):
    restored.change("PRAGMA user_version = 3")


def other_application(restored):
    restored.change("PRAGMA application_id = 3")


def yesterday(restored):
    restored.earlier.put(Path(os.fsdecode(restored.tree.root)))


def yesterday_without_its_fingerprint(restored):
    restored.place.write_bytes(restored.earlier.data[os.fsencode(restored.bank)[1:]])


def a_log_beside(restored):
    with closing(make_bank(restored.bank.with_name("other.db"), "wal")):
        log = restored.bank.with_name("other.db-wal").read_bytes()
    restored.beside("-wal").write_bytes(log)


def a_journal_beside(restored):
    restored.beside("-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504))


def no_fingerprint(restored):
    restored.beside(SIDECAR).unlink()


def half_a_fingerprint(restored):
    said = json.loads(restored.beside(SIDECAR).read_text())
    del said["content"]
    restored.beside(SIDECAR).write_text(json.dumps(said))


def nonsense_for_a_fingerprint(restored):
    restored.beside(SIDECAR).write_bytes(b"[[[[" * 1000)


def anothers_fingerprint(restored):
    said = json.loads(restored.beside(SIDECAR).read_text())
    restored.beside(SIDECAR).write_text(json.dumps({**said, "database": "/else.db"}))


DAMAGE = {
    flipped_row: "bytes",
    zeroed_page: "integrity",
    truncated: "bytes",
    longer: "bytes",
    emptied: "bytes",
    missing: "opens",
    noise: "opens",
    link: "opens",
    missing_rows: "rows",
    another_row: "bytes",
    emptied_table: "rows",
    orphans: "foreign-keys",
    other_schema: "schema",
    other_version: "settings",
    other_application: "settings",
    yesterday: "instant",
    yesterday_without_its_fingerprint: "bytes",
    a_log_beside: "beside",
    a_journal_beside: "beside",
    no_fingerprint: "fingerprint",
    half_a_fingerprint: "fingerprint",
    nonsense_for_a_fingerprint: "fingerprint",
    anothers_fingerprint: "fingerprint",
}
"""What is done to a restored database, and the probe that must see it."""


def test_what_was_not_damaged_passes(restored):
    """No false alarm, and every probe is there."""
    probes = probe(restored.tree, restored.bank)

    assert not failed(probes)
    assert {each.name for each in probes} == {
        "fingerprint",
        "bytes",
        "beside",
        "settings",
        "schema",
        "rows",
        "integrity",
        "foreign-keys",
        "usable",
        "instant",
    }


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_seen(restored, damage):
    """By the probe that claims to cover it."""
    damage(restored)

    assert DAMAGE[damage] in restored.probes()


def test_an_index_that_was_wrong_before_is_the_sources_fault(tmp_path, restored):
    """The backup's quick look does not compare indexes with rows; the drill does, and says whose it is."""
    with closing(connect(restored.place)) as wrong:
        wrong.execute("PRAGMA writable_schema = ON")
        wrong.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX by_account ON movement(id)' "
            "WHERE name = 'by_account'"
        )
    taken = take(restored.place, spool=tmp_path / "spool")
    probes = probe(taken.put(tmp_path / "again"), restored.place)

    assert failed(probes) == {"integrity"}
    (integrity,) = [each for each in probes if each.name == "integrity"]
    assert "was so at the source" in integrity.found


def test_the_newest_instant_is_when_the_first_was_locked(restored):
    """Data time of a restored database, by its own evidence; none without."""
    recovery = SqliteRecovery((os.fsencode(restored.bank),))
    with recovery.start(restored.tree, PlainRunner()) as running:
        instant = running.newest_instant()
        assert restored.tree.consistent_at <= instant
        assert instant - restored.tree.consistent_at < timedelta(minutes=1)
        restored.beside(SIDECAR).unlink()
        assert running.newest_instant() is None


def test_a_fingerprint_tells_states_apart(restored):
    """What is asked of a restored database is what was asked of the source."""
    recovery = SqliteRecovery((os.fsencode(restored.bank),))
    with recovery.start(restored.tree, PlainRunner()) as running:
        found = running.fingerprint()[str(restored.bank)[1:]]
    said = json.loads(restored.beside(SIDECAR).read_text())

    assert found == {key: said[key] for key in ("bytes", "sha256", "content")}


def test_a_program_that_dies_is_a_database_that_does_not_open(restored):
    """A hostile database may end the process that looks at it; the drill goes on."""

    class Dying:
        def run(self, argv, *, timeout):
            del argv, timeout
            return Ran(-11, b'{"half', b"")

    recovery = SqliteRecovery((os.fsencode(restored.bank),))
    with recovery.start(replace(restored.tree), Dying()) as running:
        assert failed(list(running.probe())) == {"opens"}
        assert running.fingerprint()[str(restored.bank)[1:]]["sha256"] is None


def test_an_examination_is_of_bytes_first(restored):
    """The digest is taken before SQLite, which opens for writing at the end, touches anything."""
    said = json.loads(restored.beside(SIDECAR).read_text())
    answer = examine(os.fsencode(restored.place))

    assert answer["sha256"] == said["sha256"]
    assert answer["integrity"] == []
    assert answer["sqlite"] == sqlite3.sqlite_version
