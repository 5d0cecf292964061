"""Laws of foretelling the RTO."""

import math
import random
from datetime import timedelta

from hypothesis import given, settings, strategies as st

from drkeeper.model.drill import Phase
from drkeeper.model.prediction import (
    LEAST_HISTORY,
    Hit,
    Measured,
    Outlook,
    Prediction,
    at_size,
    outlook,
    predict,
    score,
)

SECOND = timedelta(seconds=1)

spans = st.integers(0, 10**10).map(lambda us: timedelta(microseconds=us))
drills = st.builds(
    Measured, st.dictionaries(st.sampled_from(Phase), spans, min_size=1), st.integers(0, 10**14)
)


@given(st.lists(drills, max_size=30), st.integers(0, 10**15), st.integers(0, 10**15))
@settings(max_examples=200, deadline=None)
def test_more_data_never_takes_less_time(history, one, other):
    """Bounds are in order, and none falls when there is more to restore."""
    less, more = (predict(history, size) for size in sorted((one, other)))
    assert (less is None) == (len(history) < LEAST_HISTORY)
    if less is not None and more is not None:
        assert timedelta() <= less.low <= less.expected <= less.high
        assert less.low <= more.low
        assert less.expected <= more.expected
        assert less.high <= more.high


def synthetic(chance, size, spread):
    """A drill of a machine with fixed costs and rates that vary, as logarithms do, by ``spread``."""
    slow = math.exp(chance.gauss(0, spread))
    took = {
        Phase.KEYS_OPENED: 1.0 * slow,
        Phase.JOURNAL_READ: 0.5 * slow,
        Phase.FIRST_BYTE: 0.2 * slow,
        Phase.RESTORED: size / 2e8 * slow,
        Phase.PROBES_PASSED: size / 5e8 * slow,
        Phase.TORN_DOWN: 1000.0,
    }
    return Measured({phase: timedelta(seconds=s) for phase, s in took.items()}, size)


def test_nine_of_ten_drills_fall_into_the_interval():
    """On synthetic histories of 3 to 24 drills of growing data, coverage is near 90 %, as promised."""
    chance = random.Random(7)
    hits, rounds = 0, 4000
    for _ in range(rounds):
        count = chance.randrange(3, 25)
        sizes = [int(chance.uniform(0.8, 1.2) * 10**11) for _ in range(count + 1)]
        spread = chance.uniform(0.05, 0.4)
        today, *history = (synthetic(chance, size, spread) for size in sizes)
        foretold = predict(history, today.plain_bytes)
        hits += score(foretold, at_size(today, today.plain_bytes)).hit is Hit.INSIDE
    assert 0.88 < hits / rounds < 0.92


def test_equal_drills_do_not_make_it_certain():
    """Drills that took the very same time still leave an interval, and tearing down is not in it."""
    foretold = predict([synthetic(random.Random(1), 10**10, 0)] * 5, 10**10)
    assert abs(foretold.expected - timedelta(seconds=71.7)) < timedelta(milliseconds=1)
    assert foretold.low < 0.97 * foretold.expected
    assert foretold.high > 1.03 * foretold.expected


def test_a_drill_scores_the_last_prediction():
    """It was inside, faster or slower, and by which factor."""
    foretold = Prediction(1, 8 * SECOND, 10 * SECOND, 13 * SECOND, 5)
    assert score(foretold, 8 * SECOND).hit is Hit.INSIDE
    assert score(foretold, 7 * SECOND).hit is Hit.FASTER
    slower = score(foretold, 15 * SECOND)
    assert (slower.hit, slower.factor) == (Hit.SLOWER, 1.5)


def test_a_target_that_cannot_be_met_is_known_before():
    """Whether it will be, may be or cannot be met follows from the interval."""
    foretold = Prediction(1, 8 * SECOND, 10 * SECOND, 13 * SECOND, 5)
    assert outlook(foretold, 13 * SECOND) is Outlook.WILL_BE_MET
    assert outlook(foretold, 12 * SECOND) is Outlook.AT_RISK
    assert outlook(foretold, 9 * SECOND) is Outlook.CANNOT_BE_MET
    assert outlook(None, SECOND) is Outlook.UNKNOWN
