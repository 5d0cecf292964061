"""A drill of a random recovery point can be drawn again by everybody."""

import pytest

from doubles.proving import proving_ground
from drkeeper.crypto.sampling import draw, sample_seed
from drkeeper.model.drill import Choice, Verdict
from drkeeper.model.prediction import predict_spelt


@pytest.fixture
def ground(tmp_path):
    """A machine with five snapshots of one policy."""
    made = proving_ground(tmp_path)
    made.write("a/kept", b"something" * 1000)
    for number in range(5):
        made.write("changed", str(number).encode())
        made.back_up("home")
    return made


def test_a_sample_is_drawn_again_from_what_the_drill_wrote_down(ground):
    """The end lists what could have been taken, in order; the seed of the plan says which had to be."""
    for _ in range(3):
        drilled = ground.drill("home", choice=Choice.RANDOM)
        assert drilled.judgement.verdict is Verdict.PROVEN, drilled.judgement
        candidates = drilled.end.detail["candidates"]
        assert candidates == sorted(candidates)
        assert len(candidates) == 5
        seed = sample_seed(bytes.fromhex(drilled.plan.checkpoint_root), drilled.id)
        assert drilled.end.point.commit_number == candidates[draw(seed, 5)[0]]


def test_nothing_is_listed_where_nothing_is_drawn(ground):
    """The newest and the oldest point are no sample."""
    for choice in (Choice.LATEST, Choice.OLDEST):
        assert "candidates" not in ground.drill("home", choice=choice).end.detail


def test_a_drill_scores_the_prediction_that_was_written_down_before_it(ground):
    """From the fourth drill on: the plan has the interval, the end whether it was inside and by which
    factor; what a status foretells is what the next plan says."""
    for _ in range(3):
        assert "prediction" not in ground.drill("home").end.detail
    with ground.ledger() as ledger:
        shown = ledger.shown_by_drills()["home"]
        point = ledger.newest_points()["home"]
    drilled = ground.drill("home")
    foretold = drilled.plan.prediction
    assert foretold == predict_spelt(shown.costs, point.plain_bytes)
    said = drilled.end.detail["prediction"]
    inside = foretold.low <= drilled.end.achieved_rto <= foretold.high
    assert (said["hit"] == "inside") == inside
    assert said["factor"] == pytest.approx(drilled.end.achieved_rto / foretold.expected, abs=1e-4)
