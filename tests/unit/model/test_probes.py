"""What answers are right, and how answers are read."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from drkeeper.model.probes import (
    ANYTHING,
    CommandProbe,
    FileProbe,
    Probes,
    SqlProbe,
    Wanted,
    instant_of_answer,
    number_of,
    shown,
)

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("wanted", "answer", "right"),
    [
        (Wanted(expect="yes"), " yes\n", True),
        (Wanted(expect="yes"), "Yes", False),
        (Wanted(least=3), "3", True),
        (Wanted(least=3), "2.999", False),
        (Wanted(least=-5, most=5), "-5", True),
        (Wanted(most=5), "1e1", False),
        (Wanted(most=5), "1e999", False),
        (Wanted(most=5), "nan", False),
        (Wanted(most=5), "", False),
        (Wanted(max_age=HOUR), "2026-11-20 11:00:00", True),
        (Wanted(max_age=HOUR), "2026-11-20T12:00:00+02:00", False),
        (Wanted(max_age=HOUR), str(int(AT.timestamp())), True),
        (Wanted(max_age=HOUR), "yesterday", False),
        (Wanted(max_age=HOUR), "9e18", False),
        (Wanted(max_age=HOUR, least=1), "2026-11-20 11:59", False),
        (ANYTHING, "whatever", True),
    ],
)
def test_an_answer_is_right_when_all_that_is_wanted_holds(wanted, answer, right):
    """Text, bounds and ages, each by itself and together; what is no number or instant is wrong."""
    found, said = wanted.judge(answer, AT)
    assert found is right
    assert said


def test_an_instant_in_the_future_is_not_old():
    """A clock that is ahead must not fail a drill; the result shows it."""
    assert Wanted(max_age=HOUR).judge("2026-11-21 00:00:00", AT) == (
        True,
        "2026-11-21T00:00:00Z, -12 h old",
    )


@given(st.text(max_size=400))
def test_no_answer_is_an_error(text):
    """Whatever a program writes is judged, shortened and put on one line."""
    for wanted in (Wanted(expect="x"), Wanted(least=1.0, most=2.0), Wanted(max_age=HOUR)):
        right, said = wanted.judge(text, AT)
        assert isinstance(right, bool)
        assert "\n" not in said
    assert len(shown(text)) <= 103
    number_of(text)
    instant_of_answer(text)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_come_back(number):
    """As SQLite and Python write them."""
    assert number_of(repr(number)) == number


def test_what_is_right_is_said_in_words():
    """The ledger keeps these words before anything is known."""
    assert Wanted(expect="a", least=1, most=2.5, max_age=HOUR).in_words() == (
        "a, at least 1, at most 2.5, at most 1 h old"
    )
    assert ANYTHING.in_words() == "anything"
    command = CommandProbe("c", ("/bin/x",), 3, Wanted(expect="a"))
    assert command.in_words() == "exit 3, output a"
    assert CommandProbe("c", ("/bin/x",)).in_words() == "exit 0"
    file = FileProbe("f", "/a", least_bytes=1024, most_bytes=2048, max_age=HOUR)
    assert file.in_words() == (
        "there, at least 1.00 KiB, at most 2.00 KiB, changed at most 1 h before"
    )
    assert FileProbe("f", "/a", exists=False).in_words() == "not there"
    query = SqlProbe("s", "SELECT 1", "/a.db", Wanted(most=7))
    probes = Probes((command,), (query,), (file,))
    assert [each.kind for each in probes] == ["file", "sql", "command"]
    assert len(probes) == 3
