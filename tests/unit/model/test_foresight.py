"""What runs next, why then, and which RPO that achieves."""

from datetime import time

from doubles.stories import DAY, HOUR, MINUTE, Story, at, policy_of
from drkeeper.model.foresight import foresee, reasons
from drkeeper.model.policy import Limits, Objectives, Pause
from drkeeper.model.run import RunState
from drkeeper.model.simulation import Outage
from drkeeper.model.windows import Window

NOW = at("2026-11-21T09:20")


def why_first(policy, last="2026-11-21T09:00"):
    """Return the reasons for a policy's next run."""
    foreseen = foresee(Story(policy).run(last).facts(NOW), NOW + 10 * DAY)
    return foreseen.runs[0], " / ".join(reasons(policy, foreseen.runs[0]))


def test_a_run_in_time_needs_no_reason():
    """It is just its time."""
    run, why = why_first(policy_of("hourly"))
    assert (run.began, why) == (at("2026-11-21T10:00"), "")


def test_every_other_run_has_its_reason():
    """Jitter, pause, window, make-up, RPO: each is said."""
    run, why = why_first(policy_of("daily", jitter=HOUR, offset=7 * MINUTE))
    assert (run.began, why) == (at("2026-11-22T00:07"), "7 min of jitter")
    run, why = why_first(policy_of("hourly", pause=Pause(at("2026-11-23T00:00"), "away")))
    assert run.began == at("2026-11-23T00:00")
    assert why == "the pause ends: away / makes up for 38 more"
    closed = Limits(closed=(Window(time(2), time(6)),))
    run, why = why_first(policy_of("daily at 02:30", limits=closed))
    assert run.began == at("2026-11-22T06:00")
    assert why == "may not start 02:00-06:00; was due 02:30"
    run, why = why_first(policy_of("daily"), last="2026-11-18T00:00")
    assert (run.began, why) == (NOW, "late; was due 2026-11-21 00:00 / makes up for 2 more")
    run, why = why_first(policy_of(objectives=Objectives(rpo=4 * HOUR)))
    assert run.began == at("2026-11-21T09:00") + 4 * HOUR - 10 * MINUTE - 12 * MINUTE
    assert why == "in time for the RPO of 4 h"


def test_a_failed_slot_is_tried_again():
    """And the run says so."""
    story = Story(policy_of("daily")).run("2026-11-20T00:00").failed("2026-11-21T09:19")
    foreseen = foresee(story.facts("2026-11-21T09:20:10"), NOW + DAY)
    assert "tries again what failed" in list(reasons(story.policy, foreseen.runs[0]))
    assert len(foreseen.runs) == 2


def test_a_run_that_goes_on_is_taken_to_end_as_usual():
    """It counts for the RPO, and its slot is not run twice."""
    story = Story(policy_of("hourly")).run("2026-11-21T08:00")
    story.run("2026-11-21T09:00", RunState.RUNNING)
    foreseen = foresee(story.facts("2026-11-21T09:05"), at("2026-11-21T12:00"))
    assert [run.slot.hour for run in foreseen.runs] == [10, 11]
    assert foreseen.achieved.worst == HOUR + 10 * MINUTE
    queued = Story(policy_of("hourly")).run("2026-11-21T08:00")
    queued.run("2026-11-21T09:00", RunState.QUEUED)
    foreseen = foresee(queued.facts("2026-11-21T09:05"), at("2026-11-21T12:00"))
    assert [run.slot.hour for run in foreseen.runs] == [10, 11]


def test_outages_are_counted():
    """What is cut off, made up for and missed; the worst age is at the end of the make-up run."""
    policy = policy_of("hourly", objectives=Objectives(rpo=2 * HOUR))
    story = Story(policy).run("2026-11-21T09:00")
    off = [Outage(at("2026-11-21T12:05"), at("2026-11-21T16:10"))]
    foreseen = foresee(story.facts(NOW), at("2026-11-22T00:00"), outages=off)
    assert (foreseen.cut_off, foreseen.made_up, foreseen.missed) == (1, 1, 4)
    assert foreseen.achieved.worst == 5 * HOUR + 20 * MINUTE
    assert foreseen.achieved.at == at("2026-11-21T16:20")
    assert foreseen.keeps_promise is False


def test_slots_given_up_are_counted():
    """The machine comes back near the next slot: what was missed has no run, and is told."""
    story = Story(policy_of("hourly")).run("2026-11-21T09:00")
    off = [Outage(at("2026-11-21T09:50"), at("2026-11-21T12:45"))]
    foreseen = foresee(story.facts(NOW), at("2026-11-21T14:30"), outages=off)
    assert [run.slot.hour for run in foreseen.runs] == [13, 14]
    assert (foreseen.made_up, foreseen.missed) == (0, 3)
    assert [each.slot.hour for each in foreseen.left_out] == [12]


def test_what_runs_by_hand_has_no_future():
    """Nothing is to come, and nothing is promised."""
    foreseen = foresee(Story(policy_of()).facts(NOW), NOW + DAY)
    assert (foreseen.runs, foreseen.achieved, foreseen.keeps_promise) == ([], None, None)
    promised = Story(policy_of("quarterly", objectives=Objectives(rpo=HOUR)))
    assert foresee(promised.facts(NOW), NOW + DAY).keeps_promise is False
