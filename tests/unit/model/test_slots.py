"""The slots of one policy, moved by its jitter."""

from datetime import UTC, datetime, timedelta
from statistics import fmean
from zoneinfo import ZoneInfo

from drkeeper.model.schedule import parse_schedule
from drkeeper.model.slots import MOST_COUNTED, Slots, offset_of, shortest_pause

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def slots(schedule, offset=timedelta()):
    """Return the slots of a schedule in UTC."""
    return Slots(parse_schedule(schedule), ZoneInfo("UTC"), offset)


def test_the_part_of_a_policy_is_stable_and_spread_evenly():
    """The same on every start; a thousand policies fill the time between."""
    parts = [offset_of(f"host/policy-{number}", HOUR) for number in range(1000)]
    assert parts == [offset_of(f"host/policy-{number}", HOUR) for number in range(1000)]
    assert all(timedelta() <= part < HOUR for part in parts)
    assert abs(fmean(part.total_seconds() for part in parts) - 1800) < 100
    assert offset_of("host/policy", timedelta()) == timedelta()


def test_slots_are_moved_together():
    """Jitter moves each slot by the same time and changes none of the pauses."""
    moved = slots("hourly", 10 * MINUTE)
    around = moved.around(NOON - 3 * HOUR, NOON)
    assert (around.last, around.following) == (NOON - 50 * MINUTE, NOON + 10 * MINUTE)
    assert around.count == 3
    assert moved.pause_after(around.last) == HOUR


def test_slots_around_an_instant_are_found_however_long_ago_the_last_run_was():
    """A slot at the instant itself counts; of a year of minutes not each one is walked."""
    far = slots("every 1m").around(NOON - timedelta(days=365), NOON)
    assert (far.last, far.following, far.count) == (NOON, NOON + MINUTE, MOST_COUNTED)
    seldom = slots("monthly on 1 at 00:00").around(NOON - timedelta(days=365 * 90), NOON)
    assert seldom.last == datetime(2026, 11, 1, tzinfo=UTC)
    assert seldom.count == MOST_COUNTED
    assert slots("hourly").around(NOON, NOON).last is None


def test_the_shortest_pause_bounds_the_jitter():
    """Of days left out and of minutes."""
    zone = ZoneInfo("Europe/Berlin")
    assert shortest_pause(parse_schedule("0 12 * * 1-5"), zone, NOON) == 24 * HOUR
    assert shortest_pause(parse_schedule("5,15 * * * *"), zone, NOON) == 10 * MINUTE
