"""Every way in which a backup can be absent: when it is seen, while it holds, when it is over."""

import re
from datetime import time, timedelta

import pytest
from msgspec.structs import replace

from doubles.stories import DAY, HOUR, MINUTE, Story, at, policy_of
from drkeeper.model.alarm import AlarmKind
from drkeeper.model.drill import Shown, Unproven, Verdict
from drkeeper.model.policy import Limits, Objectives, Pause
from drkeeper.model.run import RunState
from drkeeper.model.status import PolicyState
from drkeeper.model.windows import Window

SECOND = timedelta(seconds=1)


def daily(**more):
    """Return a policy that runs each night in Berlin, at 01:30 UTC in winter."""
    return policy_of("daily at 02:30", "Europe/Berlin", **more)


def promised(rpo, **more):
    """Return a daily policy that promises an RPO."""
    return daily(objectives=Objectives(rpo=rpo), **more)


def assert_tells(condition, *words):
    """A message that names the policy, with times of its zone; a hint that is a command."""
    assert condition.message.startswith("policy home: ")
    assert not condition.message.endswith(".")
    for word in words:
        assert word in condition.message
    assert re.search(r"\bdrkeeper [a-z]+", condition.hint)
    assert condition.hint.endswith(".")


def test_a_policy_that_never_ran():
    """Entered within a minute of its first slot, held, left when a run begins."""
    story = Story(daily(), known_since=at("2026-11-20T12:00"))
    assert story.status("2026-11-21T01:29").state is PolicyState.WAITING
    assert story.kinds("2026-11-21T01:30:30") == []
    for later in ("2026-11-21T01:31", "2026-11-21T09:00", "2026-11-23T01:40"):
        condition = story.condition(later)
        assert condition.kind is AlarmKind.NEVER_RAN
        assert story.status(later).state is PolicyState.OVERDUE
    assert_tells(story.condition("2026-11-21T09:00"), "first run", "2026-11-21 02:30:00 CET")
    story.run("2026-11-21T09:01", RunState.RUNNING)
    assert story.kinds("2026-11-21T09:02") == []


def test_an_overdue_policy():
    """Entered within a minute, says what was missed, left by the run; a finished one is ok."""
    story = Story(daily()).run("2026-11-20T01:30")
    assert story.status("2026-11-21T01:30").state is PolicyState.OK
    assert story.kinds("2026-11-21T01:30:39") == []
    assert story.kinds("2026-11-21T01:30:40") == ["overdue"]
    condition = story.condition("2026-11-23T09:00")
    assert_tells(condition, "2026-11-23 02:30:00 CET", "like 2 before it", "2026-11-20 02:30:00")
    story.run("2026-11-23T09:01")
    assert story.status("2026-11-23T10:00").state is PolicyState.OK


def test_a_run_that_was_cut_off_is_due_from_its_end_on():
    """It is not overdue while there was no chance to begin it again."""
    story = Story(daily()).run("2026-11-20T01:30")
    story.run("2026-11-21T01:30", RunState.INTERRUPTED, took=2 * HOUR)
    assert story.kinds("2026-11-21T03:30:30") == []
    assert story.kinds("2026-11-21T03:31") == ["overdue"]


def test_a_changed_policy_is_overdue_from_its_change_on():
    """A new schedule makes nothing overdue at once."""
    story = Story(policy_of("hourly"), changed_at=at("2026-11-21T12:20")).run("2026-11-21T09:30")
    assert story.kinds("2026-11-21T12:20:30") == []
    assert story.kinds("2026-11-21T12:21") == ["overdue"]


def test_a_closed_window_makes_nothing_overdue():
    """What may not start is not late until the window is open, and a minute longer."""
    closed = Limits(closed=(Window(time(2), time(6)),))
    story = Story(daily(limits=closed)).run("2026-11-20T05:00")
    assert story.kinds("2026-11-21T03:00") == []
    assert story.kinds("2026-11-21T05:00:30") == []
    assert story.kinds("2026-11-21T05:01") == ["overdue"]


def test_a_run_that_waits_for_room_is_late_after_a_while():
    """Ten minutes or a tenth of the interval; the queue of a night's herd is no alarm."""
    story = Story(policy_of("hourly")).run("2026-11-21T08:00")
    story.run("2026-11-21T09:00", RunState.QUEUED)
    assert story.status("2026-11-21T09:09").state is PolicyState.QUEUED
    assert story.kinds("2026-11-21T09:10") == ["overdue"]
    assert_tells(story.condition("2026-11-21T09:10"), "waited for room", "09:00:00 UTC")
    patient = Story(daily()).run("2026-11-20T01:30").run("2026-11-21T01:30", RunState.QUEUED)
    assert patient.kinds("2026-11-21T03:50") == []
    assert patient.kinds("2026-11-21T04:00") == ["overdue"]


def test_a_run_that_goes_on_beyond_the_next_slot_is_late():
    """The schedule is not kept, though something moves; left when the run ends."""
    story = Story(policy_of("hourly")).run("2026-11-21T08:00", RunState.RUNNING)
    assert story.status("2026-11-21T09:09").state is PolicyState.RUNNING
    condition = story.condition("2026-11-21T09:10")
    assert condition.kind is AlarmKind.OVERDUE
    assert_tells(condition, "09:00:00 UTC", "08:00:00 UTC", "still goes on")
    story.runs.clear()
    story.run("2026-11-21T08:00", took=70 * MINUTE)
    assert story.kinds("2026-11-21T09:10:30") == []


def test_a_pause_that_has_ended():
    """Nothing while it holds; then said, if nothing runs; left by a run; a new one starts anew."""
    pause = Pause(at("2026-11-22T11:00"), "moving the rack")
    story = Story(daily(pause=pause)).run("2026-11-20T01:30")
    during = story.status("2026-11-22T10:59")
    assert during.state is PolicyState.PAUSED
    assert (during.paused_until, during.paused_because) == (pause.until, "moving the rack")
    assert during.conditions == ()
    assert during.next_due == pause.until
    assert story.kinds("2026-11-22T11:00:30") == []
    for later in ("2026-11-22T11:01", "2026-11-22T20:00"):
        assert story.kinds(later) == ["paused-past-end"]
    assert_tells(story.condition("2026-11-22T11:01"), "pause ended at 2026-11-22 12:00:00 CET")
    story.run("2026-11-22T11:02", RunState.RUNNING)
    assert story.kinds("2026-11-22T11:03") == []


def test_a_pause_that_ended_is_told_though_the_policy_never_ran():
    """Who paused it before its first run is to hear of the pause."""
    story = Story(daily(pause=Pause(at("2026-11-22T11:00"), "not yet")), at("2026-11-20T00:00"))
    assert story.kinds("2026-11-22T11:01") == ["paused-past-end"]


def test_a_failing_policy():
    """Entered with the failure, held through what is tried again, left by success."""
    story = Story(daily()).run("2026-11-20T01:30").failed("2026-11-21T01:30")
    condition = story.condition("2026-11-21T01:31")
    assert condition.kind is AlarmKind.FAILING
    assert_tells(condition, "failed at 2026-11-21 02:31:00 CET: cannot read /srv")
    story.failed("2026-11-21T01:32", hint="Mount /srv.")
    condition = story.condition("2026-11-21T01:34")
    assert_tells(condition, "2 times since 2026-11-21 02:31:00 CET")
    assert condition.hint == "Mount /srv. Run drkeeper backup home."
    assert condition.since == at("2026-11-21T01:31")
    story.run("2026-11-21T01:40", RunState.RUNNING)
    assert story.kinds("2026-11-21T01:41") == ["failing"]
    story.runs.pop()
    story.run("2026-11-21T01:40")
    assert story.kinds("2026-11-21T02:00") == []


def test_a_policy_whose_runs_are_always_cut_off():
    """Once is an accident; three times in a row somebody has to look."""
    story = Story(policy_of("every 6h")).run("2026-11-21T00:00")
    for minute in (0, 2, 4):
        story.run(f"2026-11-21T06:0{minute}", RunState.INTERRUPTED, took=MINUTE)
        kinds = story.kinds(f"2026-11-21T06:0{minute + 1}:10")
        assert kinds == (["failing"] if minute == 4 else [])
    story.run("2026-11-21T06:06")
    assert story.kinds("2026-11-21T06:20") == []


def test_a_run_with_warnings():
    """Held until a run reads everything; a failure meanwhile does not hide it."""
    story = Story(daily()).run("2026-11-21T01:30", RunState.WARNINGS, warnings=3)
    status = story.status("2026-11-21T09:00")
    assert (status.state, status.conditions[0].kind) == (PolicyState.WARNING, AlarmKind.WARNINGS)
    assert_tells(status.conditions[0], "2026-11-21 02:30:00 CET", "3 warnings")
    story.failed("2026-11-22T01:30")
    assert story.kinds("2026-11-22T01:31:30") == ["failing", "warnings"]
    story.run("2026-11-22T01:32")
    assert story.kinds("2026-11-22T01:50") == []


def test_a_run_with_hooks_that_failed():
    """They are named beside what could not be read, each in the right number."""
    story = Story(daily()).run("2026-11-21T01:30", RunState.WARNINGS, warnings=1, failed_hooks=2)
    told = story.condition("2026-11-21T09:00").message
    assert told.endswith("ended with one warning and 2 failed hooks")


def test_an_empty_snapshot():
    """Called complete, and holds nothing: failing, until there is something or somebody agrees."""
    story = Story(daily()).run("2026-11-20T01:30")
    story.run("2026-11-21T01:30", files=0, plain_bytes=0)
    assert story.kinds("2026-11-21T09:00") == ["empty"]
    assert story.status("2026-11-21T09:00").state is PolicyState.FAILING
    assert_tells(story.condition("2026-11-21T09:00"), "holds nothing", "2026-11-21 02:30:00 CET")
    story.run("2026-11-21T10:00", files=0, plain_bytes=0, shrink_allowed=True)
    assert story.kinds("2026-11-21T11:00") == []
    story.run("2026-11-22T01:30", files=0, plain_bytes=0)
    assert story.kinds("2026-11-22T09:00") == ["empty"]
    story.run("2026-11-22T10:00")
    assert story.kinds("2026-11-22T11:00") == []


def test_an_empty_source_that_a_backup_refused():
    """It is told by its name, with what to type if it is right."""
    story = Story(daily()).run("2026-11-20T01:30")
    story.failed("2026-11-21T01:30", "the source of policy home is empty", kind="SourceEmptyError")
    condition = story.condition("2026-11-21T01:32")
    assert condition.kind is AlarmKind.EMPTY
    assert "drkeeper backup home --allow-shrink" in condition.hint


def test_a_snapshot_that_has_shrunk():
    """By files or by bytes, at once or by and by; left when it is back, or somebody agrees."""
    story = Story(policy_of("daily")).run("2026-11-18T00:00").run("2026-11-19T00:00", files=40)
    assert story.kinds("2026-11-19T09:00") == []
    story.run("2026-11-20T00:00", files=10)
    assert story.kinds("2026-11-20T09:00") == ["shrunk"]
    assert_tells(story.condition("2026-11-20T09:00"), "holds 10 files", "held 100 files")
    story.run("2026-11-21T00:00", files=10)
    assert story.kinds("2026-11-21T09:00") == ["shrunk"]
    story.run("2026-11-21T10:00", files=10, shrink_allowed=True)
    assert story.kinds("2026-11-21T11:00") == []
    story.run("2026-11-22T00:00", files=10)
    assert story.kinds("2026-11-22T09:00") == []
    story.run("2026-11-23T00:00", plain_bytes=1_000_000)
    assert story.kinds("2026-11-23T09:00") == ["shrunk"]
    story.run("2026-11-24T00:00")
    assert story.kinds("2026-11-24T09:00") == []


def test_a_shrunk_source_that_a_backup_refused():
    """It is told by its name."""
    story = Story(daily()).run("2026-11-20T01:30")
    story.failed("2026-11-21T01:30", "it has shrunk", kind="SourceShrunkError")
    assert story.kinds("2026-11-21T01:32") == ["shrunk"]


def test_small_sources_may_halve():
    """Few files and few bytes come and go."""
    story = Story(policy_of("daily")).run("2026-11-19T00:00", files=9, plain_bytes=1000)
    story.run("2026-11-20T00:00", files=1, plain_bytes=10)
    assert story.kinds("2026-11-20T09:00") == []


def test_an_rpo_at_risk_and_violated():
    """80 % when no run is in sight, 100 % always; held; left by a new recovery point."""
    story = Story(promised(30 * HOUR)).run("2026-11-20T01:30")
    story.failed("2026-11-21T01:30")
    assert story.kinds("2026-11-21T01:29") == ["failing"]  # the failure ended in its future
    assert "rpo-at-risk" in story.kinds("2026-11-21T01:32")
    before = story.kinds("2026-11-21T07:29:59")
    assert before == ["failing", "rpo-at-risk"]
    status = story.status("2026-11-21T07:30")
    assert status.state is PolicyState.VIOLATED
    assert [each.kind.value for each in status.conditions] == ["rpo-violated", "failing"]
    assert_tells(status.conditions[0], "2026-11-20 02:30:00 CET", "1 d 6 h")
    assert status.conditions[0].hint == "Run drkeeper backup home."
    assert status.conditions[0].since == at("2026-11-21T07:30")
    assert "rpo-violated" in story.kinds("2026-12-21T07:30")
    story.run("2026-11-21T08:00")
    assert story.kinds("2026-11-21T09:00") == []


def test_an_rpo_is_at_risk_only_when_the_next_run_will_not_be_in_time():
    """A daily run under an RPO of 26 hours uses most of it each day: that alone is no alarm."""
    tight = Story(promised(26 * HOUR)).run("2026-11-20T01:30")
    assert tight.kinds("2026-11-21T01:20") == []
    late = Story(promised(24 * HOUR)).run("2026-11-20T01:30")
    assert late.kinds("2026-11-20T20:41") == []
    assert late.kinds("2026-11-20T20:42") == ["rpo-at-risk"]
    tight.run("2026-11-21T01:30", RunState.RUNNING)
    assert tight.kinds("2026-11-21T01:35") == []
    assert tight.kinds("2026-11-21T01:41") == ["rpo-at-risk"]
    tight.runs.pop()
    assert tight.kinds("2026-11-21T01:30:30") == []
    assert sorted(tight.kinds("2026-11-21T01:32")) == ["overdue", "rpo-at-risk"]


def test_a_queued_run_is_expected_to_be_in_time():
    """Until the time that a run takes is more than what is left."""
    story = Story(promised(26 * HOUR)).run("2026-11-20T01:30")
    story.run("2026-11-21T01:30", RunState.QUEUED)
    assert story.kinds("2026-11-21T03:20") == []
    assert story.kinds("2026-11-21T03:21") == ["rpo-at-risk"]


def test_an_rpo_without_any_recovery_point():
    """It counts from when the policy was first seen."""
    story = Story(policy_of(objectives=Objectives(rpo=HOUR)), known_since=at("2026-11-20T12:00"))
    kinds = story.kinds("2026-11-20T13:00")
    assert kinds == ["rpo-violated", "never-ran"]
    assert "no recovery point" in story.status("2026-11-20T13:00").conditions[0].message


def test_an_rpo_is_violated_by_the_clock_that_nobody_sets():
    """The wall clock was set back by a week: old data looks new, but is not."""
    story = Story(promised(26 * HOUR)).run("2026-11-20T01:30")
    assert "rpo-violated" not in story.kinds("2026-11-13T02:00")
    assert "rpo-violated" in story.kinds("2026-11-13T02:00", since_point=27 * HOUR)
    assert story.kinds("2026-11-20T03:00", since_point=2 * HOUR) == []
    assert "rpo-violated" in story.kinds("2026-11-13T02:00", since_start=27 * HOUR)
    assert "rpo-violated" not in story.kinds("2026-11-13T02:00", since_start=25 * HOUR)


def test_an_rpo_is_violated_while_it_is_paused_too():
    """A pause changes no promise, but the message says that it is why."""
    pause = Pause(at("2026-11-25T12:00"), "moving the rack")
    story = Story(promised(26 * HOUR, pause=pause)).run("2026-11-20T01:30")
    condition = story.condition("2026-11-22T09:00")
    assert condition.kind is AlarmKind.RPO_VIOLATED
    assert "paused until 2026-11-25 13:00:00 CET" in condition.message


def test_overdue_by_the_clock_that_nobody_sets():
    """Twenty minutes back: the slots of the wall clock come later, but time has passed."""
    story = Story(policy_of("hourly")).run("2026-11-21T12:00")
    now = "2026-11-21T12:41"
    assert story.kinds(now, since_start=50 * MINUTE) == []
    assert story.kinds(now, since_start=HOUR + MINUTE) == ["overdue"]
    assert "set back" in story.condition(now, since_start=HOUR + MINUTE).message
    assert story.kinds("2026-11-21T12:40", since_start=40 * MINUTE) == []
    hand = Story(policy_of()).run("2026-11-21T12:00")
    assert hand.kinds(now, since_start=DAY) == []


def test_overdue_after_a_clock_was_set_back_far():
    """The newest slot that the clock shows is open; it is told within a minute like any other."""
    story = Story(policy_of("hourly")).run("2026-11-21T12:00")
    assert "overdue" in story.kinds("2026-11-21T09:40", since_start=50 * MINUTE)
    assert story.run("2026-11-21T09:41", RunState.SKIPPED).kinds("2026-11-21T09:42") == []


@pytest.mark.parametrize("step", [-20 * MINUTE, -3 * HOUR, 3 * HOUR, 3652 * DAY])
def test_overdue_is_noticed_within_a_minute_whatever_the_clock_does(step):
    """Nothing runs any more, and the clock is set: a minute after it was due by any clock, it shows."""
    story = Story(policy_of("hourly")).run("2026-11-21T12:00")
    for passed in range(1, 7200, 13):
        elapsed = timedelta(seconds=passed)
        now = at("2026-11-21T12:30") + step + elapsed
        kinds = story.kinds(now, since_start=30 * MINUTE + elapsed)
        if elapsed >= 31 * MINUTE:
            assert "overdue" in kinds
        if elapsed < 29 * MINUTE and step == -20 * MINUTE:
            assert kinds == []


def test_a_stalled_run():
    """Its process lives and moves nothing; or nobody has heard of it; left when it moves again."""
    story = Story(daily()).run("2026-11-21T01:30", RunState.RUNNING)
    story.leased("2026-11-21T01:50", moved_at="2026-11-21T01:41")
    assert story.kinds("2026-11-21T01:50:05") == []
    story.leased("2026-11-21T01:51:10", moved_at="2026-11-21T01:41")
    assert story.kinds("2026-11-21T01:51:12") == ["capture-stalled"]
    assert_tells(story.condition("2026-11-21T01:51:12"), "02:30:00 CET", "02:41:00 CET")
    assert "kill 4711 on keeper" in story.condition("2026-11-21T01:51:12").hint
    story.leased("2026-11-21T01:52", moved_at="2026-11-21T01:52")
    assert story.kinds("2026-11-21T01:52:05") == []
    assert story.kinds("2026-11-21T02:02") == ["capture-stalled"]
    assert story.kinds("2026-11-21T02:02", stalled_after=HOUR) == []


def test_policies_by_hand_are_never_late():
    """Nobody has promised anything."""
    story = Story(policy_of())
    assert story.status("2026-11-21T09:00").state is PolicyState.BY_HAND
    assert story.kinds("2026-11-21T09:00") == []
    assert story.run("2026-01-02T09:00").kinds("2026-11-21T09:00") == []


def test_a_drill_that_proves_nothing():
    """Held until a sound one; what was proven before, and how fast, is still told."""
    story = Story(daily()).run("2026-11-21T01:30")
    ended_at = at("2026-11-21T04:10")
    failed = Unproven(77, Verdict.UNSOUND, "probe rows failed", ended_at)
    before = Shown(at("2026-11-14T01:30"), 5 * MINUTE)
    now = "2026-11-21T09:00"
    status = story.status(now, shown=replace(before, unproven=failed))
    (condition,) = status.conditions
    assert (status.state, condition.kind) == (PolicyState.FAILING, AlarmKind.DRILL_NOT_PROVEN)
    assert_tells(condition, "drill 77, of 2026-11-21 05:10:00 CET", "unsound: probe rows failed")
    assert condition.since == ended_at
    assert (status.points.proven, status.rto_achieved) == (before.through, before.rto)
    assert story.kinds(now, shown=before) == []
    assert story.kinds(now, shown=None) == []
