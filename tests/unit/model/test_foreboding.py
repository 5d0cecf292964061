"""What drills let fear, before the disaster."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from doubles.stories import HOUR, MINUTE, Story, at, policy_of
from drkeeper.model.alarm import LEVELS, AlarmKind, Level
from drkeeper.model.assessment import misses_objective
from drkeeper.model.drill import Broken, Shown, Verdict
from drkeeper.model.policy import DrillTerms, Objectives, Pause
from drkeeper.model.schedule import parse_schedule
from drkeeper.model.status import PolicyState

DAY = timedelta(days=1)
NOW = "2026-11-21T09:00"
GB = 10**9


def costs(*minutes, size=10 * GB):
    """Spell drills, the newest first, that took so many minutes, nine tenths of it by size."""
    spelt = []
    for number, each in enumerate(minutes):
        us = int(each * 60_000_000)
        spelt.append(f"{100 - number} {us // 10} {us - us // 10} {size}")
    return " ".join(spelt)


def story(rto=30 * MINUTE, *, size=10 * GB, drill=None, promised=False, **more):
    """Return a policy that runs each night, drilled weekly, with a snapshot of today."""
    terms = DrillTerms(schedule=parse_schedule(drill) if drill else None, promised=promised)
    policy = policy_of(
        "daily at 02:30", "Europe/Berlin", objectives=Objectives(rto=rto), drill=terms, **more
    )
    return Story(policy).run("2026-11-21T01:30", plain_bytes=size)


def shown(*minutes, rto=None, **more):
    return Shown(
        rto=rto, ended={Verdict.PROVEN: at("2026-11-15T04:30")}, **more, costs=costs(*minutes)
    )


def test_a_target_that_will_be_met_is_no_alarm():
    """When the whole interval lies below the promise nothing is said; the prediction is shown."""
    status = story().status(NOW, shown=shown(10, 11, 10, 11, 10, rto=10 * MINUTE))
    assert status.conditions == ()
    assert 10 * MINUTE < status.rto_predicted.expected < 11 * MINUTE
    assert (status.rto_predicted.drills, status.rto_predicted.plain_bytes) == (5, 10 * GB)


def test_a_target_that_cannot_be_met_is_an_alarm_before_the_disaster():
    """Every drill kept the promise; the data has grown since, and the next restore would not. What is
    foretold, what was promised, what grew and what to do are said; it is left when it fits again."""
    known = shown(20, 21, 20, 21, 20, rto=20 * MINUTE)
    grown = story(size=20 * GB)
    status = grown.status(NOW, shown=known)
    (condition,) = status.conditions
    assert condition.kind is AlarmKind.RTO_CANNOT_BE_MET
    assert (LEVELS[condition.kind], status.state) == (Level.FAILURE, PolicyState.FAILING)
    assert misses_objective(status)
    for words in (
        "policy home: ", "restore its 18.6 GiB", "38 min", "more than the RTO of 30 min",
        "at its newest drill it was 9.31 GiB", "by 5 drills",
    ):  # fmt: skip
        assert words in condition.message
    assert condition.hint == (
        "Run drkeeper drill home, which shows the phase that takes longest, and shorten it."
    )
    assert condition.since == at("2026-11-21T01:40")
    assert story(HOUR, size=20 * GB).kinds(NOW, shown=known) == []
    assert story(size=10 * GB).kinds(NOW, shown=known) == []


def test_a_target_within_the_interval_is_at_risk():
    """It will probably be met, and may not be: a warning, which breaks no promise yet."""
    known = shown(20, 31, 19, 27, 22, rto=20 * MINUTE)
    status = story().status(NOW, shown=known)
    (condition,) = status.conditions
    assert (condition.kind, condition.level) == (AlarmKind.RTO_AT_RISK, Level.WARNING)
    assert status.state is PolicyState.AT_RISK
    assert status.rto_predicted.expected < 30 * MINUTE < status.rto_predicted.high
    assert "which may be more than the RTO of 30 min" in condition.message
    assert not misses_objective(status)


@pytest.mark.parametrize(
    ("minutes", "size", "words"),
    [
        ((40, 20, 21, 20, 20), 10 * GB, "its newest drill was 2.0 times as slow as those before"),
        ((28, 28, 28, 28, 28), 10 * GB, "90 % of that goes by size, which has hardly changed"),
        ((28, 28, 28, 28, 28), 12 * GB, "at its newest drill it was 9.31 GiB"),
    ],
)
def test_what_has_changed_is_said(minutes, size, words):
    """The data, the time that the same data takes, or neither: each is mended in another way."""
    condition = story(29 * MINUTE, size=size).condition(NOW, shown=shown(*minutes))
    assert words in condition.message


def test_a_drill_that_missed_its_target_is_never_passed_over():
    """With too few drills to foretell anything, or though most are fast enough: what was measured
    counts."""
    few = shown(40, rto=40 * MINUTE)
    condition = story().condition(NOW, shown=few)
    assert condition.kind is AlarmKind.RTO_CANNOT_BE_MET
    assert "its newest drill took 40 min, more than the RTO of 30 min" in condition.message
    once = replace(shown(10, 11, 10, 11, 10, 10, 11), rto=31 * MINUTE)
    assert story().condition(NOW, shown=once).kind is AlarmKind.RTO_AT_RISK
    assert story(None).kinds(NOW, shown=few) == []
    assert story().kinds(NOW, shown=None) == []


def test_drills_that_nobody_begins():
    """Entered when none has begun for a day more than their schedule leaves between two; held; left by
    any drill that begins, whatever becomes of it."""
    weekly = story(drill="weekly on sun at 05:00")
    last = Shown(planned_at=at("2026-11-13T02:01"))
    assert weekly.kinds("2026-11-21T02:00", shown=last) == []
    assert weekly.kinds("2026-11-21T02:01", shown=last) == ["drill-overdue"]
    last = Shown(planned_at=at("2026-11-08T04:00"))
    condition = story(drill="weekly on sun at 05:00").condition("2026-11-21T09:00", shown=last)
    assert (condition.kind, condition.level) == (AlarmKind.DRILL_OVERDUE, Level.WARNING)
    assert "no drill has begun since 2026-11-08 05:00:00 CET" in condition.message
    assert "every 7 d" in condition.message
    assert condition.since == at("2026-11-15T04:00")
    assert "drkeeper drill home" in condition.hint
    begun = Shown(planned_at=at("2026-11-15T04:00"))
    assert weekly.kinds(NOW, shown=begun) == []


def test_a_first_drill_that_somebody_asked_for_is_missed():
    """Where the schedule was written down, from the last change of the policy on, once there is
    something to restore; it says what a machine can do that may only write. A first drill ends it."""
    weekly = story(drill="weekly on sun at 05:00", promised=True)
    weekly.known_since = at("2026-11-13T02:01")
    assert weekly.kinds("2026-11-21T02:00", shown=None) == []
    condition = weekly.condition("2026-11-21T02:01", shown=None)
    assert condition.kind is AlarmKind.DRILL_OVERDUE
    assert "no drill has ever begun, though there is to be one every 7 d" in condition.message
    assert condition.since == at("2026-11-20T02:01")
    assert "drkeeper drill home" in condition.hint
    assert "drill: {schedule: never}" in condition.hint
    assert weekly.kinds(NOW, shown=Shown(planned_at=at("2026-11-20T04:00"))) == []
    weekly.changed_at = at("2026-11-20T12:00")
    assert weekly.kinds(NOW, shown=None) == []
    nothing_to_restore = Story(weekly.policy, weekly.known_since)
    assert "drill-overdue" not in nothing_to_restore.kinds(NOW, shown=None)


def test_drills_are_late_only_when_they_are_due():
    """Not without a schedule, nor while the policy is paused or just after, nor when nothing was ever
    drilled and nobody wrote a schedule down: a machine that may only write cannot."""
    last = Shown(planned_at=at("2026-10-01T04:00"))
    assert story().kinds(NOW, shown=last) == []
    weekly = "weekly on sun at 05:00"
    assert story(drill=weekly).kinds(NOW, shown=Shown()) == []
    assert story(drill=weekly).kinds(NOW, shown=None) == []
    for until in ("2026-11-30T00:00", "2026-11-20T00:00"):
        paused = story(drill=weekly, pause=Pause(at(until), "moving"))
        assert "drill-overdue" not in paused.kinds(NOW, shown=last)
    assert story(drill="quarterly").kinds(NOW, shown=last) == []
    assert story(drill=weekly).kinds(NOW, shown=last) == ["drill-overdue"]


def test_drills_that_say_nothing_again_and_again():
    """One is no news: a restart may have ended it. From the second on somebody has to look, for nobody
    is to believe in drills that prove nothing."""
    once = Broken(1, at("2026-11-14T04:10"), 71, "scratch is full")
    assert story().kinds(NOW, shown=Shown(broken=once)) == []
    twice = replace(once, count=2, drill=88)
    status = story().status(NOW, shown=Shown(broken=twice))
    (condition,) = status.conditions
    assert (condition.kind, status.state) == (AlarmKind.DRILL_INCONCLUSIVE, PolicyState.WARNING)
    assert "its newest 2 drills, since 2026-11-14 05:10:00 CET, say nothing" in condition.message
    assert condition.message.endswith("drill 88: scratch is full")
    assert "drkeeper doctor" in condition.hint
    assert condition.since == once.since
