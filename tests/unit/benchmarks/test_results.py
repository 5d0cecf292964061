"""What is made of samples: medians, ratios, verdicts, files."""

import json

import pytest
from benchmarks.budgets import COLD, FIRST, Judged
from benchmarks.measure import Measured
from benchmarks.results import Results, Sample

MACHINE = {"cores": 2}


def sample(tool, wall_s, *, number=0, data="text", step=FIRST, peak_mib=100.0, **more):
    return Sample(data, step, tool, number, Measured(wall_s, 1.0, 0.5, peak_mib), **more)


def results_of(tmp_path, *samples, scale=1.0):
    return Results(tmp_path / "results.json", scale, MACHINE, samples=list(samples))


def test_a_ratio_is_the_best_peers_median_over_drkeepers(tmp_path):
    """One slow sample decides nothing, and the better of two peers is the measure."""
    walls = {"drkeeper": [2, 2, 50], "restic": [6, 6, 1], "borg": [9, 9, 9]}
    samples = [sample(tool, w, number=i) for tool, ws in walls.items() for i, w in enumerate(ws)]
    (row,) = results_of(tmp_path, *samples).rows()
    assert row.ratio == 3


def test_every_budget_of_a_row_is_judged(tmp_path):
    """Speed, stored size and memory are each set against their own bound."""
    own = sample("drkeeper", 2.0, peak_mib=200.0, stored_bytes=104)
    peer = sample("restic", 3.0, peak_mib=100.0, stored_bytes=100)
    (row,) = results_of(tmp_path, own, peer).rows()
    verdicts = {judged.what: judged.verdict for judged in row.judged()}
    assert verdicts == {
        "best peer / drkeeper": "missed by 25.0%",
        "stored / restic's": "missed by 1.0%",
        "peak / restic's": "missed by 33.3%",
    }


@pytest.mark.parametrize(
    ("figure", "least", "met"),
    [(2.0, True, True), (2.0, False, True), (1.9, True, False), (2.1, False, False)],
)
def test_a_figure_on_its_bound_meets_it(figure, least, met):
    """At least and at most include the bound itself."""
    judged = Judged("figure", figure, 2.0, least=least)
    assert judged.met is met
    assert (judged.verdict == "met") is met


def test_a_million_files_are_judged_by_the_worst_peak(tmp_path):
    """The bound on memory holds for every run, not for the middle one."""
    peaks = (300.0, 300.0, 600.0)
    samples = [
        sample("drkeeper", 1, data="million", number=i, peak_mib=p) for i, p in enumerate(peaks)
    ]
    (judged,) = results_of(tmp_path, *samples).rows()[0].judged()
    assert (judged.figure, judged.met) == (600.0, False)


def test_a_tool_alone_has_no_ratio(tmp_path):
    """Without a peer there is nothing to compare, and nothing is claimed."""
    (row,) = results_of(tmp_path, sample("drkeeper", 2.0)).rows()
    assert row.ratio is None
    assert list(row.judged()) == []


def test_a_later_run_adds_to_an_earlier_one(tmp_path):
    """A long run may be done in parts: the file holds the samples of all of them."""
    results_of(tmp_path, sample("drkeeper", 2.0)).write()
    second = results_of(tmp_path)
    second.add_to_earlier()
    second.parts.append({"commit": "abc"})
    assert second.rounds("text") == 1
    second.samples.append(sample("drkeeper", 4.0, number=1))
    second.write()
    document = json.loads((tmp_path / "results.json").read_text())
    assert [s["took"]["wall_s"] for s in document["samples"]] == [2.0, 4.0]
    assert document["rows"][0]["medians"]["drkeeper"]["wall_s"] == 3.0
    assert document["parts"] == [{"commit": "abc"}]


def test_samples_of_another_scale_are_refused(tmp_path):
    """What cannot be compared is not mixed."""
    results_of(tmp_path, sample("drkeeper", 2.0), scale=0.5).write()
    with pytest.raises(SystemExit, match="another scale"):
        results_of(tmp_path).add_to_earlier()


def test_a_store_that_was_not_cold_is_named(tmp_path):
    """The reader of the table learns when dropping the store from the cache did not work."""
    cold = sample("restic", 2.0, step=COLD, left_in_cache_bytes=0)
    warm = sample("restic", 2.0, step=COLD, left_in_cache_bytes=4096, data="small")
    lines = [x for x in results_of(tmp_path, cold, warm).table() if "not cold" in x]
    assert len(lines) == 1
    assert "small" in lines[0]
