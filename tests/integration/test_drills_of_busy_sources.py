"""No false alarm: drill after drill, while programs write to what is backed up, and backups go on."""

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import count, cycle, islice, product

import pytest

from doubles.proving import proving_ground
from drkeeper.errors import DrkeeperError
from drkeeper.model.drill import Choice, Outcome, Verdict
from drkeeper.model.probes import CommandProbe, FileProbe, Probes, SqlProbe, Wanted
from drkeeper.scratch.base import Limits
from drkeeper.scratch.opening import open_scratch

HOUR = timedelta(hours=1)
GIB = 1024**3
LIMITS = Limits(memory_bytes=GIB, cpu=HOUR, wall=HOUR, disk_bytes=GIB, processes=64)
JOURNALS = {"log": "wal", "journal": "delete"}
"""How each of two databases keeps its transactions whole."""

SELLER = """
import os, random, sqlite3, sys, time
def connect():
    shop = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
    shop.execute("PRAGMA synchronous = OFF")
    shop.execute("PRAGMA foreign_keys = ON")
    shop.execute("PRAGMA wal_autocheckpoint = 30")
    return shop
shop, tables = connect(), 0
while True:
    shop.execute("BEGIN IMMEDIATE")
    shop.execute("INSERT INTO basket(at) VALUES(?)", (time.time(),))
    (basket,) = shop.execute("SELECT max(id) FROM basket").fetchone()
    for number in range(random.randrange(1, 6)):
        shop.execute("INSERT INTO item(basket, pad) VALUES(?, ?)", (basket, os.urandom(random.randrange(2000))))
    shop.execute("DELETE FROM item WHERE basket < ?", (basket - 400,))
    shop.execute("DELETE FROM basket WHERE id < ?", (basket - 400,))
    shop.execute("UPDATE basket SET at = at WHERE id % 17 = ?", (basket % 17,))
    shop.execute("UPDATE noted SET items = (SELECT count(*) FROM item)")
    shop.execute("ROLLBACK" if random.random() < 0.1 else "COMMIT")
    if random.random() < 0.02:
        shop.close()
        shop = connect()
    if random.random() < 0.02:
        shop.execute("PRAGMA wal_checkpoint(%s)" % random.choice(["passive", "truncate"]))
    if random.random() < 0.005:
        tables += 1
        shop.execute("CREATE TABLE kept%d_%d(a INT, b TEXT)" % (os.getpid(), tables))
        shop.execute("DROP TABLE kept%d_%d" % (os.getpid(), tables))
    if random.random() < 0.002:
        shop.execute("PRAGMA user_version = %d" % tables)
    time.sleep(random.random() * 0.04)
"""
"""Sells for ever: rows come, change and go, in transactions after each of which the tables agree."""


def make_shop(path, mode):
    with closing(sqlite3.connect(path, isolation_level=None)) as shop:
        shop.execute(f"PRAGMA journal_mode = {mode}")
        shop.execute("CREATE TABLE basket(id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL)")
        shop.execute(
            "CREATE TABLE item(id INTEGER PRIMARY KEY, basket INT NOT NULL REFERENCES basket, pad BLOB)"
        )
        shop.execute("CREATE INDEX by_basket ON item(basket)")
        shop.execute("CREATE TABLE noted(items INT NOT NULL)")
        shop.execute("INSERT INTO noted VALUES(0)")


def probes_of(ground, name):
    """Return questions of each kind, whose answers are right after each transaction."""
    if name == "home":
        kept = str(ground.tree / "kept.txt")
        return Probes(
            commands=(
                CommandProbe("kept", ("/usr/bin/grep", "-c", "kept", "{restored}" + kept), 0),
            ),
            files=(FileProbe("fresh", str(ground.tree / "beat"), max_age=HOUR),),
        )
    path = str(ground.database(name))
    orphans = "SELECT count(*) FROM item WHERE basket NOT IN (SELECT id FROM basket)"
    agree = "SELECT (SELECT count(*) FROM item) = (SELECT items FROM noted)"
    return Probes(
        commands=(
            CommandProbe("sqlite", ("/usr/bin/grep", "-c", "SQLite format 3", "{restored}" + path)),
        ),
        queries=(
            SqlProbe("agree", agree, path, Wanted(expect="1")),
            SqlProbe("fresh", "SELECT max(at) FROM basket", path, Wanted(max_age=HOUR)),
            SqlProbe("orphans", orphans, path, Wanted(most=0)),
        ),
        files=(FileProbe("there", path, least_bytes=4096),),
    )


class Clerk(threading.Thread):
    """Adds, changes, replaces, moves and removes files, without end."""

    def __init__(self, ground):
        super().__init__(name="clerk")
        self.ground, self.ended, self.deeds = ground, threading.Event(), 0

    def run(self):
        deeds = (self._write, self._append, self._replace, self._move, self._remove, self._link)
        for number, deed in enumerate(cycle(deeds)):
            if self.ended.wait(0.01):
                return
            self.ground.write("beat", b"%d\n" % number)
            deed(number % 60)
            self.deeds += 1

    def _path(self, number):
        place = self.ground.tree / f"d{number % 7}"
        place.mkdir(exist_ok=True)
        return place / f"f{number}"

    def _write(self, number):
        self._path(number).write_bytes(os.urandom(number * 2000))

    def _append(self, number):
        with self._path(number).open("ab") as file:
            for _ in range(20):
                file.write(os.urandom(300))
                file.flush()

    def _replace(self, number):
        new = self.ground.tree / "new"
        new.write_bytes(os.urandom(number * 100))
        new.replace(self._path(number))

    def _move(self, number):
        if self._path(number).exists():
            self._path(number).rename(self._path(number + 7))

    def _remove(self, number):
        self._path(number).unlink(missing_ok=True)

    def _link(self, number):
        other = self._path(number).with_name("link")
        other.unlink(missing_ok=True)
        other.symlink_to(f"f{number}")


class Keeper(threading.Thread):
    """Backs one policy after the other up, without end."""

    def __init__(self, ground, names):
        super().__init__(name="keeper")
        self.ground, self.names, self.ended = ground, names, threading.Event()
        self.made, self.refused = 0, []

    def run(self):
        for name in cycle(self.names):
            if self.ended.wait(0.5):
                return
            try:
                self.ground.back_up(name)
                self.made += 1
            except DrkeeperError as error:
                self.refused.append((name, str(error)))


@contextmanager
def busy(ground):
    """Have everything written to until the context ends, and backed up the while."""
    sellers = [
        subprocess.Popen([sys.executable, "-c", SELLER, str(ground.database(name))])
        for name in JOURNALS
    ]
    clerk, keeper = Clerk(ground), Keeper(ground, ("home", *JOURNALS))
    clerk.start()
    try:
        for name in ("home", *JOURNALS):
            ground.back_up(name)
        keeper.start()
        yield clerk, keeper
        assert clerk.is_alive(), "it has written all the time"
        assert keeper.is_alive(), "it has backed up all the time"
        assert [each.poll() for each in sellers] == [None] * len(sellers)
    finally:
        for each in (clerk, keeper):
            each.ended.set()
        for each in (clerk, keeper):
            if each.ident is not None:
                each.join()
        for each in sellers:
            each.kill()
            each.wait()


@pytest.fixture
def ground(tmp_path):
    """Return a machine with a tree and two databases, and nobody at work yet."""
    made = proving_ground(tmp_path)
    made.write("kept.txt", b"kept\n")
    made.write("beat", b"0\n")
    for name, mode in JOURNALS.items():
        make_shop(made.database(name), mode)
    return made


def drilled(ground, number, name, choice):
    """Drill with everything there is: a real scratch place, all probes, all controls."""
    drill = ground.drill(
        name,
        probes=probes_of(ground, name),
        choice=choice,
        rpo=HOUR,
        rto=HOUR,
        scratch=lambda: open_scratch(
            ground.base / "scratch", kind=None, limits=LIMITS, clock=ground.clock
        ),
    )
    assert drill.judgement.verdict is Verdict.PROVEN, (number, name, choice, drill)
    assert {each.outcome for each in drill.end.probes} == {Outcome.PASSED}
    assert {each.outcome for each in drill.end.controls} == {Outcome.PASSED}
    return drill


def no_false_alarm(ground, drills, record):
    """Require that so many drills, of every policy and every choice in turn, are all proven."""
    choices = (Choice.LATEST, Choice.RANDOM, Choice.OLDEST)
    turns = zip(count(1), cycle(product(choices, ("home", *JOURNALS))))
    with busy(ground) as (clerk, keeper):
        done = [drilled(ground, n, name, choice) for n, (choice, name) in islice(turns, drills)]
        deeds = clerk.deeds
    assert not keeper.refused, keeper.refused[:3]
    assert len(done) == drills
    with ground.ledger() as ledger:
        assert ledger.drills(ended=False) == []
        ended = ledger.drills(limit=drills + 1, ended=True)
        assert [each.judgement.verdict for each in ended] == [Verdict.PROVEN] * drills
        assert set(ledger.proven_through()) == {each.plan.policy for each in done}
        assert ledger.verify().ok
    assert os.listdir(ground.base / "scratch") == []
    points = {(each.plan.policy, each.end.point.commit_number) for each in done}
    seconds = (ended[0].end.ended_at - ended[-1].end.ended_at).total_seconds()
    figures = {
        "seconds": round(seconds),
        "drills": drills,
        "backups": keeper.made,
        "deeds": deeds,
        "points": len(points),
        "scratch": sorted({each.end.scratch for each in done}),
        "probes": sum(len(each.end.probes) for each in done),
        "controls": sum(len(each.end.controls) for each in done),
        "longest_rto_s": max(each.end.achieved_rto for each in done).total_seconds(),
    }
    for name, value in figures.items():
        record(name, value)
    print(figures)


@pytest.mark.slow
def test_six_drills_of_busy_sources(ground, record_property):
    """Of files and databases that are written to, each kind of point is proven."""
    no_false_alarm(ground, 6, record_property)


@pytest.mark.soak
def test_two_hundred_drills_of_busy_sources(ground, record_property):
    """Of 200 drills, not one says that anything is wrong."""
    no_false_alarm(ground, 200, record_property)
