"""Laws of the planner: over years of calendar, through outages, whatever the clock does."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from drkeeper.model.planner import near, slots_of
from drkeeper.model.policy import FilesSource, Objectives, Policy
from drkeeper.model.schedule import parse_schedule
from drkeeper.model.simulation import Outage, achieved, simulate

ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Istanbul", "Europe/Moscow",
    "Africa/Casablanca", "Africa/Cairo", "America/New_York", "America/Los_Angeles", "America/Santiago",
    "America/St_Johns", "America/Havana", "America/Sao_Paulo", "America/Nuuk", "Asia/Tehran",
    "Asia/Kathmandu", "Asia/Gaza", "Asia/Kolkata", "Australia/Lord_Howe", "Australia/Sydney",
    "Pacific/Apia", "Pacific/Chatham", "Antarctica/Troll",
]  # fmt: skip
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
CALENDAR = [
    "daily at 02:30", "daily at 00:00", "weekly on sun at 02:30", "monthly on 31 at 01:15",
    "quarterly on 1 at 03:00", "30 2 * * 1-5", "0 */6 * * *", "every 6h",
]  # fmt: skip
DENSE = ["hourly at :15", "*/20 * * * *", "every 15m", "every 90m"]


def policy(schedule, zone, **more):
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


def assert_each_slot_runs_once(planned, begin, end):
    """Every slot between the two has its own run, begun at once; none is near another."""
    runs = list(simulate(planned, begin, end, duration=timedelta(seconds=20)))
    expected = []
    for slot in slots_of(planned).after(begin):
        if slot >= end:
            break
        expected.append(slot)
    assert [run.slot for run in runs] == expected
    assert all(run.began == run.slot and run.missed == 0 for run in runs)


@pytest.mark.parametrize("zone", ZONES)
def test_ten_years_of_each_calendar_schedule(zone):
    """Each slot once, at its instant, through all changes of the clock in ten years."""
    for schedule in CALENDAR:
        assert_each_slot_runs_once(policy(schedule, zone), BEGIN, BEGIN + 3653 * DAY)


def changes(zone, begin, end):
    """Return the days on which the clock of a zone changes."""
    days = [begin + number * DAY for number in range((end - begin).days)]
    there = ZoneInfo(zone)
    return [
        day
        for day, following in pairwise(days)
        if day.astimezone(there).utcoffset() != following.astimezone(there).utcoffset()
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_days_around_clock_changes_of_each_dense_schedule(zone):
    """Schedules of many slots a day, on the days around each change of the clock in ten years."""
    for day in [BEGIN, *changes(zone, BEGIN, BEGIN + 3653 * DAY)]:
        for schedule in DENSE:
            assert_each_slot_runs_once(policy(schedule, zone), day - DAY, day + 2 * DAY)


@pytest.mark.soak
@pytest.mark.parametrize("zone", ZONES)
def test_ten_years_of_each_dense_schedule(zone):
    """The same without leaving any day out."""
    for schedule in DENSE:
        assert_each_slot_runs_once(policy(schedule, zone), BEGIN, BEGIN + 3653 * DAY)


@st.composite
def outages(draw):
    """Return some outages within sixty days, apart from each other."""
    found, at = [], BEGIN
    for _ in range(draw(st.integers(0, 5))):
        at += timedelta(minutes=draw(st.integers(1, 60 * 24 * 10)))
        end = at + timedelta(minutes=draw(st.integers(1, 60 * 24 * 6)))
        found.append(Outage(at, end))
        at = end
    return found


@given(
    st.sampled_from(CALENDAR + DENSE),
    st.sampled_from(ZONES),
    outages(),
    st.integers(0, 3600).map(lambda seconds: timedelta(seconds=seconds)),
    st.integers(0, 600).map(lambda seconds: timedelta(seconds=seconds)),
)
@settings(max_examples=100, deadline=None)
def test_each_slot_is_run_or_counted_through_outages(schedule, zone, off, duration, offset):
    """Every slot is a run's own, or counted as missed by one, or given up near the next: no other."""
    planned = policy(schedule, zone, offset=offset)
    end = BEGIN + 60 * DAY
    runs = list(simulate(planned, BEGIN, end, duration=duration, outages=off))
    slots = slots_of(planned)
    for before, run in pairwise(runs):
        assert run.began >= before.ended
        if not before.completed:
            assert run.slot >= before.slot
            continue
        assert run.slot > before.slot
        between = slots.around(before.slot, run.slot).count - 1
        given_up = between - run.missed
        assert given_up >= 0
        if given_up and not off:
            assert duration > near(slots.pause_after(before.slot)) / 2
    for run in runs:
        assert run.began >= run.slot
        assert not any(outage.begin <= run.began < outage.end for outage in off)


@given(st.integers(20, 24 * 60), st.integers(1, 9), outages())
@settings(max_examples=60, deadline=None)
def test_an_objective_alone_is_kept_wherever_it_can_be(minutes, tenths, off):
    """Without outages no point gets older than the RPO; with them, only by the time off."""
    rpo = minutes * MINUTE
    duration = rpo * tenths / 20
    planned = policy(None, "UTC", objectives=Objectives(rpo=rpo))
    end = BEGIN + 20 * rpo
    off = [outage for outage in off if outage.end < end]
    runs = list(simulate(planned, BEGIN, end, duration=duration, outages=off))
    lost = sum((outage.end - outage.begin for outage in off), timedelta())
    allowed = rpo + lost + (duration + MINUTE) * 2 * len(off) + MINUTE
    assert achieved(runs, BEGIN, end).worst <= allowed


def test_the_worst_age_is_that_of_the_calendar():
    """Daily over a change to winter time: 25 hours and the time that a run takes."""
    planned = policy("daily at 02:30", "Europe/Berlin")
    begin = datetime(2026, 10, 20, 0, 30, tzinfo=UTC)
    runs = list(simulate(planned, begin, begin + 10 * DAY, duration=10 * MINUTE))
    found = achieved(runs, begin, begin + 10 * DAY)
    assert found.worst == 25 * HOUR + 10 * MINUTE
    assert found.at == datetime(2026, 10, 26, 1, 40, tzinfo=UTC)
