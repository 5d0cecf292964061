"""A status reads a ledger file by another way than everything else, and must see the same."""

import shutil
import sqlite3
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from doubles.ledgers import (
    BEGINNING,
    TickingClock,
    behind_its_back,
    ledger_at,
    live_through,
    recovery_point,
)
from drkeeper.errors import DrkeeperError
from drkeeper.ledger.reader import open_reader
from drkeeper.model.facts import GOOD
from drkeeper.model.run import Operation


@pytest.fixture(scope="module")
def empty():
    """A ledger just made; histories start from copies of it, for making one takes longest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        ledger_at(path).close()
        yield path


def what_a_status_asks(answers):
    """Everything that is asked, in every way in which it is."""
    backup = Operation.BACKUP
    names = ["home", "shop", "mail ä", "nobody's"]
    return [
        answers.policies(),
        *(answers.recent_runs(count) for count in (1, 2, 5)),
        [[*answers.recent_runs(count)] for count in (1, 2, 5)],
        answers.newest_points(),
        answers.shown_by_drills(),
        answers.leases(),
        *(answers.verifications(limit=count) for count in (2, 500)),
        answers.open_alarms(),
        answers.daemons(),
        *(answers.runs(name, limit=3) for name in names),
        *(answers.runs(name, limit=3, operation=backup) for name in names),
        *(answers.runs(name, limit=1, states=GOOD, operation=backup) for name in names),
    ]


@given(
    seed=st.integers(0, 10**6),
    runs=st.integers(0, 12),
    hours=st.sampled_from([-30, 0, 30]),
    ties=st.integers(0, 3),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_both_ways_to_read_a_ledger_give_the_same_answers(empty, tmp_path, seed, runs, hours, ties):
    """Whatever happened, also by a clock that was wrong, and with points of one instant."""
    path = shutil.copy(empty, tmp_path / "ledger.sqlite")
    with ledger_at(path) as ledger:
        live_through(ledger, seed, runs=runs)
        ledger.beat("1.2.3", BEGINNING)
        for number in range(ties):
            at = BEGINNING + timedelta(days=1)
            ledger.record_recovery_point(recovery_point(90 + number, consistent_at=at))
    clock = TickingClock(BEGINNING + timedelta(hours=hours))
    with ledger_at(path, clock=clock, read_only=True) as ledger:
        expected = what_a_status_asks(ledger)
    with open_reader(path, clock=clock) as reader:
        assert what_a_status_asks(reader) == expected


_TEXTS = ["NULL", "7", "'x'", "x'00'", "'2026-11-20T02:30:00Z'"]
_NUMBERS = ["NULL", "'x'", "1.5", "x'00'"]
_CELLS = [
    *(("run", name, _TEXTS) for name in ("started_at", "ended_at", "operation", "state", "result")),
    *(("run", name, _NUMBERS) for name in ("pid", "begun_event", "event")),
    *(("recovery_point", name, _TEXTS) for name in ("consistent_at", "finished_at", "proof")),
    *(("recovery_point", name, _NUMBERS) for name in ("files", "entries", "event")),
    ("policy", "first_seen_at", _TEXTS),
    ("alarm", "kind", _TEXTS),
    *(("shown", name, _TEXTS) for name in ("through", "planned_at", "ended", "costs", "said_at")),
    *(("shown", name, _NUMBERS) for name in ("achieved_rto_us", "broken", "said_drill")),
]
_EDITS = [(table, column, value) for table, column, values in _CELLS for value in values]


@pytest.fixture(scope="module")
def lived(empty):
    """A ledger with a row of every kind."""
    path = empty.parent / "lived.db"
    shutil.copy(empty, path)
    with ledger_at(path) as ledger:
        live_through(ledger, 11, runs=15)
        ledger.record_recovery_point(recovery_point(90))
        ledger.beat("1.2.3", BEGINNING)
    return path


def asked(open_one):
    """Return the answers, or the name and the words of the refusal."""
    try:
        with open_one() as answers:
            return what_a_status_asks(answers)
    except DrkeeperError as error:
        return type(error), str(error), error.hint


@given(edit=st.sampled_from(_EDITS))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_both_ways_refuse_the_same_damage_in_the_same_words(lived, tmp_path, edit):
    """A value that was never written is a damaged row either way, or the same value in both."""
    table, column, value = edit
    path = shutil.copy(lived, tmp_path / "ledger.sqlite")
    try:
        behind_its_back(path, f"UPDATE {table} SET {column} = {value}")
    except sqlite3.IntegrityError:
        return  # the table itself refuses that something is missing
    clock = TickingClock()
    expected = asked(lambda: ledger_at(path, clock=clock, read_only=True))
    assert asked(lambda: open_reader(path, clock=clock)) == expected
