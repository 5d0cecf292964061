"""Which snapshots are kept, and why."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from drkeeper.model.retention import Point, Retention, kept

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def points(*instants):
    """Return snapshots in the order of the journal, numbered from 1."""
    parsed = [datetime.fromisoformat(text) for text in instants]
    return [Point(n, at if at.tzinfo else at.replace(tzinfo=UTC)) for n, at in enumerate(parsed, 1)]


def every(step, count, until=NOW):
    """Return ``count`` snapshots, the last of them at ``until``."""
    return [Point(n, until - step * (count - n)) for n in range(1, count + 1)]


def test_without_rules_everything_is_kept():
    """No promise to remove anything was made."""
    found = kept(every(timedelta(days=1), 3), Retention(), BERLIN, NOW)
    assert found == dict.fromkeys((1, 2, 3), ("everything",))


def test_every_rule_names_what_it_holds():
    """One snapshot may be held by several."""
    found = kept(
        points("2026-11-19T10:00", "2026-11-20T10:00", "2026-11-20T22:00", "2026-11-21T10:00"),
        Retention(last=2, within=timedelta(hours=3), daily=2, yearly=1),
        BERLIN,
        NOW,
    )
    assert found == {
        3: ("last 2", "daily 2026-11-20"),
        4: ("last 1", "within 3 h", "daily 2026-11-21", "yearly 2026"),
    }


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"hourly": 2}, {4: ("hourly 2026-11-21 11:00",), 3: ("hourly 2026-11-20 23:00",)}),
        ({"daily": 2}, {4: ("daily 2026-11-21",), 3: ("daily 2026-11-20",)}),
        ({"weekly": 2}, {4: ("weekly 2026-W47",), 2: ("weekly 2026-W46",)}),
        ({"monthly": 2}, {4: ("monthly 2026-11",), 1: ("monthly 2026-10",)}),
        ({"yearly": 2}, {4: ("yearly 2026",)}),
        ({"within": timedelta(days=1)}, {4: ("within 1 d",), 3: ("within 1 d",)}),
        ({"last": 1}, {4: ("last 1",)}),
    ],
)
def test_each_rule_by_itself(rule, expected):
    """The newest of each of the last so many spans that have one, by the policy's zone."""
    found = kept(
        points("2026-10-01T10:00", "2026-11-14T10:00", "2026-11-20T22:30", "2026-11-21T10:30"),
        Retention(**rule),
        BERLIN,
        NOW,
    )
    assert found == expected


def test_days_begin_where_the_policy_is():
    """The same instants are two days in Berlin and one in UTC."""
    instants = points("2026-11-20T22:30", "2026-11-20T23:30")
    assert set(kept(instants, Retention(daily=2), BERLIN, NOW)) == {1, 2}
    assert set(kept(instants, Retention(daily=2), UTC, NOW)) == {2}


def test_an_hour_that_comes_twice_is_two_hours():
    """On the night in which clocks are set back, hourly snapshots stay an hour apart."""
    night = points("2026-10-25T01:30+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00")
    found = kept(night, Retention(hourly=3), BERLIN, NOW)
    assert found[2] == found[3] == ("hourly 2026-10-25 02:00",)


def test_a_week_belongs_to_the_year_that_has_most_of_it():
    """ISO 8601: the first of January 2027 is in week 53 of 2026."""
    found = kept(
        points("2026-12-31T10:00", "2027-01-01T10:00", "2027-01-04T10:00"),
        Retention(weekly=5),
        UTC,
        datetime(2027, 1, 5, tzinfo=UTC),
    )
    assert found == {2: ("weekly 2026-W53",), 3: ("weekly 2027-W01",)}


def test_a_time_without_backups_uses_up_nothing():
    """Seven days that have one, and not the last seven: a machine that was off keeps its past."""
    found = kept(every(timedelta(days=1), 10), Retention(daily=7), UTC, NOW + timedelta(days=300))
    assert set(found) == {4, 5, 6, 7, 8, 9, 10}


def test_the_newest_are_kept_whatever_the_rules_say():
    """``within`` alone would leave nothing after a long silence."""
    silent = every(timedelta(days=1), 5, NOW - timedelta(days=30))
    rule = Retention(within=timedelta(days=2))
    assert kept(silent, rule, UTC, NOW) == {5: ("minimum",)}
    three = Retention(within=timedelta(days=2), minimum=3)
    assert kept(silent, three, UTC, NOW) == dict.fromkeys((3, 4, 5), ("minimum",))


def test_dates_of_the_future_push_nothing_out():
    """Who has the host's keys can date snapshots as they like, and gains nothing by it."""
    good = every(timedelta(days=1), 7)
    garbage = [Point(100 + n, NOW + timedelta(days=n)) for n in range(1, 50)]
    found = kept([*good, *garbage], Retention(daily=7), UTC, NOW)
    assert {point.id for point in good} <= set(found)
    # Nor when those days have come, and honest snapshots with them.
    later = NOW + timedelta(days=3)
    honest = [Point(200 + n, NOW + timedelta(days=n, hours=1)) for n in (1, 2, 3)]
    found = kept([*good, *garbage, *honest], Retention(daily=7), UTC, later)
    assert {4, 5, 6, 7} <= set(found)


def test_dates_of_the_past_push_nothing_out():
    """Garbage that says it is of last Tuesday does not stand for last Tuesday."""
    good = every(timedelta(days=1), 7)
    garbage = [Point(100 + n, point.at + timedelta(hours=1)) for n, point in enumerate(good[:-1])]
    found = kept([*good, *garbage], Retention(daily=7, weekly=2), UTC, NOW)
    assert {point.id for point in good} <= set(found)


def test_a_clock_that_was_wrong_for_a_while_costs_nothing():
    """Snapshots that alone stand for their day are kept, in order or not."""
    days = every(timedelta(days=1), 6)
    wrong = Point(3, datetime(2031, 1, 1, tzinfo=UTC))
    found = kept([*days[:2], wrong, *days[3:]], Retention(daily=10), UTC, NOW)
    assert set(found) == {1, 2, 3, 4, 5, 6}


def test_what_is_expired_still_tells_the_time():
    """Else, whoever displaces the newest snapshot of an hour could go on with the hour before."""
    gone = Point(2, NOW, gone=True)
    forged = Point(3, NOW - timedelta(minutes=70))
    good = Point(1, NOW - timedelta(minutes=75))
    found = kept([good, gone, forged], Retention(hourly=5), UTC, NOW)
    assert 1 in found
    assert 2 not in found
    assert kept([good, forged], Retention(hourly=5), UTC, NOW).keys() == {3}


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_no_invented_instant_stops_the_rules(at, zone):
    """Not even one that has no date in the policy's zone."""
    rules = Retention(hourly=2, daily=2, weekly=2, monthly=2, yearly=2, within=timedelta(days=1))
    found = kept([Point(1, NOW), Point(2, at), Point(3, NOW)], rules, ZoneInfo(zone), NOW)
    assert 3 in found
