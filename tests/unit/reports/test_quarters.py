"""Quarters are those of the calendar, in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from drkeeper.reports.quarters import Quarter, quarter_from_text, quarter_of


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("2026Q4", (2026, 10), (2027, 1)),
        ("2026q1", (2026, 1), (2026, 4)),
        (" 2024-Q2 ", (2024, 4), (2024, 7)),
    ],
)
def test_a_quarter_has_three_months(text, begin, end):
    """From its first instant to the one after its last, whichever way it is written."""
    quarter = quarter_from_text(text)
    assert quarter.begin == datetime(*begin, 1, tzinfo=UTC)
    assert quarter.end == datetime(*end, 1, tzinfo=UTC)
    assert quarter_from_text(str(quarter)) == quarter


@pytest.mark.parametrize(
    "text", ["", "2026", "2026Q5", "Q4", "26Q4", "0001Q1", "9999Q4", "2026Q4x"]
)
def test_what_is_no_quarter_is_refused(text):
    """Whoever mistypes is told, and gets no report of another quarter."""
    with pytest.raises(ValueError, match="is not a quarter such as 2026Q4"):
        quarter_from_text(text)


def test_quarters_follow_each_other():
    """Counting back over years, and an instant elsewhere belongs to the quarter that UTC has."""
    assert Quarter(2026, 4).before(7) == Quarter(2025, 1)
    assert Quarter(2026, 1).before(1) == Quarter(2025, 4)
    assert Quarter(2026, 3).before(0) == Quarter(2026, 3)
    east = timezone(timedelta(hours=9))
    assert quarter_of(datetime(2027, 1, 1, 5, tzinfo=east)) == Quarter(2026, 4)
