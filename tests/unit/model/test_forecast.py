"""What a policy will do next, and what it can achieve by that."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from drkeeper.model.forecast import forecast
from drkeeper.model.planner import History
from drkeeper.model.policy import FilesSource, Limits, Objectives, Pause, Policy
from drkeeper.model.schedule import parse_schedule
from drkeeper.model.windows import parse_window

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def policy(schedule=None, **fields):
    """Build a policy with what matters to the test."""
    fields.setdefault("schedule", parse_schedule(schedule) if schedule else None)
    return Policy("p", FilesSource(("/a",)), "primary", "Europe/Berlin", BERLIN, **fields)


def closed(*windows):
    """Return limits that close these times of day."""
    return Limits(closed=tuple(parse_window(window) for window in windows))


def test_the_next_runs_are_the_schedules():
    """With its own part of the jitter."""
    found = forecast(policy("daily at 02:30", offset=timedelta(minutes=7)), NOW, 2)
    assert found.runs == (
        datetime(2026, 11, 22, 1, 37, tzinfo=UTC),
        datetime(2026, 11, 23, 1, 37, tzinfo=UTC),
    )
    assert found.gap == timedelta(hours=25)  # the night in which clocks are set back
    assert found.duration is None
    assert found.worst_rpo == found.gap


def test_a_pause_is_skipped():
    """What was missed is made up for once when it ends; the promise counts without it."""
    end = NOW + timedelta(days=3)
    found = forecast(policy("every 6h", pause=Pause(end, "")), NOW, 2)
    assert found.runs[0] == end
    assert found.gap == 6 * HOUR


def test_a_pause_that_is_over_changes_nothing():
    """The policy runs as if it had never been."""
    over = policy("every 6h", pause=Pause(NOW - HOUR, ""))
    assert forecast(over, NOW, 3) == forecast(policy("every 6h"), NOW, 3)


def test_a_closed_window_makes_the_longest_pause():
    """Also for a schedule that runs each minute, of which a thousand runs are not a day."""
    found = forecast(policy("every 1m", limits=closed("01:00-09:00")), NOW, 1)
    assert timedelta(hours=8) <= found.gap <= timedelta(hours=8, minutes=2)
    later = forecast(policy("daily at 02:30", limits=closed("02:00-04:00")), NOW, 1)
    assert later.runs == (datetime(2026, 11, 22, 3, tzinfo=UTC),)


def test_the_time_that_runs_take_counts():
    """What the ledger remembers of durations comes on top of the pause."""
    history = History(known_since=NOW, durations=(2 * timedelta(minutes=1),) * 20)
    found = forecast(policy("hourly"), NOW, 1, history)
    assert found.duration == timedelta(minutes=2)
    assert found.worst_rpo == timedelta(hours=1, minutes=2)


def test_an_objective_alone_gives_a_schedule():
    """The next run begins early enough to be ready in time."""
    history = History(
        known_since=NOW - 9 * HOUR,
        newest_point=NOW - HOUR / 2,
        durations=(timedelta(minutes=3),) * 20,
    )
    promised = policy(objectives=Objectives(rpo=HOUR))
    found = forecast(promised, NOW, 2, history)
    assert found.gap == timedelta(minutes=54)
    assert found.runs[0] == NOW + timedelta(minutes=24)
    assert found.worst_rpo == timedelta(minutes=57) < HOUR
    assert forecast(promised, NOW, 1).runs == (NOW,)


def test_nothing_is_forecast_of_what_runs_by_hand():
    """No schedule and no objective."""
    found = forecast(policy(), NOW, 10)
    assert (found.runs, found.gap, found.worst_rpo) == ((), None, None)


@pytest.mark.parametrize("running", [True, False])
def test_a_run_that_goes_on_hides_nothing(running):
    """The runs after it are shown."""
    history = History(known_since=NOW - 9 * HOUR, served=NOW, running=running)
    assert forecast(policy("hourly"), NOW, 1, history).runs == (NOW + HOUR,)


@pytest.mark.parametrize("schedule", ["quarterly on 31 at 04:00", "0 0 29 2 *", "every 366d"])
def test_rare_runs_are_found(schedule):
    """Ten runs, decades ahead."""
    found = forecast(policy(schedule), NOW, 10).runs
    assert len(found) == 10
    assert list(found) == sorted(found)
