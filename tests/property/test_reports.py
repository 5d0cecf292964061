"""Laws of what a report computes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings, strategies as st

from drkeeper.model.exposure import Ready, worst_age
from drkeeper.reports.gaps import Point, waits
from drkeeper.reports.table import inert

BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)

minutes = st.integers(-200_000, 200_000)
points = st.lists(
    st.tuples(minutes, st.integers(0, 5000)).map(
        lambda each: (
            BEGIN + timedelta(minutes=each[0]),
            BEGIN + timedelta(minutes=each[0] + each[1]),
        )
    ),
    max_size=20,
)


@given(points)
def test_the_worst_gap_is_that_of_the_model(found):
    """The walk that names the two points of a gap finds the same worst as the one that plans by it."""
    known = [Point(at, ready, number) for number, (at, ready) in enumerate(found, 1)]
    early = [each.consistent_at for each in known if each.ready_at < BEGIN]
    worst = max(each.age for each in waits(known, BEGIN, END))
    ready = [Ready(each.consistent_at, each.ready_at) for each in known if each.ready_at >= BEGIN]
    assert worst == worst_age(ready, BEGIN, END, newest=max(early, default=BEGIN)).worst


@given(points)
def test_gaps_follow_each_other_and_name_their_points(found):
    """Together they cover the time looked at; both ends of each are what its events say."""
    known = [Point(at, ready, number) for number, (at, ready) in enumerate(found, 1)]
    by_event = {each.event: each for each in known}
    walk = list(waits(known, BEGIN, END))
    assert walk[-1].until == END
    assert [each.until for each in walk] == sorted(each.until for each in walk)
    for each in walk:
        if each.before is not None:
            assert by_event[each.before].consistent_at <= each.newest
        if each.after is not None:
            assert by_event[each.after].ready_at == each.until


@given(st.text())
@settings(max_examples=300)
def test_no_text_becomes_a_formula(text):
    """Whatever a name is, its cell begins with nothing that a spreadsheet computes."""
    assert (
        not inert(text)
        .lstrip(" \u00a0")
        .startswith(("=", "+", "-", "@", "\t", "\r", "\n", "|", "%"))
    )
