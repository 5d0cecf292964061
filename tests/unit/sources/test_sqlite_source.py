"""One backup of databases: what is in it, and what is refused."""

import hashlib
import json
import os
import sqlite3
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from doubles.databases import assert_agrees, connect, failed, make_bank, probe, source_of, take
from doubles.sinks import KeepingSink
from drkeeper.clock import SystemClock
from drkeeper.errors import ConfigurationError, SourceBusyError, SourceError
from drkeeper.model.entry import EntryFlag, FileType
from drkeeper.sources.sqlite import SqliteSource, SqliteSpec
from drkeeper.sources.sqlite.copying import run_copy
from unit.sources.running import unprivileged


@pytest.fixture
def bank(tmp_path):
    """A database in a directory of its own, with a log that nobody has checkpointed."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "bank.db"
    with closing(make_bank(path)) as kept:
        yield path
    assert kept


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file but the shared memory of locks."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }


def key(path: Path, suffix: str = "") -> bytes:
    return os.fsencode(path)[1:] + suffix.encode()


def refusal(*paths: Path, spool: Path, **options: object) -> SourceError:
    """Return the error that a backup ends with; the spool is empty then."""
    with pytest.raises(SourceError) as caught:
        take(*paths, spool=spool, **options)
    assert not spool.exists() or not list(spool.iterdir())
    assert caught.value.hint
    return caught.value


def test_commits_that_are_only_in_the_log_are_there(bank, spool, tmp_path):
    """What a copy of the file alone would miss is in the snapshot, which needs no log."""
    (tmp_path / "bare.db").write_bytes(bank.read_bytes())
    taken = take(bank, spool=spool)
    taken.put(tmp_path / "out")

    assert assert_agrees(tmp_path / "out" / str(bank)[1:]) == 200
    with closing(connect(tmp_path / "bare.db")) as bare:
        assert bare.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_snapshot_holds_plain_files(bank, spool):
    """Restore needs to know nothing of databases: mode, owner, times and attributes are kept."""
    bank.chmod(0o640)
    os.utime(bank, ns=(1, 1_234_567_890_123_456_789))
    os.setxattr(bank, "user.owner", b"till")
    taken = take(bank, spool=spool)

    entry = taken.entries[key(bank)]
    assert (entry.type, entry.mode, entry.links) == (FileType.FILE, 0o640, 1)
    assert (entry.uid, entry.gid) == (os.getuid(), os.getgid())
    assert entry.mtime_ns == 1_234_567_890_123_456_789
    assert (b"user.owner", b"till") in entry.extra.xattrs
    assert entry.size == len(taken.data[key(bank)])
    for suffix in ("-wal", "-journal"):
        assert taken.data[key(bank, suffix)] == b""
        assert taken.entries[key(bank, suffix)].mode == 0o640
    above = taken.entries[key(bank.parent)]
    assert above.type == FileType.DIRECTORY
    assert above.extra.flags & EntryFlag.PARENT


def test_the_source_is_left_as_it_was(bank, spool):
    """A backup changes no byte of database and log."""
    before = digests(bank.parent)
    take(bank, spool=spool)

    assert digests(bank.parent) == before


def test_the_fingerprint_is_of_the_copy(bank, spool):
    """Anybody can compare: sha256sum says the same as the file beside the database."""
    with closing(connect(bank)) as more:
        more.execute("PRAGMA user_version = 7")
        more.execute("PRAGMA application_id = 99")
    taken = take(bank, spool=spool)

    said = json.loads(taken.data[key(bank, ".drkeeper.json")])
    data = taken.data[key(bank)]
    assert said["sha256"] == hashlib.sha256(data).hexdigest()
    assert said["bytes"] == len(data)
    assert said["database"] == str(bank)
    assert said["facts"] == {
        "page_size": 4096,
        "pages": len(data) // 4096,
        "encoding": "UTF-8",
        "journal_mode": "wal",
        "application_id": 99,
        "user_version": 7,
        "auto_vacuum": 0,
    }
    assert said["content"]["tables"]["movement"] == {"rows": 200, "greatest": 200}
    assert said["content"]["tables"]["account"] == {"rows": 100, "greatest": 99}
    assert said["quick_check"] == said["foreign_keys"] == []


def test_odd_tables_are_counted(tmp_path, spool):
    """Tables without rowids, with columns of that name, virtual ones, and odd names."""
    path = tmp_path / "odd ?#%é.db"
    with closing(connect(path)) as odd:
        odd.execute('CREATE TABLE "a""b; drop"(x)')
        odd.execute("CREATE TABLE r(rowid TEXT, oid TEXT)")
        odd.execute("INSERT INTO r VALUES('zzz', 'z')")
        odd.execute("CREATE TABLE all_three(rowid, oid, _rowid_)")
        odd.execute("INSERT INTO all_three VALUES(1, 2, 3)")
        odd.execute("CREATE TABLE w(a, b, PRIMARY KEY(b, a)) WITHOUT ROWID")
        odd.execute("INSERT INTO w VALUES(1, 2)")
        odd.execute("CREATE VIRTUAL TABLE f USING fts5(text)")
        odd.execute("INSERT INTO f VALUES('hello')")
        odd.execute("CREATE VIEW v AS SELECT no_such_function(x) FROM r")
    taken = take(path, spool=spool)

    tables = json.loads(taken.data[key(path, ".drkeeper.json")])["content"]["tables"]
    assert tables['a"b; drop'] == {"rows": 0, "greatest": None}
    assert tables["r"] == {"rows": 1, "greatest": 1}
    assert tables["all_three"] == {"rows": 1, "greatest": None}
    assert tables["w"]["rows"] == 1
    assert len(tables["w"]["greatest"]) == 64
    assert "f" not in tables
    assert tables["f_content"]["rows"] == 1
    assert not failed(probe(taken.put(tmp_path / "out"), path))


@pytest.mark.parametrize("page", [512, 4096, 65536])
def test_content_is_given_in_whole_pages(tmp_path, spool, page):
    """Whatever buffers the sink has, no page is cut but by the repository itself."""
    path = tmp_path / "bank.db"
    with closing(connect(path)) as sized:
        sized.execute(f"PRAGMA page_size = {page}")
        sized.execute("PRAGMA synchronous = OFF")
        sized.execute("BEGIN")
        sized.execute("CREATE TABLE t(x)")
        sized.executemany("INSERT INTO t VALUES(?)", [(os.urandom(900),) for _ in range(900)])
        sized.execute("COMMIT")
    counts: list[int] = []

    class Counting(KeepingSink):
        def stream(self):
            stream = super().stream()
            filled = stream.filled
            stream.filled = lambda count: (counts.append(count), filled(count))
            return stream

    taken = take(path, spool=spool, sink=Counting(buffer_bytes=200_001))

    assert len(counts) > 1
    assert all(count % page == 0 for count in counts)
    assert len(taken.data[key(path)]) == sum(counts)


def test_several_databases_are_copied_one_after_the_other(tmp_path, spool):
    """Names that sort between a database and what goes with it do no harm."""
    paths = [tmp_path / name for name in ("a.db", "a.db-2", "a.db.x", "b")]
    for path in paths:
        make_bank(path, "delete").close()
    taken = take(*paths, spool=spool)

    assert not failed(probe(taken.put(tmp_path / "out"), *paths))


@pytest.mark.parametrize(
    "names",
    [(), ("relative.db",), ("/a/../b.db",), ("/a.db", "/a.db-wal"), ("/a.db", "/a.db/b.db")],
)
def test_names_that_cannot_be_are_refused(names):
    """Two databases never have files of one name in a snapshot."""
    with pytest.raises(ConfigurationError):
        SqliteSource(
            SqliteSpec(tuple(os.fsencode(name) for name in names), b"/s"), clock=SystemClock()
        )


@pytest.mark.parametrize("content", [b"hello" * 1000, os.urandom(8192), b"SQLite"])
def test_what_is_no_database_is_refused(tmp_path, spool, content):
    """Also what is encrypted, which looks like noise."""
    path = tmp_path / "noise.db"
    path.write_bytes(content)

    assert "not a SQLite database, or is encrypted" in str(refusal(path, spool=spool))


def test_what_is_no_file_is_refused(tmp_path, spool, bank):
    """Links, directories, FIFOs and missing files; a link's hint names the real path."""
    os.symlink(bank, tmp_path / "link.db")
    os.symlink(bank.parent, tmp_path / "folder")
    os.mkfifo(tmp_path / "fifo.db")

    assert str(bank) in refusal(tmp_path / "link.db", spool=spool).hint
    assert str(bank) in refusal(tmp_path / "folder" / "bank.db", spool=spool).hint
    assert "not a regular file" in str(refusal(tmp_path / "fifo.db", spool=spool))
    assert "not a regular file" in str(refusal(bank.parent, spool=spool))
    assert "does not exist" in str(refusal(tmp_path / "none.db", spool=spool))


def test_what_may_not_be_read_is_refused():
    """The error names the database and says who should run this."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "closed" / "bank.db"
        path.parent.mkdir()
        make_bank(path, "delete").close()
        folder.chmod(0o755)
        path.parent.chmod(0o600)
        with unprivileged():
            error = refusal(path, spool=folder / "spool")
        path.parent.chmod(0o700)

    assert str(path) in str(error)
    assert "cannot be read" in str(error)


def test_a_damaged_database_is_refused(tmp_path, spool):
    """A snapshot of it would push out the good ones."""
    path = tmp_path / "bank.db"
    make_bank(path, "delete").close()
    data = bytearray(path.read_bytes())
    with closing(connect(path)) as asked:
        root = asked.execute("SELECT rootpage FROM sqlite_master WHERE name = 'by_account'")
        page = root.fetchone()[0]
    data[(page - 1) * 4096 : page * 4096] = bytes(4096)
    path.write_bytes(data)

    assert "damaged" in str(refusal(path, spool=spool))


def test_a_transaction_that_died_is_pointed_out(tmp_path, spool):
    """A hot journal would have to be rolled back in the source; that is not a backup's to do."""
    live, dead = tmp_path / "live", tmp_path / "dead"
    live.mkdir()
    dead.mkdir()
    with closing(make_bank(live / "bank.db", "delete")) as writing:
        writing.execute("PRAGMA cache_size = 1")
        writing.execute("BEGIN")
        writing.executemany("UPDATE movement SET pad = ? WHERE id = ?", [(b"x" * 3000, 7)] * 2)
        writing.execute("UPDATE movement SET pad = zeroblob(3000)")
        for path in live.iterdir():
            (dead / path.name).write_bytes(path.read_bytes())
    before = digests(dead)

    error = refusal(dead / "bank.db", spool=spool)

    assert "hot" in str(error)
    assert digests(dead) == before


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_lock_that_stays_is_an_error_that_may_pass(tmp_path, spool, mode):
    """After busy_timeout the run fails, and may be tried again unchanged."""
    path = tmp_path / "bank.db"
    with closing(make_bank(path, mode)) as holding:
        holding.execute("PRAGMA locking_mode = EXCLUSIVE")
        holding.execute("BEGIN EXCLUSIVE")
        holding.execute("UPDATE account SET balance = balance")
        error = refusal(path, spool=spool, busy_s=0.2)

    assert isinstance(error, SourceBusyError)
    assert error.transient
    assert "0.2 s" in str(error)


def test_rows_that_broke_rules_before_are_told_and_taken(tmp_path, spool):
    """The application's sins are findings, no reason to have no backup, and no false alarm later."""
    path = tmp_path / "bank.db"
    with closing(make_bank(path, "delete")) as sinful:
        sinful.execute("CREATE TABLE known(x)")
        sinful.execute("INSERT INTO known VALUES(NULL)")
        sinful.execute("PRAGMA writable_schema = ON")
        sinful.execute(
            "UPDATE sqlite_master SET sql = 'CREATE TABLE known(x NOT NULL)' WHERE name = 'known'"
        )
        sinful.execute("INSERT INTO movement(account) VALUES(5000)")
    taken = take(path, spool=spool)

    assert taken.codes() == ["rules-broken", "foreign-keys"]
    assert not failed(probe(taken.put(tmp_path / "out"), path))


def test_functions_of_the_application_do_not_stop_a_backup(tmp_path, spool):
    """What cannot be evaluated here is noted; the rest is counted and compared."""
    path = tmp_path / "bank.db"
    with closing(make_bank(path, "delete")) as special:
        special.create_function("own", 1, lambda x: x, deterministic=True)
        special.create_collation("own", lambda a, b: (a > b) - (a < b))
        special.execute("CREATE TABLE s(x TEXT PRIMARY KEY COLLATE own) WITHOUT ROWID")
        special.execute("INSERT INTO s VALUES('q')")
        special.execute("CREATE TABLE c(x CHECK(own(x) > 0))")
        special.execute("INSERT INTO c VALUES(1)")
    taken = take(path, spool=spool)

    assert "unchecked" in taken.codes()
    assert not failed(probe(taken.put(tmp_path / "out"), path))


def test_further_names_and_emptiness_are_pointed_out(tmp_path, spool):
    """Both may be meant, and mostly are not."""
    path = tmp_path / "bank.db"
    make_bank(path, "delete").close()
    os.link(path, tmp_path / "second.db")
    (tmp_path / "new.db").touch()
    taken = take(path, tmp_path / "new.db", spool=spool)

    assert taken.codes() == ["several-names", "empty"]
    assert not failed(probe(taken.put(tmp_path / "out"), path, tmp_path / "new.db"))


def test_another_file_in_its_place_is_noticed(tmp_path, bank):
    """SQLite opens by name: what it opened is compared with what was looked at."""
    other = tmp_path / "other.db"
    make_bank(other, "delete").close()
    copy = tmp_path / "copy"
    copy.touch()
    status = bank.stat()
    folder = os.open(bank.parent, os.O_PATH)
    request = {
        "folder": folder,
        "name": bank.name,
        "path": str(other),
        "device": status.st_dev,
        "inode": status.st_ino,
        "busy_s": 1,
        "spool": str(copy),
    }
    try:
        by_name = run_copy(request, folder)
        by_inode = run_copy({**request, "inode": 1}, folder)
    finally:
        os.close(folder)

    assert by_name["refused"] == by_inode["refused"] == "replaced"


def test_what_a_killed_run_left_is_swept_and_what_is_in_use_is_not(bank, spool):
    """Copies do not pile up; two runs at once do not take each other's copy away."""
    spool.mkdir(mode=0o700)
    (spool / "copy-left").write_bytes(b"old")
    (spool / "note").write_bytes(b"not ours")
    found = []
    with source_of(bank, spool=spool).freeze(found.append) as view:
        candidates = next(iter(view.walk()))
        sink = KeepingSink()
        original = sink.stream

        def meanwhile():
            with source_of(bank, spool=spool).freeze(found.append):
                pass
            return original()

        sink.stream = sink.small_stream = meanwhile
        captured = [view.capture(candidate, sink) for candidate in candidates]

    assert sorted(path.name for path in spool.iterdir()) == ["note"]
    assert all(each is not None for each in captured)


def test_sqlite_knows_no_database_here_after_a_backup(bank, spool):
    """This process holds no descriptor of the database, so it cannot drop a lock of its own on it."""
    with closing(connect(bank)) as own:
        own.execute("BEGIN IMMEDIATE")
        take(bank, spool=spool)
        with closing(connect(bank, timeout=0)) as other, pytest.raises(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")


def test_the_instant_is_before_the_lock(bank, spool):
    """Data time is never younger than what the copy holds for sure."""
    clock = SystemClock()
    before = clock.now()
    taken = take(bank, spool=spool)
    said = json.loads(taken.data[key(bank, ".drkeeper.json")])

    assert before <= taken.consistent_at <= clock.now()
    assert said["locked_at"] >= taken.consistent_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert timedelta() <= clock.now() - taken.consistent_at < timedelta(minutes=1)
