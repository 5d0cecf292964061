"""When a policy runs: due, late, failing, paused, with clocks that are set."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from drkeeper.model.planner import (
    Failing,
    History,
    Why,
    decide,
    derived_start,
    history_of,
    percentile,
)
from drkeeper.model.policy import FilesSource, Limits, Objectives, Pause, Policy
from drkeeper.model.run import Operation, Process, Run, RunId, RunState
from drkeeper.model.schedule import parse_schedule
from drkeeper.model.windows import Window

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def at(text):
    """Return an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def policy(schedule=None, zone="UTC", **more):
    """Return a policy with that schedule."""
    return Policy(
        name="files",
        source=FilesSource(("/srv",)),
        repository="primary",
        zone_name=zone,
        zone=ZoneInfo(zone),
        schedule=None if schedule is None else parse_schedule(schedule),
        **more,
    )


NOON = at("2026-11-21T12:00")
HOURLY = policy("hourly")
DAILY = policy("daily at 02:30")


def served(slot, **more):
    """Return the history of a policy that is known for long and has served ``slot``."""
    return History(known_since=at("2026-01-01T00:00"), served=slot, **more)


def test_a_new_policy_waits_for_its_slot():
    """Nothing is due just because a policy is new; slots before it was known are nobody's fault."""
    decision = decide(DAILY, History(known_since=NOON), NOON + HOUR)
    assert (decision.slot, decision.why) == (None, Why.WAITING)
    assert decision.next_at == at("2026-11-22T02:30")


def test_a_slot_is_due_from_its_instant_on():
    """Not a second earlier, and not a second time once it is served."""
    before = decide(HOURLY, served(NOON - HOUR), NOON - timedelta(seconds=1))
    assert (before.slot, before.next_at) == (None, NOON)
    due = decide(HOURLY, served(NOON - HOUR), NOON)
    assert (due.slot, due.why, due.missed, due.attempt) == (NOON, Why.DUE, 0, 1)
    assert decide(HOURLY, served(NOON), NOON).slot is None


def test_after_an_outage_there_is_one_run_for_all_that_was_missed():
    """Three days off: one make-up run, for the newest slot; the others are counted."""
    decision = decide(DAILY, served(at("2026-11-18T02:30")), NOON)
    assert decision.slot == at("2026-11-21T02:30")
    assert (decision.why, decision.missed) == (Why.MAKE_UP, 2)


@pytest.mark.parametrize(
    ("schedule", "now", "runs"),
    [
        ("hourly", "2026-11-21T12:29", True),
        ("hourly", "2026-11-21T12:30", False),
        ("daily at 02:30", "2026-11-22T00:05", True),
        ("daily at 02:30", "2026-11-22T00:07", False),
        ("every 6m", "2026-11-21T12:02", True),
        ("every 6m", "2026-11-21T12:04", False),
    ],
)
def test_a_make_up_run_is_left_out_when_the_next_slot_is_near(schedule, now, runs):
    """Half an hour, at most half the pause and at least a tenth of it; what is given up is told."""
    decision = decide(policy(schedule), served(at("2026-11-19T00:00")), at(now))
    assert (decision.slot is not None) == runs
    assert (decision.given_up is not None) == (not runs)
    assert decision.missed > 0


def test_a_year_off_is_decided_at_once():
    """Slots of a minute over a year are not walked one by one: the newest is found, many counted."""
    decision = decide(policy("every 1m"), served(NOON - 365 * DAY), NOON)
    assert decision.slot == NOON
    assert decision.missed >= 999


def test_one_run_at_a_time():
    """What is due waits for the run that goes on."""
    assert decide(HOURLY, served(NOON - HOUR, running=True), NOON).why is Why.RUNNING


def test_failures_are_tried_again_less_and_less_often_until_the_next_slot():
    """One minute, five, fifteen, thirty; then the next slot takes over with its own attempts."""
    waits = []
    ended, attempts = NOON, 1
    while True:
        failing = Failing(NOON, attempts, ended)
        waiting = decide(HOURLY, served(NOON, failing=failing), ended)
        if waiting.why is not Why.RETRY:
            break
        again = decide(HOURLY, served(NOON, failing=failing), waiting.next_at)
        assert (again.slot, again.why, again.attempt) == (NOON, Why.RETRY, attempts + 1)
        waits.append(waiting.next_at - ended)
        attempts, ended = attempts + 1, waiting.next_at
    assert waits == [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE]
    assert waiting.next_at == NOON + HOUR
    after = decide(HOURLY, served(NOON, failing=failing), NOON + HOUR)
    assert (after.slot, after.attempt) == (NOON + HOUR, 1)


@pytest.mark.parametrize(
    ("rpo", "wait"), [(40 * timedelta(seconds=1), timedelta(seconds=10)), (4 * HOUR, MINUTE)]
)
def test_a_failure_is_tried_again_while_the_promise_can_still_be_kept(rpo, wait):
    """Without a schedule, the wait is at most a quarter of the objective."""
    promised = policy(objectives=Objectives(rpo=rpo))
    history = served(NOON, failing=Failing(NOON, 1, NOON))
    assert decide(promised, history, NOON).next_at == NOON + wait
    assert decide(promised, history, NOON + wait).why is Why.RETRY


def test_a_pause_ends_by_itself():
    """Nothing runs before its end; what was due meanwhile is made up once."""
    paused = policy("hourly", pause=Pause(NOON, "moving the rack"))
    history = served(NOON - 5 * HOUR)
    decision = decide(paused, history, NOON - MINUTE)
    assert (decision.slot, decision.why, decision.next_at) == (None, Why.PAUSED, NOON)
    after = decide(paused, history, NOON)
    assert (after.slot, after.missed) == (NOON, 4)


def test_nothing_starts_in_a_closed_window():
    """A slot inside it runs when it opens, in the policy's zone."""
    closed = Limits(closed=(Window(time(8), time(18)),))
    office = policy("daily at 09:00", zone="Europe/Berlin", limits=closed)
    history = served(at("2026-11-20T17:00"))
    decision = decide(office, history, NOON)
    assert (decision.slot, decision.why) == (None, Why.WINDOW)
    assert decision.next_at == at("2026-11-21T17:00")
    assert decide(office, history, decision.next_at).why is Why.MAKE_UP


@pytest.mark.parametrize("back", [MINUTE, 29 * MINUTE])
def test_a_clock_set_back_a_little_runs_nothing_twice(back):
    """The slot that comes a second time is served."""
    decision = decide(HOURLY, served(NOON), NOON - back)
    assert (decision.slot, decision.next_at) == (None, NOON + HOUR)


@pytest.mark.parametrize("back", [3 * HOUR, 3650 * DAY])
def test_a_clock_set_back_far_stops_nothing(back):
    """The newest slot that the clock shows is open, unless a run has only just begun."""
    now = NOON - back + 10 * MINUTE
    slot = NOON - back
    long_ago = served(NOON, started_at=NOON, since_start=40 * MINUTE)
    assert decide(HOURLY, long_ago, now).slot == slot
    assert decide(HOURLY, served(NOON), now).slot == slot
    just_now = decide(HOURLY, served(NOON, started_at=NOON, since_start=10 * MINUTE), now)
    assert (just_now.slot, just_now.given_up, just_now.next_at) == (None, slot, slot + HOUR)
    # What was run or given up then is of the present, and all is as ever.
    assert decide(HOURLY, served(slot), slot + HOUR).slot == slot + HOUR


def test_a_clock_set_back_over_the_birth_of_a_policy_stops_nothing():
    """A policy that was first seen in what is now the future runs all the same."""
    young = History(known_since=NOON)
    assert decide(HOURLY, young, NOON - 3 * HOUR).slot == NOON - 3 * HOUR
    assert decide(HOURLY, young, NOON - 10 * MINUTE).slot is None


@pytest.mark.parametrize("ahead", [3 * HOUR, 3650 * DAY])
def test_a_clock_set_forward_right_after_a_run_runs_nothing_twice(ahead):
    """Slots were jumped over, but the newest recovery point is minutes old: they are given up."""
    history = served(NOON, started_at=NOON, since_start=10 * MINUTE)
    decision = decide(HOURLY, history, NOON + 10 * MINUTE + ahead)
    assert (decision.slot, decision.why) == (None, Why.WAITING)
    assert decision.given_up == NOON + ahead
    later = served(NOON, started_at=NOON, since_start=40 * MINUTE)
    assert decide(HOURLY, later, NOON + 5 * MINUTE + ahead).slot == NOON + ahead


def test_an_objective_alone_is_enough():
    """The next point must be ready before the last is too old: its run begins earlier by its time."""
    promised = policy(objectives=Objectives(rpo=4 * HOUR))
    history = served(None, newest_point=NOON, durations=[20 * MINUTE] * 20)
    waiting = decide(promised, history, NOON)
    assert waiting.next_at == NOON + 4 * HOUR - 20 * MINUTE - 12 * MINUTE
    assert decide(promised, history, waiting.next_at).why is Why.OBJECTIVE
    assert decide(promised, served(None), NOON).slot == NOON


@pytest.mark.parametrize("ahead", [3 * HOUR, 3650 * DAY])
def test_an_objective_has_one_new_point_by_a_clock_that_was_set_forward(ahead):
    """By the dates in the records the newest point is too old: one run makes that good."""
    promised = policy(objectives=Objectives(rpo=2 * HOUR))
    now = NOON + 10 * MINUTE + ahead
    before = {"started_at": NOON, "newest_point": NOON, "since_start": 10 * MINUTE}
    assert decide(promised, served(None, **before), now).why is Why.OBJECTIVE
    after = {"started_at": now, "newest_point": now, "since_start": MINUTE}
    decision = decide(promised, served(None, **after), now + MINUTE)
    assert (decision.slot, decision.next_at) == (None, now + 2 * HOUR - 6 * MINUTE)


def test_a_source_that_takes_longer_than_its_objective_does_not_run_without_end():
    """Half the objective lies between two starts, whatever the runs take."""
    assert derived_start(HOUR, NOON, [5 * HOUR]) == NOON + HOUR / 2


def test_without_schedule_and_objective_it_runs_by_hand():
    """Nothing is ever due."""
    decision = decide(policy(), served(None), NOON)
    assert (decision.slot, decision.next_at, decision.why) == (None, None, Why.BY_HAND)


def test_percentiles_are_of_what_was_measured():
    """The 95th of a hundred; the longest of few; nothing of none."""
    assert percentile([timedelta(seconds=each) for each in range(1, 101)]).total_seconds() == 95
    assert percentile([MINUTE, HOUR]) == HOUR
    assert percentile([]) == timedelta()


def run(began, state, minutes=10, operation=Operation.BACKUP):
    """Return a run that began then and has ended, unless it goes on."""
    begun = at(began)
    ended = begun + minutes * MINUTE if state.ended else None
    process = Process("host", "boot", 1)
    return Run(RunId(began), "files", operation, state, process, begun, ended)


def remembered(planned, *runs, newest_point=None):
    """Return the history of a policy that is known for long; runs newest first."""
    return history_of(planned, runs, known_since=at("2026-01-01T00:00"), newest_point=newest_point)


def test_a_run_stands_for_the_newest_slot_before_it_began():
    """However late it began, and whoever asked for it."""
    history = remembered(DAILY, run("2026-11-21T09:15", RunState.SUCCEEDED))
    assert history.durations == [10 * MINUTE]
    decision = decide(DAILY, history, NOON)
    assert (decision.slot, decision.next_at) == (None, at("2026-11-22T02:30"))


def test_a_run_that_was_cut_off_stands_for_nothing():
    """It is made up for at once."""
    runs = [
        run("2026-11-21T02:30", RunState.INTERRUPTED),
        run("2026-11-20T02:30", RunState.WARNINGS),
    ]
    decision = decide(DAILY, remembered(DAILY, *runs), NOON)
    assert (decision.slot, decision.why) == (at("2026-11-21T02:30"), Why.MAKE_UP)


def test_failures_of_one_slot_are_counted_together():
    """Those of earlier slots are not."""
    runs = [
        run("2026-11-21T02:42", RunState.FAILED, 1),
        run("2026-11-21T02:30", RunState.FAILED, 1),
        run("2026-11-20T02:30", RunState.FAILED, 1),
        run("2026-11-19T02:30", RunState.SUCCEEDED),
    ]
    history = remembered(DAILY, *runs)
    assert history.failing == Failing(at("2026-11-21T02:30"), 2, at("2026-11-21T02:43"))
    assert decide(DAILY, history, at("2026-11-21T02:44")).next_at == at("2026-11-21T02:48")


def test_what_was_left_out_is_served_and_other_operations_do_not_count():
    """A skipped slot is not run again; a check is no backup."""
    runs = [
        run("2026-11-21T11:00", RunState.RUNNING, operation=Operation.CHECK),
        run("2026-11-21T09:30", RunState.SKIPPED, 0),
        run("2026-11-20T02:30", RunState.SUCCEEDED),
    ]
    history = remembered(DAILY, *runs)
    assert decide(DAILY, history, NOON).slot is None
    assert history.started_at == at("2026-11-20T02:30")
    assert not history.running
