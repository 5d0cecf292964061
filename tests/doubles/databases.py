"""Databases with rules over several tables, programs that write to them, and their backups."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from doubles.sinks import KeepingSink
from drkeeper.clock import Clock, SystemClock
from drkeeper.model.entry import Entry
from drkeeper.sources.base import Finding, Probed, Ran, RestoredTree
from drkeeper.sources.sqlite import SqliteRecovery, SqliteSource, SqliteSpec

ACCOUNTS = 100
BALANCE = 1000


def connect(path: Path | str, timeout: float = 20) -> sqlite3.Connection:
    """Open a database as a program does."""
    return sqlite3.connect(path, isolation_level=None, timeout=timeout)


def make_bank(path: Path, mode: str = "wal", rows: int = 200) -> sqlite3.Connection:
    """Make a database whose tables agree with each other after every transaction."""
    bank = connect(path)
    bank.execute(f"PRAGMA journal_mode = {mode}")
    bank.execute("PRAGMA synchronous = OFF")
    bank.execute("BEGIN")
    bank.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, balance INT NOT NULL)")
    bank.execute(
        "CREATE TABLE movement(id INTEGER PRIMARY KEY, account INT REFERENCES account, pad BLOB)"
    )
    bank.execute("CREATE INDEX by_account ON movement(account)")
    bank.execute("CREATE TABLE total(name TEXT PRIMARY KEY, value INT) WITHOUT ROWID")
    accounts = [(number, BALANCE) for number in range(ACCOUNTS)]
    bank.executemany("INSERT INTO account VALUES(?, ?)", accounts)
    pads = [(number % ACCOUNTS, os.urandom(700)) for number in range(rows)]
    bank.executemany("INSERT INTO movement(account, pad) VALUES(?, ?)", pads)
    bank.execute("INSERT INTO total VALUES('movements', ?)", (rows,))
    bank.execute("COMMIT")
    return bank


def assert_agrees(path: Path) -> int:
    """Check what holds after every transaction; return the number of movements."""
    with closing(connect(path)) as bank:
        assert bank.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert bank.execute("SELECT sum(balance) FROM account").fetchone() == (ACCOUNTS * BALANCE,)
        (counted,) = bank.execute("SELECT count(*) FROM movement").fetchone()
        (newest,) = bank.execute("SELECT max(id) FROM movement").fetchone()
        (noted,) = bank.execute("SELECT value FROM total WHERE name = 'movements'").fetchone()
        assert counted == newest == noted
        return noted


WRITER = """
import os, random, sqlite3, sys, time
path, log = sys.argv[1:]
def connect():
    bank = sqlite3.connect(path, isolation_level=None, timeout=30)
    bank.execute("PRAGMA synchronous = OFF")
    bank.execute("PRAGMA wal_autocheckpoint = 20")
    return bank
bank, log = connect(), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
while True:
    one, other = random.sample(range(100), 2)
    bank.execute("BEGIN IMMEDIATE")
    bank.execute("UPDATE account SET balance = balance - 7 WHERE id = ?", (one,))
    bank.execute("INSERT INTO movement(account, pad) VALUES(?, ?)", (one, os.urandom(random.randrange(3000))))
    bank.execute("UPDATE account SET balance = balance + 7 WHERE id = ?", (other,))
    bank.execute("UPDATE total SET value = value + 1 WHERE name = 'movements'")
    (value,) = bank.execute("SELECT value FROM total WHERE name = 'movements'").fetchone()
    if random.random() < 0.1:
        bank.execute("ROLLBACK")
        continue
    bank.execute("COMMIT")
    os.write(log, b"%f %d\\n" % (time.time(), value))
    if random.random() < 0.05:
        bank.close()
        bank = connect()
    if random.random() < 0.05:
        bank.execute("PRAGMA wal_checkpoint(%s)" % random.choice(["passive", "truncate"]))
    time.sleep(random.random() * 0.003)
"""
"""Moves money for ever, and writes down each movement when it is acknowledged."""


@dataclass
class Writers:
    """Programs that write to a database."""

    log: Path

    def acknowledged(self, before: datetime | None = None) -> int:
        """Return the newest movement that was acknowledged by then."""
        limit = before.timestamp() if before is not None else float("inf")
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return max((int(value) for at, value in lines if float(at) < limit), default=0)


@contextmanager
def writers(path: Path, count: int = 2) -> Iterator[Writers]:
    """Have programs write to a database until the context ends."""
    log = path.with_name("acknowledged.log")
    log.touch()
    command = [sys.executable, "-c", WRITER, str(path), str(log)]
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield Writers(log)
        assert [each.poll() for each in running] == [None] * count
    finally:
        for each in running:
            each.kill()
            each.wait()


@dataclass
class Taken:
    """One backup of databases."""

    consistent_at: datetime
    entries: dict[bytes, Entry] = field(default_factory=dict)
    data: dict[bytes, bytes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def put(self, root: Path) -> RestoredTree:
        """Write it below a directory, as a restore does."""
        for path, data in self.data.items():
            place = root / os.fsdecode(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return RestoredTree(os.fsencode(root), self.consistent_at)

    def codes(self) -> list[str]:
        """Codes of the findings."""
        return [finding.code for finding in self.findings]


def source_of(*paths: Path, spool: Path, busy_s: float = 20, clock: Clock | None = None):
    """Return the source that protects databases."""
    spec = SqliteSpec(
        tuple(os.fsencode(path) for path in paths), os.fsencode(spool), timedelta(seconds=busy_s)
    )
    return SqliteSource(spec, clock=clock or SystemClock())


def take(*paths: Path, spool: Path, sink: KeepingSink | None = None, **options: object) -> Taken:
    """Back databases up."""
    sink, findings = sink or KeepingSink(), []
    with source_of(*paths, spool=spool, **options).freeze(findings.append) as view:
        taken = Taken(view.consistent_at, findings=findings)
        for batch in view.walk():
            for candidate in batch:
                captured = view.capture(candidate, sink)
                taken.entries[candidate.path] = captured.entry
                if captured.content is not None:
                    taken.data[candidate.path] = captured.content.data
    return taken


class PlainRunner:
    """Runs programs as they are."""

    def run(self, argv, *, timeout):
        ran = subprocess.run(
            argv, capture_output=True, timeout=timeout.total_seconds(), check=False
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)


def probe(restored: RestoredTree, *paths: Path) -> list[Probed]:
    """Ask restored databases everything."""
    recovery = SqliteRecovery(tuple(os.fsencode(path) for path in paths))
    recovery.rebuild(restored)
    with recovery.start(restored, PlainRunner()) as running:
        return list(running.probe())


def failed(probes: list[Probed]) -> set[str]:
    """Names of the probes that did not pass."""
    return {each.name for each in probes if not each.passed}
