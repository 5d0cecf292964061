"""The grammar of schedules, and what they mean where clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from drkeeper.model.schedule import (
    in_words,
    longest_gap,
    next_run,
    parse_schedule,
    upcoming,
)

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
APIA = ZoneInfo("Pacific/Apia")


def at(text):
    """Return an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "hourly at :15",
        "daily at 02:30",
        "weekly on sun at 03:00",
        "monthly on 1 at 04:00",
        "quarterly on 1 at 00:00",
        "every 6h",
        "every 90m",
        "every 2d",
        "*/10 * * * *",
        "30 2 * * MON-FRI",
        "0 4 L * *",
        "15 3 * * SUN#1",
    ],
)
def test_a_schedule_writes_itself_as_it_was_read(text):
    """What a schedule prints can be pasted into a policy."""
    assert str(parse_schedule(text)) == text
    assert in_words(parse_schedule(text))


def test_times_and_days_may_be_left_out():
    """Short forms mean midnight, Sunday and the first."""
    assert str(parse_schedule("Daily")) == "daily at 00:00"
    assert str(parse_schedule("weekly on Friday")) == "weekly on fri at 00:00"
    assert str(parse_schedule("hourly")) == "hourly at :00"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("@daily", "write daily"),
        ("@reboot", "write daily at 02:30"),
        ("0 */5 * * * *", "six fields|6 fields"),
        ("61 * * * *", "bad minute"),
        ("0 0 ? * *", "bad day-of-month"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("dayly", "daily at 02:30"),
        ("daily at :15", "daily … at 02:30"),
        ("hourly at 02:15", "hourly at :15"),
        ("daily at 25:00", "not a time"),
        ("weekly on xyz", "day of the week"),
        ("monthly on 32", "day of the month"),
        ("daily on mon", "weekly on mon"),
        ("every 10s", "outside"),
        ("every 90s", "whole minutes"),
        ("every fortnight", "not a duration"),
    ],
)
def test_what_is_no_schedule_is_explained(text, told):
    """The message says what to write instead; cron gets a word of its own."""
    with pytest.raises(ValueError, match=told):
        parse_schedule(text)


def test_a_time_that_is_jumped_over_runs_right_after_the_gap():
    """On the day summer time begins, 02:30 does not exist; the run is at 03:00, 01:00 UTC."""
    schedule = parse_schedule("daily at 02:30")
    runs = upcoming(schedule, BERLIN, at("2027-03-27T12:00"), 2)
    assert runs == [at("2027-03-28T01:00"), at("2027-03-29T00:30")]


def test_a_time_that_comes_twice_runs_once():
    """On the day summer time ends, 02:30 comes twice; only the first is a run."""
    schedule = parse_schedule("daily at 02:30")
    runs = upcoming(schedule, BERLIN, at("2027-10-30T12:00"), 2)
    assert runs == [at("2027-10-31T00:30"), at("2027-11-01T01:30")]
    assert next_run(schedule, BERLIN, at("2027-10-31T00:30")) == at("2027-11-01T01:30")


def test_hourly_never_pauses_longer_than_an_hour():
    """An hour that comes twice is backed up twice, since an RPO counts elapsed time."""
    schedule = parse_schedule("hourly at :15")
    runs = upcoming(schedule, BERLIN, at("2027-10-30T23:00"), 5)
    assert all(b - a == timedelta(hours=1) for a, b in pairwise(runs))
    assert longest_gap(schedule, LORD_HOWE, at("2027-01-01T00:00")) <= timedelta(minutes=90)


def test_a_day_that_a_country_skipped_runs_at_its_end():
    """Samoa had no 30 December 2011; its run is the first instant of the 31st, and is one run."""
    schedule = parse_schedule("daily at 12:00")
    runs = upcoming(schedule, APIA, at("2011-12-29T23:00"), 2)
    assert [run.astimezone(APIA).strftime("%d %H:%M") for run in runs] == ["31 00:00", "31 12:00"]


def test_short_months_run_on_their_last_day():
    """The 31st of a shorter month is its last day, leap years included."""
    schedule = parse_schedule("monthly on 31 at 04:00")
    runs = upcoming(schedule, ZoneInfo("UTC"), at("2028-01-31T05:00"), 2)
    assert runs == [at("2028-02-29T04:00"), at("2028-03-31T04:00")]


def test_every_counts_elapsed_time_from_a_fixed_origin():
    """A restart does not move the slots, and no clock change stretches them."""
    schedule = parse_schedule("every 6h")
    assert next_run(schedule, BERLIN, at("2027-03-28T00:30")) == at("2027-03-28T06:00")
    assert next_run(schedule, BERLIN, at("2027-03-28T06:00")) == at("2027-03-28T12:00")


def test_the_longest_gap_counts_clock_changes():
    """A daily run has one pause of 25 hours a year, and the worst RPO says so."""
    daily = parse_schedule("daily at 12:00")
    assert longest_gap(daily, BERLIN, at("2027-01-01T00:00")) == timedelta(hours=25)
    assert longest_gap(daily, ZoneInfo("UTC"), at("2027-01-01T00:00")) == timedelta(hours=24)


def test_cron_follows_the_wall_once_a_slot():
    """02:30 by cron means what ``daily at 02:30`` means, on both days on which clocks change."""
    cron, daily = parse_schedule("30 2 * * *"), parse_schedule("daily at 02:30")
    for day in ("2027-03-26T12:00", "2027-10-29T12:00"):
        assert upcoming(cron, BERLIN, at(day), 5) == upcoming(daily, BERLIN, at(day), 5)


def test_cron_in_each_hour_is_not_stretched_by_clock_changes():
    """``*/20`` in every hour runs every 20 minutes, also while an hour is skipped or repeated."""
    cron = parse_schedule("*/20 * * * *")
    for day in ("2027-03-28T00:00", "2027-10-31T00:00"):
        slots = upcoming(cron, BERLIN, at(day), 9)
        assert {b - a for a, b in pairwise(slots)} == {timedelta(minutes=20)}
    assert longest_gap(cron, BERLIN, at("2027-01-01T00:00")) == timedelta(minutes=20)


def test_slots_that_a_gap_swallows_run_together_once():
    """2:00 and 2:30 do not exist on that day: one run at 03:00 stands for both."""
    cron = parse_schedule("*/30 2 * * *")
    slots = upcoming(cron, BERLIN, at("2027-03-28T00:00"), 3)
    assert slots == [at("2027-03-28T01:00"), at("2027-03-29T00:00"), at("2027-03-29T00:30")]


def test_the_longest_pause_of_cron_counts_days_left_out():
    """Weekdays only: from Friday to Monday, and an hour more when summer time ends."""
    cron = parse_schedule("0 12 * * 1-5")
    assert longest_gap(cron, BERLIN, at("2027-01-01T00:00")) == timedelta(days=3, hours=1)


def test_lower_case_names_of_days_and_months_are_read():
    """As cron reads them; they are shown in capitals."""
    assert str(parse_schedule("0  5 * jan-mar  mon")) == "0 5 * JAN-MAR MON"
