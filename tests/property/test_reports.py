"""Laws of what a report computes."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from doubles.ledgers import TickingClock, ledger_at, live_through
from doubles.quarters import quick_folder, scope_of
from doubles.verifiers import verifier_of_reports
from drkeeper.errors import InstantNotReachableError
from drkeeper.model.exposure import Ready, worst_age
from drkeeper.reports.form import json_bytes
from drkeeper.reports.gaps import Point, waits
from drkeeper.reports.quarters import Quarter
from drkeeper.reports.report import compute
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


@pytest.fixture(scope="module")
def tool():
    """The verifier that an auditor uses, which shares no line with drkeeper."""
    return verifier_of_reports()


def agreed(tool, seed, runs):
    """Report every quarter of a random history, and have each verified; return how many there were."""
    chance, clock = random.Random(seed), TickingClock(datetime(2026, 6, 20, tzinfo=UTC))
    with quick_folder() as folder, ledger_at(folder / "ledger.sqlite", clock=clock) as ledger:
        for number in range(1, runs + 1):
            live_through(ledger, chance.randrange(10**6), runs=1, first=number)
            clock.at += timedelta(hours=chance.choice([0, 1, 30, 400]))
        lines = [json.loads(line) for line in ledger.export()]
        events = [line for line in lines if line["type"] == "event"]
        found = 0
        for quarter in (Quarter(2026, number) for number in (2, 3, 4)):
            try:
                made = compute(ledger, scope_of("home", "gone"), quarter, clock.at)
            except InstantNotReachableError:
                continue
            report = json.loads(json_bytes(made))
            tool.check_report(report, events, tool.roots_of(events), str(quarter))
            found += 1
    return found


@given(seed=st.integers(0, 10**6), runs=st.integers(1, 25))
@settings(max_examples=8, deadline=None)
def test_the_verifier_finds_nothing_in_what_was_reported(tool, seed, runs):
    """Whatever happened, both compute the same, figure by figure: no report is suspected wrongly."""
    assert agreed(tool, seed, runs) >= 1


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(200))
def test_the_verifier_finds_nothing_in_two_hundred_histories(tool, seed):
    """As above, for histories of up to sixty runs."""
    assert agreed(tool, seed, 1 + seed % 60) >= 1
