"""Laws of the planner: over years of calendar, through outages, whatever the clock does."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from drkeeper.model.planner import History, decide, near, slots_of
from drkeeper.model.policy import FilesSource, Objectives, Policy
from drkeeper.model.schedule import parse_schedule
from drkeeper.model.simulation import LeftOut, Outage, achieved, happenings, simulate

ZONES = [
    "UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Istanbul", "Europe/Moscow",
    "Africa/Casablanca", "Africa/Cairo", "America/New_York", "America/Los_Angeles", "America/Santiago",
    "America/St_Johns", "America/Havana", "America/Sao_Paulo", "America/Nuuk", "Asia/Tehran",
    "Asia/Kathmandu", "Asia/Gaza", "Asia/Kolkata", "Australia/Lord_Howe", "Australia/Sydney",
    "Pacific/Apia", "Pacific/Chatham", "Antarctica/Troll",
]  # fmt: skip
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
CALENDAR = {
    "daily at 02:30": DAY, "daily at 00:00": DAY, "weekly on sun at 02:30": 7 * DAY,
    "monthly on 31 at 01:15": 28 * DAY, "quarterly on 1 at 03:00": 90 * DAY, "30 2 * * 1-5": DAY,
    "every 2d": 2 * DAY,
}  # fmt: skip
DENSE = {
    "hourly at :15": HOUR, "*/20 * * * *": 20 * MINUTE, "0 */6 * * *": 6 * HOUR,
    "every 15m": 15 * MINUTE, "every 90m": 90 * MINUTE, "every 6h": 6 * HOUR,
}  # fmt: skip
"""Schedules, with the time that usually lies between two of their slots."""


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


def assert_each_slot_runs_once(planned, period, begin, end):
    """Every slot has its own run, begun at once; none within half a period; nothing is left out."""
    runs = list(happenings(planned, begin, end, duration=timedelta(seconds=20)))
    expected = []
    for slot in slots_of(planned).after(begin):
        if slot >= end:
            break
        expected.append(slot)
    assert [run.slot for run in runs] == expected
    assert all(run.began == run.slot and run.missed == 0 for run in runs)
    assert all(b - a >= period / 2 for a, b in pairwise(expected))


def jittered(zone, period):
    """Return the jitter of a policy, in every other zone."""
    return min(period / 3, 17 * MINUTE) if ZONES.index(zone) % 2 else timedelta()


@pytest.mark.parametrize("zone", ZONES)
def test_ten_years_of_each_calendar_schedule(zone):
    """Each slot once, at its instant, through all changes of the clock in ten years."""
    for schedule, period in CALENDAR.items():
        planned = policy(schedule, zone, offset=jittered(zone, period))
        assert_each_slot_runs_once(planned, period, BEGIN, BEGIN + 3653 * DAY)


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
        for schedule, period in DENSE.items():
            planned = policy(schedule, zone, offset=jittered(zone, period))
            assert_each_slot_runs_once(planned, period, day - DAY / 2, day + 1.5 * DAY)


@pytest.mark.soak
@pytest.mark.parametrize("zone", ZONES)
def test_ten_years_of_each_dense_schedule(zone):
    """The same without leaving any day out."""
    for schedule, period in DENSE.items():
        planned = policy(schedule, zone, offset=jittered(zone, period))
        assert_each_slot_runs_once(planned, period, BEGIN, BEGIN + 3653 * DAY)


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
    st.sampled_from([*CALENDAR, *DENSE]),
    st.sampled_from(ZONES),
    outages(),
    st.integers(0, 3600).map(lambda seconds: timedelta(seconds=seconds)),
    st.integers(0, 600).map(lambda seconds: timedelta(seconds=seconds)),
)
@settings(max_examples=60, deadline=None)
def test_each_slot_is_run_or_counted_through_outages(schedule, zone, off, duration, offset):
    """Every slot is a run's own, or counted as missed by one, or given up: none in silence."""
    planned = policy(schedule, zone, offset=offset)
    slots, accounted, before = slots_of(planned), BEGIN, None
    found = happenings(planned, BEGIN, BEGIN + 30 * DAY, duration=duration, outages=off)
    for each in found:
        open_slots = slots.around(accounted, each.slot).count
        if isinstance(each, LeftOut):
            assert open_slots == each.missed
            following = slots.next(each.slot)
            assert following - each.at <= near(following - each.slot)
            accounted = each.slot
            continue
        assert open_slots == each.missed + 1
        assert each.began >= each.slot
        assert before is None or each.began >= before.ended
        assert not any(outage.begin <= each.began < outage.end for outage in off)
        if each.completed:
            accounted = each.slot
        before = each
    # What is left at the end is what the machine was off for, or was busy.
    rest = slots.around(accounted, BEGIN + 30 * DAY).last
    busy = max((outage.end for outage in off), default=BEGIN) + 3 * duration
    assert rest is None or rest <= busy or BEGIN + 30 * DAY - rest <= 3 * duration + MINUTE


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


@given(
    st.sampled_from([*CALENDAR, *DENSE]),
    st.sampled_from(ZONES),
    st.integers(0, 400 * 24 * 60),
    st.integers(-40 * 24 * 60, 40 * 24 * 60),
    st.integers(0, 600).map(lambda seconds: timedelta(seconds=seconds)),
)
@settings(max_examples=200, deadline=None)
def test_a_run_serves_the_slots_up_to_its_beginning(schedule, zone, began, later, offset):
    """Whether it is known by its slot or by when it began: also by a clock that was set back."""
    planned = policy(schedule, zone, offset=offset)
    began = BEGIN + began * MINUTE
    now = began + later * MINUTE
    slot = slots_of(planned).before(began)
    by_slot, by_run = (
        decide(planned, History(known_since=BEGIN - DAY, served=served), now)
        for served in (slot, began)
    )
    assert by_slot == by_run


def test_the_worst_age_is_that_of_the_calendar():
    """Daily over a change to winter time: 25 hours and the time that a run takes."""
    planned = policy("daily at 02:30", "Europe/Berlin")
    begin = datetime(2026, 10, 20, 0, 30, tzinfo=UTC)
    runs = list(simulate(planned, begin, begin + 10 * DAY, duration=10 * MINUTE))
    found = achieved(runs, begin, begin + 10 * DAY)
    assert found.worst == 25 * HOUR + 10 * MINUTE
    assert found.at == datetime(2026, 10, 26, 1, 40, tzinfo=UTC)
