"""The ledger and its copies in a repository, by the command line."""

import json
import sqlite3
from contextlib import closing

import pytest

from doubles.installation import Installation, expect

pytestmark = pytest.mark.e2e


@pytest.fixture
def home(tmp_path):
    return Installation(tmp_path).init()


def ledger(home):
    return home.home / "state" / "ledger.sqlite"


def rows(path):
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def covered(home, *options):
    """Return what ``ledger verify --storage`` says of the one repository."""
    lines = home.lines("ledger", "verify", "--storage", *options)
    (item,) = [line for line in lines if line["message_type"] == "item"]
    return item


def test_a_backup_by_hand_stores_the_ledger(home):
    """Nothing has to be asked for; verifying says what is covered, and how much is newer."""
    home.done("backup", "files")
    seen = covered(home)
    assert (seen["ok"], seen["newer"], seen["checkpoints"]) == (True, 0, 1)
    home.done("restore", "files", "--to", "copy")
    assert covered(home)["newer"] > 0
    assert "1 of" not in home.done("ledger", "store")
    assert covered(home)["newer"] == 0
    assert "nothing new" in home.done("ledger", "store")


def test_a_store_that_is_away_fails_no_backup_and_no_verification(home):
    """The ledger alone is verified then, and the exit code says that something was left out."""
    home.done("backup", "files")
    home.store.rename(home.home / "away")
    result = home.run("ledger", "verify", "--storage")
    assert result.returncode in {10, 17}
    assert "could not be compared with" in result.stderr
    assert home.done("ledger", "verify").endswith("unchanged\n")


def test_a_lost_ledger_is_rebuilt_with_any_key_that_reads(home):
    """With the host's own key, and on a bare machine with the kit; what is whole stays."""
    home.done("backup", "files")
    before = rows(ledger(home))
    expect(home.run("ledger", "rebuild", "--from-storage"), 23, "is whole", "--replace")
    ledger(home).unlink()
    home.done("ledger", "rebuild", "--from-storage")
    assert rows(ledger(home)) == before
    said = home.lines("ledger", "rebuild", "--from-storage", "--replace", "--identity", home.kit)
    aside = said[-1]["aside"]
    assert rows(ledger(home)) == before == rows(aside)


def test_a_damaged_ledger_is_moved_aside(home):
    """Nothing is thrown away: what was there is kept, and the word says where."""
    home.done("backup", "files")
    before = rows(ledger(home))
    damaged = ledger(home).read_bytes().replace(b"run.begun", b"run.bogus")
    ledger(home).write_bytes(damaged)
    expect(home.run("ledger", "verify"), 20)
    said = home.done("ledger", "rebuild", "--from-storage")
    (aside,) = ledger(home).parent.glob("ledger.sqlite.aside-*")
    assert str(aside) in said
    assert aside.read_bytes() == damaged
    assert rows(ledger(home)) == before


def test_a_ledger_in_the_place_of_another_is_found(home):
    """An older copy of the file is sound by itself; what is stored tells."""
    home.done("backup", "files")
    older = ledger(home).read_bytes()
    home.done("backup", "files")
    ledger(home).write_bytes(older)
    home.done("ledger", "verify")
    result = home.run("ledger", "verify", "--storage")
    expect(result, 20)
    assert "events was signed, but only" in result.stdout
    refused = home.run("ledger", "store")
    expect(refused, 20, "are not those that were stored")
    warned = home.run("backup", "files")
    assert warned.returncode == 0
    assert "the ledger could not be stored in repository primary" in warned.stderr


def test_a_hole_in_the_store_is_told_and_what_is_sound_can_be_taken(home):
    """Nothing is rebuilt from less than is there without having been told to."""
    for _ in range(3):
        home.done("backup", "files")
    (folder,) = (home.store / "ledger").iterdir()
    (folder / "000000000002").unlink()
    ledger(home).unlink()
    result = home.run("ledger", "rebuild", "--from-storage")
    expect(result, 20, "000000000002 is missing", "--salvage")
    result = home.run("ledger", "rebuild", "--from-storage", "--salvage", "--json")
    assert result.returncode == 3
    said = json.loads(result.stdout.splitlines()[-1])
    assert (said["events"], said["lost"] > 0) == (4, True)
    home.done("ledger", "verify")


def test_a_living_daemon_keeps_its_ledger(home):
    """A ledger is not made under the feet of one who writes to it."""
    home.done("backup", "files")
    daemon = home.start("daemon")
    try:
        for line in daemon.stderr:
            if "daemon.ready" in line:
                break
        result = home.run("ledger", "rebuild", "--from-storage", "--replace")
        expect(result, 11, "another daemon")
    finally:
        daemon.terminate()
        daemon.communicate(timeout=60)


def test_of_two_ledgers_one_is_chosen(home):
    """Whoever lost a ledger and began another can have either back."""
    home.done("backup", "files")
    ledger(home).unlink()
    home.done("backup", "files")
    result = home.run("ledger", "rebuild", "--from-storage", "--replace")
    expect(result, 13, "there are 2 ledgers", "--ledger")
    (first, _) = (part.split(" of ")[0] for part in result.stderr.split("ledgers: ")[1].split("; "))
    home.done("ledger", "rebuild", "--from-storage", "--replace", "--ledger", first)
    checked = home.run("ledger", "verify", "--storage")
    assert "of another ledger of this host are stored" in checked.stderr
