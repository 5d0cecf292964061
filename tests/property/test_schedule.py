"""Laws of schedules, in every zone, across clock changes."""

from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, strategies as st

from drkeeper.model.schedule import (
    Schedule,
    Unit,
    instant_of,
    next_run,
    parse_schedule,
    runs,
)

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "America/Santiago",
    "Asia/Tehran",
]

zones = st.sampled_from(ZONES).map(ZoneInfo)
FIRST = datetime(2009, 1, 1)  # noqa: DTZ001 - a wall time
LAST = datetime(2037, 1, 1)  # noqa: DTZ001 - a wall time
instants = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC))
clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))
crons = st.tuples(
    st.sampled_from(["0", "*/10", "7,37", "1-59/13", "*"]),
    st.sampled_from(["*", "*/2", "2", "1-3", "0,23"]),
    st.sampled_from(["*", "1", "L", "29", "*/7"]),
    st.sampled_from(["*", "2-12", "3,10"]),
    st.sampled_from(["*", "SUN", "1-5", "7#1"]),
).map(" ".join)
schedules = st.one_of(
    st.builds(Schedule, st.just(Unit.HOURLY), st.builds(time, st.just(0), st.integers(0, 59))),
    st.builds(Schedule, st.just(Unit.DAILY), clocks),
    st.builds(Schedule, st.just(Unit.WEEKLY), clocks, st.integers(0, 6)),
    st.builds(
        Schedule, st.sampled_from([Unit.MONTHLY, Unit.QUARTERLY]), clocks, st.integers(1, 31)
    ),
    st.builds(
        Schedule,
        st.just(Unit.EVERY),
        interval=st.integers(1, 60 * 24 * 366).map(lambda minutes: timedelta(minutes=minutes)),
    ),
    st.builds(Schedule, st.just(Unit.CRON), cron=crons),
)


@given(schedules)
def test_every_schedule_survives_being_written_and_read(schedule):
    """What ``policy explain`` prints is what the policy says."""
    assert parse_schedule(str(schedule)) == schedule


@given(schedules, zones, instants)
def test_runs_are_later_ascending_and_on_whole_minutes(schedule, zone, after):
    """No run is due twice, none in the past, none between minutes."""
    slots = list(islice(runs(schedule, zone, after), 5))
    assert all(slot > after for slot in slots)
    assert all(a < b for a, b in pairwise(slots))
    assert all(slot.second == slot.microsecond == 0 and slot.tzinfo is UTC for slot in slots)


@given(schedules, zones, instants)
def test_asking_in_between_changes_nothing(schedule, zone, after):
    """A daemon that restarts at any instant finds the same next run: nothing is lost or doubled."""
    first, second = islice(runs(schedule, zone, after), 2)
    halfway = first + (second - first) / 2
    assert next_run(schedule, zone, first) == second
    assert next_run(schedule, zone, halfway) == second
    assert next_run(schedule, zone, first - timedelta(microseconds=1)) == first


@given(clocks, zones, instants)
def test_a_daily_schedule_runs_once_on_every_day_that_exists(clock, zone, after):
    """Every day on the wall has its run: no day without, also where clocks jump."""
    slots = list(islice(runs(Schedule(Unit.DAILY, clock), zone, after), 30))
    gaps = [b - a for a, b in pairwise(slots)]
    assert all(timedelta() < gap <= timedelta(hours=49) for gap in gaps)
    days = [slot.astimezone(zone).date() for slot in slots]
    assert days == sorted(days)
    usual = [slot for slot in slots if slot.astimezone(zone).time() == clock]
    assert len(usual) >= len(slots) - 2


@given(st.datetimes(min_value=FIRST, max_value=LAST), zones)
def test_a_wall_time_is_shown_at_its_instant_or_was_jumped_over(wall, zone):
    """``instant_of`` is exact where the time exists, and the end of the gap where it does not."""
    wall = wall.replace(microsecond=0)
    shown = instant_of(wall, zone).astimezone(zone).replace(tzinfo=None)
    assert shown >= wall
    if shown != wall:
        just_before = (instant_of(wall, zone) - timedelta(seconds=1)).astimezone(zone)
        assert just_before.replace(tzinfo=None) < wall
