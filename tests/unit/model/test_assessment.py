"""How policies and repositories stand, in the words that an operator sees."""

from datetime import time, timedelta

import pytest
from msgspec.structs import replace

from doubles.stories import DAY, HOUR, MINUTE, Story, at, policy_of
from drkeeper.model.alarm import AlarmKind
from drkeeper.model.assessment import assess, assess_repository, misses_objective
from drkeeper.model.facts import RepositoryFacts, interval_near
from drkeeper.model.lateness import GRACE
from drkeeper.model.policy import Limits, Objectives, Pause
from drkeeper.model.run import (
    CheckKind,
    Operation,
    Process,
    Run,
    RunFailure,
    RunId,
    RunState,
    Verification,
)
from drkeeper.model.stake import AT_RISK
from drkeeper.model.status import PolicyState
from drkeeper.model.windows import Window

NOW = at("2026-11-21T09:00")


def test_a_status_says_all_there_is_to_say():
    """Newest runs and points, targets, sizes and the next run."""
    policy = policy_of("daily at 02:30", "Europe/Berlin", objectives=Objectives(30 * HOUR, HOUR))
    story = Story(policy).run("2026-11-20T01:30").run("2026-11-21T01:30", plain_bytes=1234)
    status = story.failed("2026-11-21T08:00").status("2026-11-21T08:00:30")
    assert (status.policy, status.source_kind, status.repository) == ("home", "files", "primary")
    assert status.zone_name == "Europe/Berlin"
    assert status.last_success.started_at == at("2026-11-21T01:30")
    assert status.last_attempt.started_at == at("2026-11-21T08:00")
    assert status.points.durable == status.points.captured == at("2026-11-21T01:30")
    assert status.points.proven is None
    assert (status.rpo_target, status.rto_target, status.rto_achieved) == (30 * HOUR, HOUR, None)
    assert status.source_bytes == 1234
    assert status.expected_interval == DAY


def test_the_next_run_is_told_through_pauses_and_windows():
    """Not the next slot, but when the next run begins."""
    closed = Limits(closed=(Window(time(2), time(6)),))
    story = Story(policy_of("daily at 02:30", limits=closed)).run("2026-11-21T06:00")
    assert story.status(NOW).next_due == at("2026-11-22T06:00")
    paused = policy_of("hourly", pause=Pause(at("2026-11-25T00:00"), "away"))
    assert Story(paused).run("2026-11-21T09:00").status(NOW).next_due == at("2026-11-25T00:00")
    assert Story(policy_of()).status(NOW).next_due is None
    due = Story(policy_of("hourly")).run("2026-11-21T08:00").status(NOW)
    assert (due.next_due, due.why) == (NOW, "due")


def test_while_a_run_goes_on_the_next_one_is_told():
    """What runs now is told beside it."""
    story = Story(policy_of("hourly")).run("2026-11-21T09:00", RunState.RUNNING)
    status = story.status("2026-11-21T09:05")
    assert status.state is PolicyState.RUNNING
    assert status.running.started_at == at("2026-11-21T09:00")
    assert status.next_due == at("2026-11-21T10:00")


def test_the_worst_word_wins():
    """A violated objective hides a failure in the word, but not in the list."""
    policy = policy_of("daily", objectives=Objectives(rpo=30 * HOUR))
    story = Story(policy).run("2026-11-18T00:00").failed("2026-11-21T08:58")
    status = story.status(NOW)
    assert status.state is PolicyState.VIOLATED
    assert [each.kind.value for each in status.conditions] == ["rpo-violated", "failing"]


@pytest.mark.parametrize(
    ("state", "missed"),
    [(RunState.SUCCEEDED, False), (RunState.WARNINGS, False), (RunState.FAILED, True)],
)
def test_what_misses_an_objective(state, missed):
    """A policy that fails does not keep its promise; one that warns does, so far."""
    story = Story(policy_of("daily")).run("2026-11-20T00:00").run("2026-11-21T00:00", state)
    assert misses_objective(story.status("2026-11-21T00:10:30")) is missed


def test_a_restore_that_took_too_long_misses_an_objective():
    """The RTO is a promise like the RPO."""
    story = Story(policy_of("daily", objectives=Objectives(rto=HOUR))).run("2026-11-21T00:00")
    facts = story.facts(NOW)
    assert misses_objective(assess(replace(facts, rto_achieved=2 * HOUR)))
    assert not misses_objective(assess(replace(facts, rto_achieved=HOUR)))


@pytest.mark.parametrize(
    ("schedule", "zone", "longest"),
    [
        ("every 6h", "UTC", 6 * HOUR),
        ("hourly at :15", "Europe/Berlin", HOUR),
        ("daily at 02:30", "UTC", DAY),
        ("30 2 * * 1-5", "UTC", 3 * DAY),
        ("weekly on sun", "UTC", 7 * DAY),
        ("quarterly", "UTC", 92 * DAY),
    ],
)
def test_the_interval_to_expect(schedule, zone, longest):
    """The longest pause between some runs, found without walking through a year."""
    assert interval_near(policy_of(schedule, zone), NOW) == longest


def repository(**more):
    """Return what is known of a repository in use since spring."""
    known = {"in_use_since": at("2026-03-01T00:00"), "check_within": 35 * DAY}
    return RepositoryFacts(
        name="primary", store="s3://b/p", now=NOW, zone_name="UTC", **known | more
    )


def check(days_ago, *, passed=True, detail=""):
    """Return the outcome of a check."""
    return Verification(
        repository="c0ffee", kind=CheckKind.STRUCTURE, passed=passed, detail=detail,
        checked_at=NOW - days_ago * DAY,
    )  # fmt: skip


def only(facts):
    """Return the one thing that is wrong with a repository."""
    (condition,) = assess_repository(facts).conditions
    assert condition.message.startswith("repository primary: ")
    assert str(condition.subject) == "repository/primary"
    assert condition.hint.startswith("Run drkeeper ")
    return condition


def test_a_stale_verifier():
    """Entered after the time that is allowed, held, left by a check that passes."""
    assert assess_repository(repository(verifications=[check(34)])).conditions == ()
    condition = only(repository(verifications=[check(35)]))
    assert condition.kind is AlarmKind.VERIFIER_STALE
    assert "2026-10-17 09:00:00 UTC" in condition.message
    assert condition.since == NOW
    assert only(repository(verifications=[check(400)])).kind is AlarmKind.VERIFIER_STALE
    status = assess_repository(repository(verifications=[check(1), check(400)]))
    assert (status.conditions, status.checked_at) == ((), NOW - DAY)


def test_a_repository_that_was_never_checked():
    """It is stale by when it came into use; one that holds nothing yet is not."""
    assert "never been checked" in only(repository()).message
    assert assess_repository(repository(in_use_since=NOW - 34 * DAY)).conditions == ()
    assert assess_repository(repository(in_use_since=None)).conditions == ()
    assert assess_repository(repository(check_within=None)).conditions == ()


def test_a_check_that_found_damage():
    """A failure until a check passes; it does not count as one that passed."""
    condition = only(repository(verifications=[check(1, passed=False, detail="pack 7"), check(2)]))
    assert condition.kind is AlarmKind.FAILING
    assert "pack 7" in condition.message
    assert (
        assess_repository(repository(verifications=[check(0), check(1, passed=False)])).conditions
        == ()
    )


def failed_run(code, minutes_ago=10):
    """Return a backup that failed with that exit code."""
    ended = NOW - minutes_ago * MINUTE
    failure = RunFailure("StorageUnavailableError", "no answer from s3.example", code)
    return Run(
        RunId("1"), "home", Operation.BACKUP, RunState.FAILED, Process("h", "b", 1),
        ended - MINUTE, ended, failure=failure,
    )  # fmt: skip


def test_a_store_that_does_not_answer():
    """Entered when it was asked in vain, left when it answers."""
    fresh = {"verifications": [check(1)]}
    condition = only(repository(reachable=False, asked_at=NOW - MINUTE, **fresh))
    assert condition.kind is AlarmKind.STORAGE_UNREACHABLE
    assert "s3://b/p" in condition.message
    assert "2026-11-21 08:59:00 UTC" in condition.message
    status = assess_repository(repository(reachable=True, asked_at=NOW, **fresh))
    assert (status.reachable, status.conditions) == (True, ())


def test_a_store_that_refused_a_run():
    """Without anybody who asks it regularly, the last run tells; left by an answer since."""
    fresh = {"verifications": [check(1)]}
    condition = only(repository(last_run=failed_run(17), **fresh))
    assert condition.kind is AlarmKind.STORAGE_UNREACHABLE
    assert "policy home" in condition.message
    assert only(repository(last_run=failed_run(17), reachable=True, asked_at=NOW - HOUR, **fresh))
    since = repository(last_run=failed_run(17), reachable=True, asked_at=NOW - MINUTE, **fresh)
    assert assess_repository(since).conditions == ()
    assert assess_repository(repository(last_run=failed_run(18), **fresh)).conditions == ()


def test_a_minute_is_a_minute():
    """The constants that the page promises."""
    assert timedelta(seconds=15) + GRACE < MINUTE
    assert AT_RISK == 0.8
