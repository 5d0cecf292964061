"""What a policy promises to keep, and which snapshots that are; removing is not done here."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

import msgspec

from drkeeper.model.quantities import format_duration

_DAY = timedelta(days=1)
_FIRST: Final = datetime(1970, 1, 3, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 29, tzinfo=UTC)
_SKEW: Final = timedelta(minutes=10)
"""Clocks of two machines may differ by so much without a snapshot being of the future."""


class Retention(msgspec.Struct, frozen=True):
    """How many snapshots to keep, by calendar; a snapshot kept by any rule is kept.

    Attributes:
        last: The newest so many.
        within: All younger than this.
        hourly: The newest of each of the last so many hours that have one.
        daily: The same, by day.
        weekly: The same, by ISO week.
        monthly: The same, by month.
        yearly: The same, by year.
        minimum: The newest so many, whatever the rules say.
    """

    last: int = 0
    within: timedelta = timedelta()
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    minimum: int = 1

    @property
    def keeps_all(self) -> bool:
        """Whether there is no rule, so that nothing is ever expired."""
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        return not any(counts) and not self.within

    def in_words(self) -> list[str]:
        """Name each rule in a few words; empty means that everything is kept."""
        words = [f"the newest {self.last}"] if self.last else []
        if self.within:
            words.append(f"everything of the last {_span(self.within)}")
        for count, unit in (
            (self.hourly, "hour"),
            (self.daily, "day"),
            (self.weekly, "week"),
            (self.monthly, "month"),
            (self.yearly, "year"),
        ):
            if count:
                plural = "s" if count > 1 else ""
                words.append(f"one an {unit}" if unit == "hour" else f"one a {unit}")
                words[-1] += f" for {count} {unit}{plural}"
        return words


def _span(within: timedelta) -> str:
    if within % _DAY:
        return format_duration(within)
    return f"{within.days} day{'s' if within.days > 1 else ''}"


class Point(msgspec.Struct, frozen=True):
    """A snapshot as retention sees it.

    Attributes:
        id: Names it; its number in the journal will do.
        at: The instant it describes, as its host said.
        gone: Whether it is expired already: then it is not kept, but still tells the time.
    """

    id: int
    at: datetime
    gone: bool = False


def kept(
    points: Sequence[Point], retention: Retention, zone: tzinfo, now: datetime
) -> dict[int, tuple[str, ...]]:
    """Say which snapshots of one source on one host are kept, and why each is.

    What is not in the answer may be expired. The rules are independent: one snapshot may be held by
    several, and each is named: ``last 2`` is the second newest, ``daily 2026-11-20`` the newest of
    that day, ``within 2 d``, ``minimum``, and ``everything`` when there are no rules.

    Only the order of the journal is beyond doubt; an instant is what a host says, and a host may be
    in wrong hands. So a snapshot counts as *in order* when it is neither older than one that was
    committed before it nor of the future. What is out of order, by a wrong clock or by malice, is
    kept where it alone stands for its day, but takes no other's place and uses up no rule's count:
    snapshots with invented dates push no good one out.

    Args:
        points: Complete snapshots of one lineage, in the order of the journal.
        retention: What is promised.
        zone: Where days begin.
        now: The present, by the clock of whoever asks.

    Source:
        docs/adr/0085.
    """
    live = [point for point in points if not point.gone]
    if retention.keeps_all:
        return {point.id: ("everything",) for point in live}
    order = _in_order(points, now)
    reasons: dict[int, list[str]] = {point.id: [] for point in live}
    newest_first = live[::-1]
    for rank, point in enumerate(newest_first[: retention.last], start=1):
        reasons[point.id].append(f"last {rank}")
    if retention.within:
        for point in live:
            if order.known_at[point.id] >= now - retention.within:
                reasons[point.id].append(f"within {format_duration(retention.within)}")
    for rule in _calendar(retention, zone):
        for point, label in _chosen(newest_first, rule, order.ids):
            reasons[point.id].append(f"{rule.name} {label}")
    for point in newest_first[: retention.minimum]:
        if not reasons[point.id]:
            reasons[point.id].append("minimum")
    return {point.id: tuple(found) for point in live if (found := reasons[point.id])}


class _Order(msgspec.Struct, frozen=True):
    """What the order of the journal says about the instants in it.

    Attributes:
        ids: The snapshots in order.
        known_at: Of each snapshot, the earliest instant at which it can have been committed.
    """

    ids: frozenset[int]
    known_at: dict[int, datetime]


def _in_order(points: Sequence[Point], now: datetime) -> _Order:
    # From the oldest to the newest, so that what is committed later changes nothing that is said of
    # what was committed before.
    latest: datetime | None = None
    ids: set[int] = set()
    known_at: dict[int, datetime] = {}
    for point in points:
        if point.at <= now + _SKEW and (latest is None or point.at >= latest):
            ids.add(point.id)
            latest = point.at
        known_at[point.id] = point.at if latest is None else max(point.at, latest)
    return _Order(frozenset(ids), known_at)


class _Rule(msgspec.Struct, frozen=True):
    """One rule of the calendar.

    Attributes:
        name: Its key.
        count: How many spans it holds.
        span: Names the span that an instant is in, so that names sort as spans do.
    """

    name: str
    count: int
    span: Callable[[datetime], str]


def _calendar(retention: Retention, zone: tzinfo) -> list[_Rule]:
    def local(at: datetime) -> datetime:
        # Whoever invents an instant may choose one that no calendar can move to another zone.
        return min(max(at, _FIRST), _LAST).astimezone(zone)

    def hour(at: datetime) -> str:
        # In UTC first, so that the hour that comes twice is two, and hours sort as they passed.
        start = local(at).replace(minute=0, second=0, microsecond=0)
        return f"{start.astimezone(UTC):%Y-%m-%d %H:%M}/{start:%Y-%m-%d %H:%M}"

    def day(at: datetime) -> str:
        return f"{local(at):%Y-%m-%d}"

    def week(at: datetime) -> str:
        return f"{local(at):%G-W%V}"

    def month(at: datetime) -> str:
        return f"{local(at):%Y-%m}"

    def year(at: datetime) -> str:
        return f"{local(at):%Y}"

    return [
        rule
        for rule in (
            _Rule("hourly", retention.hourly, hour),
            _Rule("daily", retention.daily, day),
            _Rule("weekly", retention.weekly, week),
            _Rule("monthly", retention.monthly, month),
            _Rule("yearly", retention.yearly, year),
        )
        if rule.count
    ]


def _chosen(
    newest_first: Sequence[Point], rule: _Rule, in_order: frozenset[int]
) -> Iterator[tuple[Point, str]]:
    """Yield the snapshots that a rule of the calendar holds, with the names of their spans."""
    first: dict[str, Point] = {}
    others: dict[str, Point] = {}
    for point in newest_first:
        spans = first if point.id in in_order else others
        spans.setdefault(rule.span(point.at), point)
    counted = sorted(first, reverse=True)[: rule.count]
    oldest = counted[-1] if len(counted) == rule.count else ""
    for span in counted:
        yield first[span], _shown(span)
    for span, point in others.items():
        if span >= oldest and span not in first:
            yield point, _shown(span)


def _shown(span: str) -> str:
    return span.rpartition("/")[2]
