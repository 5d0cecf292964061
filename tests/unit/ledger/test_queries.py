"""Questions in SQL: every view answers, nothing can be changed, nothing goes on for ever."""

from datetime import timedelta

import pytest

from doubles.drilling import AT, end, plan
from doubles.ledgers import ledger_at, live_through, recovery_point, what_a_reader_sees
from drkeeper.clock import SystemClock
from drkeeper.errors import ConfigurationError
from drkeeper.ledger.views import VIEWS
from drkeeper.model.run import Operation, RunState


@pytest.fixture
def lived(ledger):
    """A ledger with some of everything."""
    live_through(ledger, 4, runs=4)
    ledger.record_recovery_point(recovery_point(99))
    planned = ledger.plan_drill(plan())
    ledger.declare_drill(planned.id, AT)
    ledger.end_drill(planned.id, end())
    return ledger


def test_every_view_answers(lived):
    """Each named view can be asked, and its columns have names."""
    for name in VIEWS:
        answer = lived.query(f"SELECT * FROM {name}")
        assert len(set(answer.columns)) == len(answer.columns)
    (row,) = lived.query(
        "SELECT policy, verdict, achieved_rto_s FROM drills ORDER BY id DESC LIMIT 1"
    ).rows
    assert (row[0], row[1], float(row[2])) == ("home", "proven", 12.0)
    phases = lived.query("SELECT phase FROM phases ORDER BY drill DESC, position").rows
    assert phases[0] == ("keys-opened",)


@pytest.mark.parametrize(
    "question",
    [
        "SELECT 1 AS one",
        "  -- a remark\n /* and \n another */ select 1 as one ;",
        "WITH mine AS (SELECT 1 AS one) SELECT one FROM mine",
        (
            "with recursive mine(one) as (select 1 union all select one + 1 from mine where one < 0)"
            " select one from mine"
        ),
        "VALUES (1)",
    ],
)
def test_questions_may_begin_as_sql_does(ledger, question):
    """Remarks, own views and a semicolon at the end are fine."""
    assert ledger.query(question).rows == [(1,)]


@pytest.mark.parametrize(
    "question",
    [
        "",
        "DELETE FROM event",
        "PRAGMA journal_mode = WAL",
        "ATTACH '/tmp/x' AS y",
        "VACUUM INTO '/tmp/x'",
        "WITH a AS (SELECT 1) DELETE FROM run",
        "WITH a AS (SELECT 1) INSERT INTO policy SELECT * FROM policy",
        "WITH a AS (SELECT 1) UPDATE run SET host = 'x'",
        "SELECT 1; DELETE FROM run",
        "SELECT 1; COMMIT; DELETE FROM run",
        "SELECT * FROM pragma_table_info('run')",
        "SELECT load_extension('x')",
        "SELECT * FROM nothing",
        "SELECT 1 FROM run WHERE \0",
        "SELECT zeroblob(1000000000)",
        "COPY run TO '/tmp/x'",
        "EXPLAIN DELETE FROM run",
    ],
)
def test_anything_else_is_refused_and_changes_nothing(lived, question):
    """Writes, pragmas, other files, further statements and huge values are errors of the question."""
    before = what_a_reader_sees(lived)
    with pytest.raises(ConfigurationError):
        lived.query(question)
    assert what_a_reader_sees(lived) == before
    assert lived.query("SELECT 1").rows == [(1,)]
    lived.end_run(lived.begin_run("home", Operation.CHECK), RunState.SUCCEEDED)
    assert lived.verify().ok


def test_rows_are_limited(lived):
    """No more rows than asked for, and it is said that there were more."""
    answer = lived.query("SELECT seq FROM event ORDER BY seq", limit=3)
    assert (answer.rows, answer.truncated) == ([(1,), (2,), (3,)], True)
    assert not lived.query("SELECT seq FROM event", limit=10_000).truncated


def test_time_is_limited(place):
    """A question that would go on for ever ends, and the ledger works on."""
    with ledger_at(place, clock=SystemClock()) as ledger:
        endless = "WITH e(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM e) SELECT count(*) FROM e"
        with pytest.raises(ConfigurationError, match="too long"):
            ledger.query(endless, most_time=timedelta(milliseconds=100))
        assert ledger.query("SELECT 1").rows == [(1,)]
        assert ledger.verify().ok


def test_an_answer_is_one_instant_of_a_ledger_that_is_only_read(place):
    """A ledger opened to be read answers too."""
    ledger_at(place).close()
    with ledger_at(place, read_only=True) as ledger:
        assert ledger.query("SELECT kind FROM event").rows == [("ledger.created",)]
