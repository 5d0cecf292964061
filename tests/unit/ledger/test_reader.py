"""Reading a ledger file without SQLAlchemy: the same checks, the same refusals, one instant."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest

from doubles.ledgers import TickingClock, behind_its_back, ledger_at, live_through, recovery_point
from drkeeper.app.wiring.overview import remember
from drkeeper.errors import DrkeeperError, LedgerBusyError, LedgerError
from drkeeper.ledger.connecting import PATIENCE, connect
from drkeeper.ledger.reader import Reader, open_reader
from drkeeper.model.run import Operation, RunState


@pytest.fixture
def path(tmp_path):
    """A ledger that something happened in, closed."""
    place = tmp_path / "state" / "ledger.sqlite"
    with ledger_at(place) as ledger:
        live_through(ledger, 11, runs=15)
        ledger.record_recovery_point(recovery_point(90))
    return place


def changed(path, *statements):
    """Change a file without the ledger's leave."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def in_place_of(path, make):
    """Put something else in the ledger's place."""
    path.rename(path.with_name("elsewhere"))
    make()


UNFIT = {
    "missing": lambda path: path.unlink(),
    "no directory": lambda path: path.parent.rename(path.parent.with_name("away")),
    "empty": lambda path: path.write_bytes(b""),
    "no database": lambda path: path.write_bytes(b"not a ledger at all" * 100),
    "cut": lambda path: os.truncate(path, 5000),
    "another program's": lambda path: changed(path, "PRAGMA application_id = 7"),
    "newer": lambda path: changed(path, "UPDATE schema_version SET version_num = '9999'"),
    "older": lambda path: changed(path, "UPDATE schema_version SET version_num = '0001'"),
    "of no form": lambda path: changed(path, "DELETE FROM schema_version"),
    "without a table": lambda path: changed(path, "DROP TABLE schema_version"),
    "a link": lambda path: in_place_of(path, lambda: path.symlink_to("elsewhere")),
    "a directory": lambda path: in_place_of(path, path.mkdir),
    "others may write": lambda path: path.parent.chmod(0o777),
}


@pytest.mark.parametrize("spoil", UNFIT.values(), ids=UNFIT)
def test_what_is_unfit_is_refused_in_the_words_of_the_ledger(path, spoil):
    """A place, a file or a form that the ledger refuses is refused here, for the same reason."""
    spoil(path)
    with pytest.raises(DrkeeperError) as expected, ledger_at(path, read_only=True) as ledger:
        remember(ledger)
    with pytest.raises(DrkeeperError) as caught, open_reader(path, clock=TickingClock()) as reader:
        remember(reader)
    assert type(caught.value) is type(expected.value)
    assert str(caught.value) == str(expected.value)
    assert caught.value.hint == expected.value.hint


def test_a_ledger_that_is_being_written_is_waited_for_and_said_to_be_busy(path):
    """Nobody reads what is half written; who waits in vain is told so."""
    patience = timedelta(milliseconds=50)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with (
            pytest.raises(LedgerBusyError, match="in use"),
            open_reader(path, clock=TickingClock(), patience=patience),
        ):
            pass
        other.execute("ROLLBACK")
    with open_reader(path, clock=TickingClock(), patience=patience) as reader:
        assert reader.policies()


def test_all_answers_are_of_one_instant(path):
    """What is written meanwhile waits, and shows at the next look."""
    with ledger_at(path, patience=timedelta(milliseconds=50)) as ledger:
        with open_reader(path, clock=TickingClock()) as reader:
            before = reader.recent_runs(5)
            with pytest.raises(LedgerBusyError):
                ledger.begin_run("home", Operation.BACKUP)
            assert reader.recent_runs(5) == before
        ledger.begin_run("home", Operation.BACKUP)
    with open_reader(path, clock=TickingClock()) as reader:
        assert reader.recent_runs(5) != before


def test_the_number_of_questions_does_not_grow_with_the_policies(path):
    """A thousand policies are read as ten are."""

    def asked():
        said = []
        with closing(connect(str(path), patience=PATIENCE, read_only=True)) as connection:
            connection.set_trace_callback(said.append)
            remember(Reader(connection, TickingClock()))
        return len(said)

    def run(name):
        begun = ledger.begin_run(name, Operation.BACKUP)
        ledger.end_run(begun, RunState.SUCCEEDED)

    with ledger_at(path) as ledger:
        for name in ("home", "shop", "mail ä"):
            run(name)
        before = asked()
        for number in range(20):
            run(f"p{number}")
    assert asked() == before


@pytest.mark.parametrize("value", ["2", "-1", "'x'"])
@pytest.mark.parametrize(
    ("table", "column"), [("recovery_point", "complete"), ("verification", "passed")]
)
def test_a_truth_that_is_neither_is_refused(path, table, column, value):
    """SQLite keeps truths as numbers; what is not one of the two was never written."""
    behind_its_back(path, f"UPDATE {table} SET {column} = {value}")
    with (
        open_reader(path, clock=TickingClock()) as reader,
        pytest.raises(LedgerError, match="row of the ledger is damaged"),
    ):
        remember(reader)


def test_reading_changes_nothing_and_needs_no_sqlalchemy(path):
    """SQLAlchemy takes half of a status's time to import."""
    before = path.read_bytes()
    script = (
        "import sys\n"
        "from drkeeper.app.wiring.overview import remember\n"
        "from drkeeper.clock import SystemClock\n"
        "from drkeeper.ledger.reader import open_reader\n"
        f"with open_reader({str(path)!r}, clock=SystemClock()) as reader:\n"
        "    assert remember(reader).runs\n"
        "assert 'sqlalchemy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["ledger.sqlite"]
