"""What is special about a ledger on a server."""

import re
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from doubles.ledgers import (
    behind_its_back,
    ledger_at,
    live_through,
    recovery_point,
    what_a_reader_sees,
)
from drkeeper import faults
from drkeeper.errors import LedgerBusyError, LedgerError, LedgerUnavailableError
from drkeeper.ledger import server
from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.postgresql import lock, open_engine, shown
from drkeeper.ledger.tables import metadata
from drkeeper.model.run import Operation, RunState

pytestmark = pytest.mark.integration

PATIENCE = timedelta(seconds=20)


@pytest.fixture
def url(postgresql_url):
    return postgresql_url


@pytest.fixture
def ledger(url):
    with ledger_at(url) as opened:
        yield opened


@pytest.fixture
def engine(url, ledger):
    del ledger
    engine = open_engine(url, patience=PATIENCE)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET body = '{}' WHERE seq = 1",
        "DELETE FROM event WHERE seq = 1",
        "TRUNCATE event CASCADE",
        "INSERT INTO event SELECT 99, at, kind, body, prev, hash FROM event WHERE seq = 1",
        "INSERT INTO event SELECT 0, at, kind, body, prev, hash FROM event WHERE seq = 1",
        "SET session_replication_role = replica; DELETE FROM event",
    ],
)
def test_the_server_itself_refuses_to_change_events(postgresql, ledger, url, statement):
    """Events are appended one after the other; the database's own triggers refuse anything else."""
    import psycopg  # noqa: PLC0415 - an extra

    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        postgresql.run(statement, url=url)
    assert ledger.verify().ok


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE run SET state = 'succeeded'", "run .* is not what its events say"),
        ("DELETE FROM recovery_point", "recovery_point 'c0ffee/1' is missing"),
        ("UPDATE recovery_point SET plain_bytes = plain_bytes + 1", "recovery_point"),
        ("UPDATE head SET seq = 2", "head"),
        ("DELETE FROM head", "head"),
        ("UPDATE event SET at = replace(at, '2026', '2025') WHERE seq = 2", "event 2"),
        ("UPDATE event SET hash = decode('00', 'hex') WHERE seq = 2", "event 2"),
        ("DELETE FROM event WHERE seq = 1", "event 1"),
        ("DELETE FROM event WHERE seq = 3", "head"),
        ("CREATE TABLE extra (a int)", "table extra is not as"),
        ("CREATE VIEW extra AS SELECT 1 AS a", "table extra is not as"),
        ("DROP INDEX ix_run_state", "index ix_run_state is not as"),
        ("ALTER TABLE run ADD COLUMN more text", "table run is not as"),
        ("ALTER TABLE run ALTER COLUMN policy TYPE text", "table run is not as"),
        ("ALTER TABLE run DROP CONSTRAINT fk_run_event", "table run is not as"),
        ("ALTER TABLE lease SET UNLOGGED", "table lease is not as"),
        ("ALTER TABLE run ENABLE ROW LEVEL SECURITY", "table run is not as"),
        ("CREATE RULE quiet AS ON INSERT TO lease DO INSTEAD NOTHING", "table lease is not as"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function f is not as"),
    ],
)
def test_what_a_tool_changed_is_found(url, statement, finding):
    """Whatever is edited with a database tool, in whichever table, verify names it."""
    with ledger_at(url) as ledger:
        ledger.begin_run("home", Operation.BACKUP)
        ledger.record_recovery_point(recovery_point(1))
        behind_its_back(url, statement)
        report = ledger.verify()
    assert not report.ok
    assert any(re.search(finding, found) for found in report.findings), report


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DROP TRIGGER event_is_never_changed ON event", "trigger event_is_never_changed"),
        ("ALTER TABLE event DISABLE TRIGGER event_follows_the_last", "trigger event_follows"),
        (
            (
                "CREATE OR REPLACE FUNCTION event_is_never_changed() RETURNS trigger"
                " LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
            ),
            "function event_is_never_changed",
        ),
    ],
)
def test_guards_that_were_taken_away_are_found(postgresql, ledger, url, statement, finding):
    """A ledger without its guards does not verify, even if nothing else changed."""
    postgresql.run(statement, url=url)
    (found,) = ledger.verify().findings
    assert finding in found


def test_the_steps_make_the_tables_that_the_code_uses(engine):
    """What the migrations make is what tables.py says, here as in a file."""
    with reading(engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "none", "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


STEP = """
from alembic import op
import sqlalchemy as sa

revision = "0004"
down_revision = "0003"


def upgrade():
    op.add_column("run", sa.Column("note", sa.Text))
    {more}
"""


def settle(engine, tmp_path, more=""):
    (tmp_path / "r0004_note.py").write_text(STEP.format(more=more))
    server.settle(engine, lambda _: None, target="0004", steps=[str(tmp_path)])


def test_an_older_ledger_is_brought_up_to_date(ledger, engine, tmp_path):
    """A step changes the form and keeps every event; a program that does not know it is refused."""
    live_through(ledger, 3, runs=4)
    before = what_a_reader_sees(ledger)
    settle(engine, tmp_path)
    settle(engine, tmp_path)  # already there: nothing to do
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT note FROM run").all()
    assert what_a_reader_sees(ledger) == before


def test_a_failing_step_leaves_the_ledger_as_it_was(ledger, engine, tmp_path):
    """Steps happen all or not at all."""
    with pytest.raises(LedgerError):
        settle(engine, tmp_path, more='op.execute("SELECT nonsense")')
    assert ledger.verify().ok


def test_a_newer_or_older_ledger_is_refused_untouched(postgresql, ledger, url):
    """A newer form is not opened at all, an older one not to be looked at only."""
    del ledger
    postgresql.run("UPDATE schema_version SET version_num = '0099'", url=url)
    with pytest.raises(LedgerError, match="made by a newer drkeeper"):
        ledger_at(url)
    postgresql.run("UPDATE schema_version SET version_num = '0001'", url=url)
    with pytest.raises(LedgerError, match="older form"):
        ledger_at(url, read_only=True)
    postgresql.run("DELETE FROM schema_version", url=url)
    with pytest.raises(LedgerError, match="which form"):
        ledger_at(url)


def test_a_schema_of_others_is_refused_untouched(postgresql, url):
    """A ledger has its schema to itself: among other tables none is made."""
    postgresql.run("CREATE TABLE event (note text)", url=url)
    with pytest.raises(LedgerError, match="holds other tables") as caught:
        ledger_at(url)
    assert caught.value.hint == "Give the ledger a database, or a schema, of its own."
    count = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    assert postgresql.run(f"{count} AND relkind = 'r'", url=url) == [(1,)]


def test_there_may_be_no_ledger_yet(url):
    """To be looked at only, a ledger must be there."""
    with pytest.raises(LedgerError, match="there is no ledger in the database"):
        ledger_at(url, read_only=True)


def test_a_ledger_may_be_only_looked_at(url):
    """Opened read-only, a ledger is read and verified, and every write is refused."""
    with ledger_at(url) as ledger:
        ledger.begin_run("home", Operation.BACKUP)
    with ledger_at(url, read_only=True) as ledger:
        assert len(ledger.runs()) == 1
        assert ledger.verify().ok
        with pytest.raises(LedgerError, match="cannot be written"):
            ledger.begin_run("home", Operation.BACKUP)
        with pytest.raises(LedgerError, match="cannot be written"):
            ledger.beat("1.2.3", ledger.now())
        assert len(ledger.runs()) == 1


def test_another_writer_is_waited_for_with_patience(url, engine):
    """Who waits too long for the lock is told that the ledger is in use; readers wait for nobody."""
    with ledger_at(url, patience=timedelta(milliseconds=50)) as ledger, writing(engine):
        with pytest.raises(LedgerBusyError, match="in use") as caught:
            ledger.begin_run("home", Operation.BACKUP)
        assert ledger.runs() == []
    assert caught.value.transient


def test_readers_hold_nobody_up_and_see_one_instant(engine, ledger):
    """While somebody reads, others write; the reader sees the ledger as it was."""
    with reading(engine) as connection:
        count = "SELECT count(*) FROM event"
        assert connection.exec_driver_sql(count).scalar_one() == 1
        ledger.begin_run("home", Operation.BACKUP)
        assert connection.exec_driver_sql(count).scalar_one() == 1
    assert ledger.verify().events == 2


def test_what_was_recorded_survives_a_power_cut(postgresql, url):
    """Whatever the server's default is, a commit is on its disk before it is reported."""
    careless = url + quote(" -csynchronous_commit=off", safe="")
    engine = open_engine(careless, patience=PATIENCE)
    try:
        with writing(engine) as connection:
            for name, value in [
                ("synchronous_commit", "on"),
                ("lock_timeout", "20s"),
                ("idle_in_transaction_session_timeout", "1min"),
                ("transaction_isolation", "read committed"),
            ]:
                assert connection.exec_driver_sql(f"SHOW {name}").scalar_one() == value
    finally:
        engine.dispose()
    assert postgresql.run("SHOW synchronous_commit", url=careless) == [("off",)]


LOCKERS = """
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory'
  AND objid::bigint = (hashtext(current_schema()::text)::bigint & 4294967295)
"""


def test_a_connection_that_is_lost_is_an_error_that_passes(postgresql, ledger, url):
    """Lost in the midst of a write, nothing was recorded; the next attempt finds its way."""

    def cut(name):
        if name == "ledger.chain.event_written":
            faults.install(None)
            postgresql.run(LOCKERS, url=url)

    faults.install(cut)
    try:
        with pytest.raises(LedgerUnavailableError, match="cannot be reached") as caught:
            ledger.begin_run("home", Operation.BACKUP)
    finally:
        faults.install(None)
    assert caught.value.transient
    assert caught.value.exit_code == 23
    assert ledger.runs() == []
    ledger.begin_run("home", Operation.BACKUP)
    assert ledger.verify().events == 2


def test_a_server_that_was_restarted_meanwhile_costs_no_error(postgresql, ledger, url):
    """A connection that died between two uses is replaced, and nobody notices."""
    run_id = ledger.begin_run("home", Operation.BACKUP)
    with ledger._engine.connect() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    postgresql.run(f"SELECT pg_terminate_backend({pid})", url=url)
    ledger.end_run(run_id, RunState.SUCCEEDED)
    assert ledger.verify().ok


def test_a_server_that_is_not_there_is_an_error_that_passes(postgresql):
    """Nobody listens: said at once, and it may be tried again."""
    with pytest.raises(LedgerUnavailableError, match="cannot be reached") as caught:
        ledger_at(postgresql.url(port="1"))
    assert caught.value.transient


def test_a_server_that_refuses_us_is_an_error(postgresql):
    """A wrong password is said without repeating it."""
    url = f"postgresql://keeper:hunter2@127.0.0.1:{postgresql.port}/postgres"
    with pytest.raises(LedgerError, match="authentication failed") as caught:
        ledger_at(url)
    assert "hunter2" not in str(caught.value)


def test_rights_that_are_missing_are_an_error(postgresql):
    """Who may not make tables is told to look at the rights."""
    url = f"postgresql://keeper:{postgresql.password}@127.0.0.1:{postgresql.port}/postgres"
    with pytest.raises(LedgerError, match="cannot be written: permission denied") as caught:
        ledger_at(url)
    assert "rights" in caught.value.hint


@pytest.fixture
def keepers_url(postgresql):
    """A schema of the role that has a password, by way of TCP."""
    name = "keepers"
    postgresql.run(f"CREATE SCHEMA IF NOT EXISTS {name} AUTHORIZATION keeper")
    yield f"127.0.0.1:{postgresql.port}/postgres?options=-csearch_path%3D{name}"
    postgresql.run(f"DROP SCHEMA {name} CASCADE")


def test_a_password_may_come_from_a_file(postgresql, keepers_url, tmp_path):
    """libpq's own password file serves, named in the URL; so does a password in the URL."""
    file = tmp_path / "passfile"
    file.write_text(f"127.0.0.1:*:*:keeper:{postgresql.password}\n")
    file.chmod(0o600)
    url = f"postgresql://keeper@{keepers_url}&passfile={quote(str(file), safe='')}"
    with ledger_at(url) as ledger:
        assert ledger.verify().ok
    with ledger_at(f"postgresql://keeper:{postgresql.password}@{keepers_url}") as ledger:
        assert ledger.verify().ok


@pytest.mark.parametrize(
    ("place", "seen"),
    [
        ("postgresql://me:hunter2@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:h%40unter2@host/db?a=b", "postgresql://me@host/db?a=b"),
        ("postgresql://me@host/db?sslmode=require", "postgresql://me@host/db?sslmode=require"),
        ("postgresql://host/db?user=me&password=hunter2", "postgresql://host/db?user=me"),
        ("/var/lib/drkeeper/ledger.sqlite", "/var/lib/drkeeper/ledger.sqlite"),
    ],
)
def test_a_place_is_shown_without_its_password(place, seen):
    """What people see of a URL never holds a password."""
    assert shown(place) == seen


def test_a_url_that_makes_no_sense_is_an_error():
    """It is said without quoting the URL, in which there may be a password."""
    with pytest.raises(LedgerError, match="makes no sense") as caught:
        ledger_at("postgresql://me:hunter2@host/db?nonsense=hunter2")
    assert caught.value.__cause__ is None
    assert "hunter2" not in str(caught.value)


def test_without_the_extra_it_is_named():
    """Without psycopg a ledger in PostgreSQL is an error that says what to install."""
    script = (
        "import sys\n"
        "sys.modules['psycopg'] = None\n"
        "from datetime import timedelta\n"
        "from drkeeper.errors import LedgerError\n"
        "from drkeeper.ledger.postgresql import open_engine\n"
        "try:\n"
        "    open_engine('postgresql://host/db', patience=timedelta(seconds=1))\n"
        "except LedgerError as error:\n"
        "    print(error, error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert "needs the extra postgresql" in done.stdout
    assert "pip install 'drkeeper[postgresql]'" in done.stdout


def test_a_ledger_in_a_file_does_not_load_the_driver(tmp_path):
    """psycopg takes a tenth of a second to import; every backup would pay for it."""
    script = (
        "import sys\n"
        "from drkeeper.clock import SystemClock\n"
        "from drkeeper.ledger.ledger import open_ledger\n"
        "from drkeeper.ledger.process import this_process\n"
        f"place = {str(tmp_path / 'state' / 'ledger.sqlite')!r}\n"
        "open_ledger(place, clock=SystemClock(), me=lambda: this_process('h')).close()\n"
        "assert 'psycopg' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_chain_does_not_fork(url):
    """Many connections that append at once wait for each other: one chain, without a gap."""
    with ledger_at(url) as first, ledger_at(url) as second:

        def work(ledger):
            for _ in range(10):
                ledger.begin_run("home", Operation.BACKUP)

        threads = [threading.Thread(target=work, args=(each,)) for each in (first, second) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert first.verify().ok
        assert len(first.runs()) == 60


def test_two_ledgers_of_one_database_do_not_wait_for_each_other(postgresql, engine):
    """The lock is a schema's own."""
    from services.postgresql import fresh_schema  # noqa: PLC0415 - here only

    with (
        writing(engine),
        ledger_at(fresh_schema(postgresql), patience=timedelta(milliseconds=500)) as other,
    ):
        other.begin_run("home", Operation.BACKUP)


def test_the_lock_is_held_until_the_end(postgresql, engine, url):
    """It is taken at the begin of a write, and given back with the commit."""
    held = LOCKERS.replace("pg_terminate_backend(pid)", "count(*)")
    with engine.connect() as connection:
        with connection.begin():
            lock(connection)
            assert postgresql.run(held, url=url) == [(1,)]
        assert postgresql.run(held, url=url) == [(0,)]
    with closing(engine.raw_connection()) as raw:
        assert raw.cursor().execute("SHOW lock_timeout").fetchone() == ("0",)
