"""Commit and collection without locks or clocks: no history loses data, and each rule is needed."""

import pytest

from property.model.collection_model import Bounds, Rules, explore


@pytest.mark.parametrize(
    ("bounds", "states"),
    [
        pytest.param(Bounds(opens=1, condemns=1), 3_220, id="one-session"),
        pytest.param(Bounds(opens=2, condemns=1, losses=0), None, id="crash"),
        pytest.param(Bounds(opens=2, condemns=1, crashes=0), None, id="lost-reply"),
        pytest.param(Bounds(opens=2, condemns=2, crashes=0, losses=0), None, id="two-condemned"),
    ],
)
def test_no_history_loses_data(bounds, states):
    """Two writers and two collectors, in any order: no live snapshot needs a lost pack."""
    found = explore(Rules(), bounds)
    print(f"{bounds}: {found.states} states, {found.steps} steps")
    assert found.violation is None
    assert states in {None, found.states}


@pytest.mark.soak
@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(Bounds(), id="everything-twice"),
        pytest.param(Bounds(opens=3, condemns=1, crashes=0, losses=0), id="three-sessions"),
    ],
)
def test_no_long_history_loses_data(bounds):
    """The same with more sessions, crashes and lost replies: millions of states."""
    found = explore(Rules(), bounds)
    print(f"{bounds}: {found.states} states, {found.steps} steps")
    assert found.violation is None


@pytest.mark.parametrize(
    "broken",
    [
        "compare_and_swap",
        "check_session",
        "check_condemned",
        "condemned_stays",
        "unique_names",
        "reuse_live_only",
    ],
)
def test_each_rule_is_needed(broken):
    """Without any one of the rules there is a history in which a snapshot loses data."""
    found = explore(Rules(**{broken: False}), Bounds())
    assert found.violation is not None
    assert any("commit" in step for step in found.violation)
