"""Recovery points that a clock has dated in the future, before it was set right."""

from datetime import timedelta

import pytest

from doubles.clock import FakeClock
from doubles.ledgers import BEGINNING, ledger_at, recovery_point

YEAR = timedelta(days=365)


@pytest.fixture
def clock():
    """Return a clock that the test sets."""
    return FakeClock(BEGINNING)


def test_points_of_the_future_are_not_the_newest_for_ever(tmp_path, clock):
    """Once the clock is right again and a new point is made, that one is the newest."""
    with ledger_at(tmp_path / "ledger.sqlite", clock=clock) as ledger:
        for number, at in ((1, BEGINNING), (2, BEGINNING + 10 * YEAR)):
            made = recovery_point(number, consistent_at=at)
            ledger.record_recovery_point(made)
        assert ledger.newest_points()["home"].commit_number == 2
        clock.advance(timedelta(hours=1))
        made = recovery_point(3, consistent_at=clock.now())
        ledger.record_recovery_point(made)
        assert ledger.newest_points()["home"].commit_number == 3
        assert ledger.newest_point("home").commit_number == 3


def test_the_newest_data_counts_however_late_it_was_recorded(tmp_path, clock):
    """Runs may overlap: the one that ended last need not hold the newest data."""
    clock.advance(timedelta(hours=2))
    with ledger_at(tmp_path / "ledger.sqlite", clock=clock) as ledger:
        ledger.record_recovery_point(recovery_point(60))
        ledger.record_recovery_point(recovery_point(30))
        assert ledger.newest_points()["home"].commit_number == 60
        assert ledger.newest_point("home").commit_number == 60
        assert ledger.newest_point("shop") is None
