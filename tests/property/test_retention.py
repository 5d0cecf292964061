"""Laws of retention: what holds for all rules and all histories."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, strategies as st
from msgspec.structs import replace

from drkeeper.model.retention import Point, Retention, kept

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
ZONES = st.sampled_from(
    [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata")]
)
MINUTES = 3 * 366 * 24 * 60


@st.composite
def rules(draw):
    """Draw a retention with at least one rule."""
    counts = {name: draw(st.integers(0, 6)) for name in COUNTS}
    within = timedelta(hours=draw(st.integers(0, 1000)))
    if not any(counts.values()) and not within:
        counts["daily"] = 1
    return Retention(**counts, within=within, minimum=draw(st.integers(1, 5)))


@st.composite
def histories(draw, *, honest=True):
    """Draw the instants of a journal: ascending when the host is honest, any otherwise."""
    steps = draw(st.lists(st.integers(0, MINUTES), max_size=40))
    steps = sorted(steps) if honest else steps
    return [Point(n, BEGIN + timedelta(minutes=m)) for n, m in enumerate(steps, 1)]


def end_of(points):
    """Return an instant that no snapshot is later than."""
    return max((point.at for point in points), default=BEGIN)


@given(points=histories(honest=False), rule=rules(), zone=ZONES)
def test_nothing_is_kept_without_a_reason(points, rule, zone):
    """What is kept is of the history, and says why; what has no reason is not in the answer."""
    found = kept(points, rule, zone, end_of(points))
    assert set(found) <= {point.id for point in points}
    assert all(reasons and all(reasons) for reasons in found.values())
    assert all(len(set(reasons)) == len(reasons) for reasons in found.values())


@given(points=histories(honest=False), rule=rules(), zone=ZONES)
def test_the_minimum_holds(points, rule, zone):
    """The newest so many of the journal are kept, whatever their dates are."""
    newest = [point.id for point in points[-rule.minimum :]]
    assert set(newest) <= set(kept(points, rule, zone, end_of(points)))


@given(points=histories(honest=False), rule=rules(), zone=ZONES, name=st.sampled_from(COUNTS))
def test_a_longer_promise_keeps_no_less(points, rule, zone, name):
    """Raising a count, the span or the minimum drops nothing."""
    now = end_of(points)
    before = set(kept(points, rule, zone, now))
    for more in (
        replace(rule, **{name: getattr(rule, name) + 1}),
        replace(rule, within=rule.within + timedelta(days=9)),
        replace(rule, minimum=rule.minimum + 1),
    ):
        assert before <= set(kept(points, more, zone, now))


@given(points=histories(honest=False), rule=rules(), zone=ZONES)
def test_rules_do_not_know_of_each_other(points, rule, zone):
    """Together they keep what each of them keeps, for the same reasons."""
    now = end_of(points)
    union: dict[int, set[str]] = {}
    alone = [Retention(**{name: getattr(rule, name)}, minimum=rule.minimum) for name in COUNTS]
    for single in (*alone, Retention(within=rule.within, minimum=rule.minimum)):
        if not single.keeps_all:
            for point, reasons in kept(points, single, zone, now).items():
                union.setdefault(point, set()).update(reasons)
    together = kept(points, rule, zone, now)
    assert set(together) == set(union)
    for point, reasons in together.items():
        assert set(reasons) - {"minimum"} == union[point] - {"minimum"}


@given(points=histories(), count=st.integers(1, 6), zone=ZONES)
def test_days_are_those_of_the_zone(points, count, zone):
    """For an honest host: the last of each of the last so many dates on the wall."""
    last_of = {point.at.astimezone(zone).date(): point.id for point in points}
    expected = {last_of[day]: f"daily {day}" for day in sorted(last_of)[-count:]}
    found = kept(points, Retention(daily=count), zone, end_of(points))
    assert {point: reasons[0] for point, reasons in found.items()} == expected


@given(points=histories(), rule=rules(), zone=ZONES)
def test_what_was_kept_stays_kept(points, rule, zone):
    """Expiring once more, when nothing has happened, drops nothing more."""
    now = end_of(points)
    once = kept(points, rule, zone, now)
    assert kept([point for point in points if point.id in once], rule, zone, now) == once


@given(
    points=histories(),
    dates=st.lists(st.integers(-MINUTES, 2 * MINUTES), max_size=30),
    rule=rules(),
    zone=ZONES,
)
def test_invented_dates_push_out_nothing(points, dates, rule, zone):
    """Whatever an intruder commits now, the calendar and the span keep what they kept.

    But for the newest of the present hour, day and so on: an honest snapshot would take its place,
    too. ``last`` and ``minimum`` count snapshots, and are for who trusts the host.
    """
    now = end_of(points).replace(minute=5)
    points = [replace(point, at=min(point.at, now)) for point in points]
    points.append(Point(len(points) + 1, now))
    garbage = [Point(1000 + n, BEGIN + timedelta(minutes=m)) for n, m in enumerate(dates)]
    rule = replace(rule, last=0, daily=max(rule.daily, 1))
    before = kept(points, rule, zone, now)
    after = kept([*points, *garbage], rule, zone, now)
    for point, reasons in before.items():
        if point != points[-1].id and reasons != ("minimum",):
            assert set(reasons) - {"minimum"} <= set(after[point])
