import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table

from doubles.ledgers import behind_its_back, ledger_at, live_through, what_a_reader_sees
from drkeeper.errors import LedgerError
from drkeeper.ledger import schema
from drkeeper.ledger.engine import reading
from drkeeper.ledger.sqlite import open_engine
from drkeeper.ledger.tables import SQLITE_TRIGGERS, metadata
from drkeeper.model.run import Proof


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "state" / "ledger.sqlite"
    with ledger_at(path) as ledger:
        live_through(ledger, 3, runs=4)
    return path


@pytest.fixture
def engine(path):
    engine = open_engine(str(path), patience=timedelta(seconds=20))
    yield engine
    engine.dispose()


def test_the_steps_make_the_tables_that_the_code_uses(engine):
    """What the migrations make is what tables.py says: tables, types, keys, indexes."""
    with reading(engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "none", "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def test_a_difference_would_be_noticed(engine):
    """The comparison above has eyes: a column more in the code is reported."""
    more = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        table.to_metadata(more)
    more.tables["run"].append_column(Column("more", more.tables["run"].c.id.type))
    Table("extra", more, Column("id", more.tables["run"].c.id.type, primary_key=True))
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "none"})
        assert len(compare_metadata(context, more)) == 2


def test_the_steps_make_the_guards_that_verify_expects(path):
    """The triggers of a migrated file are letter for letter those that verify looks for."""
    with closing(sqlite3.connect(path)) as raw:
        found = dict(
            raw.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        )
    assert found == SQLITE_TRIGGERS


def test_a_newer_ledger_is_refused_untouched(path):
    """A file of a newer drkeeper is not opened, not changed, and the error says what to do."""
    behind_its_back(path, "UPDATE schema_version SET version_num = '0099'")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="made by a newer drkeeper") as caught:
        ledger_at(path)
    assert caught.value.hint == "Install the newer drkeeper again."
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "statement", ["DELETE FROM schema_version", "INSERT INTO schema_version VALUES ('0004')"]
)
def test_a_ledger_without_a_clear_form_is_refused(path, statement):
    """A file that does not say its form, or says two, is damaged."""
    behind_its_back(path, statement)
    with pytest.raises(LedgerError, match="which form"):
        ledger_at(path)


STEP = '''
"""A step of the future."""
from alembic import op
import sqlalchemy as sa

revision = "0004"
down_revision = "0003"


def upgrade():
    op.add_column("run", sa.Column("note", sa.Text))
    {more}
'''


def settle(engine, path, tmp_path, more="", **options):
    (tmp_path / "r0004_note.py").write_text(STEP.format(more=more))
    schema.settle(engine, str(path), target="0004", steps=[str(tmp_path)], **options)


def test_an_older_ledger_is_brought_up_to_date_and_a_copy_kept(path, engine, tmp_path):
    """A step changes the form, keeps every event, and leaves the file as it was beside it."""
    with ledger_at(path) as ledger:
        before = what_a_reader_sees(ledger)
    settle(engine, path, tmp_path)
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT note FROM run").all()
    assert sorted(os.listdir(path.parent)) == ["ledger.sqlite", "ledger.sqlite.form-0003"]
    kept = path.parent / "ledger.sqlite.form-0003"
    assert kept.stat().st_mode & 0o777 == 0o600
    with ledger_at(kept) as ledger:
        assert ledger.verify().ok
        assert what_a_reader_sees(ledger) == before
    settle(engine, path, tmp_path)  # already there: nothing to do


def test_a_failing_step_leaves_the_ledger_as_it_was(path, engine, tmp_path):
    """Steps happen all or not at all."""
    with pytest.raises(LedgerError):
        settle(engine, path, tmp_path, more='op.execute("SELECT nonsense")')
    with ledger_at(path) as ledger:
        assert ledger.verify().ok


OLD = Path(__file__).parents[2] / "museum" / "ledger-form-0001.sqlite"
"""Written by version 0.1.0: eight runs, one of which goes on."""


SECOND = OLD.with_name("ledger-form-0002.sqlite")
"""Written before there were drills: twelve runs, alarms, notifications, three points."""


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old" / "ledger.sqlite"
    path.parent.mkdir(mode=0o700)
    shutil.copy(OLD, path)
    path.chmod(0o600)
    return path


def test_a_ledger_of_the_first_version_is_brought_up_to_date(old):
    """What it remembers stays, it verifies as if made today, and the new things can be kept."""
    with closing(sqlite3.connect(old)) as raw:
        events = raw.execute("SELECT seq, hash FROM event ORDER BY seq").fetchall()
        runs = raw.execute("SELECT id FROM run ORDER BY begun_event DESC").fetchall()
        points = raw.execute("SELECT count(*) FROM recovery_point").fetchone()
    with ledger_at(old) as ledger:
        assert ledger.verify().ok
        assert [(event.seq, event.hash) for event in ledger.events()] == events
        assert [(run.id,) for run in ledger.runs()] == runs
        assert (len(ledger.recovery_points()),) == points
        assert all(run.queued_at is None for run in ledger.runs())
        before = what_a_reader_sees(ledger)
        ledger.rebuild_projections()
        assert what_a_reader_sees(ledger) == before
        live_through(ledger, 4, runs=6)
        assert ledger.verify().ok
    assert sorted(os.listdir(old.parent)) == ["ledger.sqlite", "ledger.sqlite.form-0001"]
    with closing(sqlite3.connect(f"{old}.form-0001")) as kept, closing(sqlite3.connect(OLD)) as raw:
        assert list(kept.iterdump()) == list(raw.iterdump())


def test_a_ledger_of_the_second_version_is_brought_up_to_date(old):
    """Its queue, alarms and policies stay, its points are unproven, and drills can be kept."""
    shutil.copy(SECOND, old)
    with ledger_at(old) as ledger:
        report = ledger.verify()
        assert report.ok
        assert report.events == 58
        assert [len(ledger.alarms()), len(ledger.policies())] == [3, 3]
        assert len(ledger.recovery_points()) == 3
        assert {point.proof for point in ledger.recovery_points()} == {Proof.DURABLE}
        before = what_a_reader_sees(ledger)
        ledger.rebuild_projections()
        assert what_a_reader_sees(ledger) == before
        live_through(ledger, 4, runs=6)
        assert ledger.verify().ok
    assert sorted(os.listdir(old.parent)) == ["ledger.sqlite", "ledger.sqlite.form-0002"]


def test_an_old_ledger_has_the_shape_of_a_new_one(old, path):
    """Whichever way a file came to its form, its tables, indexes and triggers are the same."""
    ledger_at(old).close()
    with closing(sqlite3.connect(old)) as one, closing(sqlite3.connect(path)) as other:
        query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
        assert one.execute(query).fetchall() == other.execute(query).fetchall()


def test_an_older_ledger_is_not_changed_to_be_looked_at(path, engine, tmp_path):
    """Opened read-only, a ledger of an older form is refused instead of changed."""
    with pytest.raises(LedgerError, match="older form"):
        settle(engine, path, tmp_path, read_only=True)


def test_a_step_that_is_unknown_is_an_error(path, engine):
    """A form that no step leads to is one of ours, not Alembic's, error."""
    with pytest.raises(LedgerError, match="form of the ledger cannot be changed"):
        schema.settle(engine, str(path), target="0007")


def test_left_overs_of_a_crash_are_cleared(tmp_path):
    """A half-made ledger under its temporary name is made anew, and nothing stays behind."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "ledger.sqlite.new").write_bytes(b"half")
    (state / "ledger.sqlite.new-journal").write_bytes(b"half")
    with ledger_at(state / "ledger.sqlite") as ledger:
        assert ledger.verify().ok
    assert os.listdir(state) == ["ledger.sqlite"]


def test_opening_a_ledger_that_is_up_to_date_does_not_load_alembic(path):
    """Alembic takes 0.3 s to import; every backup would pay for it."""
    script = (
        "import sys\n"
        "import drkeeper.ledger\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "from drkeeper.clock import SystemClock\n"
        "from drkeeper.ledger.ledger import open_ledger\n"
        "from drkeeper.ledger.process import this_process\n"
        f"ledger = open_ledger({str(path)!r}, clock=SystemClock(), me=lambda: this_process('h'))\n"
        "assert ledger.verify().ok\n"
        "assert 'alembic' not in sys.modules and 'sqlalchemy.orm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
