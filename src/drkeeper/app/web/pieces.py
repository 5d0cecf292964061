"""Small parts that every page is made of: badges, icons, facts, tables, alarms."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from drkeeper.app.web.markup import Child, Markup, link, tag
from drkeeper.app.web.words import ago, moment, sentence, short, span, zone_of
from drkeeper.model.alarm import Alarm, Level
from drkeeper.model.run import Run, RunState
from drkeeper.model.status import Overview, PolicyState, PolicyStatus

_ICONS: Final = {
    "ok": "M3 8.5l3.2 3.2L13 4.8",
    "warn": "M8 2.2l6.4 11.3H1.6z M8 6.6v3.2 M8 11.6v.3",
    "bad": "M4 4l8 8M12 4l-8 8",
    "run": "M5 3.2l7.5 4.8L5 12.8z",
    "wait": "M8 1.8a6.2 6.2 0 1 0 0 12.4a6.2 6.2 0 0 0 0-12.4 M8 4.8V8l2.3 1.6",
    "pause": "M5.5 3.5v9M10.5 3.5v9",
    "hand": "M3 8h10",
}
"""Lines on a square of 16."""

_POLICY: Final = {
    PolicyState.OK: ("ok", "ok", "kept"),
    PolicyState.BY_HAND: ("quiet", "hand", "by hand"),
    PolicyState.WAITING: ("quiet", "wait", "waiting for its first run"),
    PolicyState.QUEUED: ("info", "wait", "queued"),
    PolicyState.RUNNING: ("info", "run", "running"),
    PolicyState.PAUSED: ("quiet", "pause", "paused"),
    PolicyState.WARNING: ("warn", "warn", "warning"),
    PolicyState.AT_RISK: ("warn", "warn", "at risk"),
    PolicyState.FAILING: ("bad", "bad", "failing"),
    PolicyState.OVERDUE: ("bad", "bad", "overdue"),
    PolicyState.VIOLATED: ("bad", "bad", "RPO violated"),
}
"""Tone, icon and words of each state."""

_RUN: Final = {
    RunState.QUEUED: ("info", "wait"),
    RunState.RUNNING: ("info", "run"),
    RunState.SUCCEEDED: ("ok", "ok"),
    RunState.WARNINGS: ("warn", "warn"),
    RunState.FAILED: ("bad", "bad"),
    RunState.INTERRUPTED: ("warn", "warn"),
    RunState.SKIPPED: ("quiet", "hand"),
}

_LEVEL: Final = {
    Level.INFO: ("info", "wait"),
    Level.WARNING: ("warn", "warn"),
    Level.FAILURE: ("bad", "bad"),
}


def icon(name: str) -> Markup:
    """Return a small sign; it repeats what the word beside it says."""
    path = tag("path", d=_ICONS[name])
    return tag("svg", path, class_="icon", viewBox="0 0 16 16", aria_hidden="true")


def badge(tone: str, sign: str, words: str) -> Markup:
    """Return a word with a sign and a colour; never a colour alone."""
    return tag("span", icon(sign), tag("span", words), class_=f"badge {tone}")


def policy_badge(state: PolicyState) -> Markup:
    """Return the state of a policy."""
    return badge(*_POLICY[state])


def policy_tone(state: PolicyState) -> str:
    """Return how a policy's state is coloured: ``ok``, ``info``, ``quiet``, ``warn``, ``bad``."""
    return _POLICY[state][0]


def run_badge(state: RunState) -> Markup:
    """Return the state of a run."""
    return badge(*_RUN[state], state.value)


def run_tone(state: RunState) -> str:
    """Return how a run's state is coloured."""
    return _RUN[state][0]


def when(instant: datetime | None, zone: ZoneInfo, now: datetime, absent: str = "never") -> Markup:
    """Return an instant twice: how far away it is, and what the clock shows."""
    if instant is None:
        return tag("span", absent, class_="muted")
    far = tag("span", ago(instant, now), class_="far")
    return tag("span", far, " ", moment(instant, zone, short(instant, zone, now)), class_="when")


def took(run: Run) -> str:
    """Write how long a run took; nothing while it runs."""
    return span(run.ended_at - run.started_at) if run.ended_at else "…"


def facts(rows: Iterable[tuple[str, Child] | None]) -> Markup:
    """Return names with their values."""
    pairs = [tag("div", tag("dt", row[0]), tag("dd", row[1])) for row in rows if row is not None]
    return tag("dl", pairs, class_="facts")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        head: Its title.
        number: Whether it is aligned to the right.
    """

    head: str
    number: bool = False


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Child]],
    *,
    stacked: bool = True,
) -> Markup:
    """Return a table; the first column names the row.

    On narrow screens each row becomes a card with the titles beside the values, which would cost
    the roles of its parts if they were not written down.

    Args:
        caption: What it lists; heard, not seen.
        columns: Titles.
        rows: One child a column.
        stacked: Whether to make cards of it on narrow screens.
    """
    heads = [
        tag("th", c.head, scope="col", role="columnheader", class_="number" if c.number else None)
        for c in columns
    ]
    return tag(
        "table",
        tag("caption", caption, class_="unseen"),
        tag("thead", tag("tr", heads, role="row"), role="rowgroup"),
        tag("tbody", [_row(columns, row) for row in rows], role="rowgroup"),
        role="table",
        class_="stacked" if stacked else None,
    )


def _row(columns: Sequence[Column], row: Sequence[Child]) -> Markup:
    cells = []
    for position, (column, child) in enumerate(zip(columns, row, strict=True)):
        style = "number" if column.number else None
        if position == 0:
            cells.append(tag("th", child, scope="row", role="rowheader", class_=style))
        else:
            inner = tag("div", child, class_="cell")
            cells.append(tag("td", inner, role="cell", class_=style, data_label=column.head))
    return tag("tr", cells, role="row")


def section(title: str, *body: Child, name: str, level: int = 2) -> Markup:
    """Return a part of a page with its heading, which names it for screen readers."""
    heading = tag(f"h{level}", title, id=f"{name}-title")
    return tag("section", heading, body, aria_labelledby=f"{name}-title", class_=name)


def notice(tone: str, title: Child, *body: Child) -> Markup:
    """Return a box that wants attention."""
    return tag("div", tag("p", title, class_="notice-title"), body, class_=f"notice {tone}")


def subject_link(alarm: Alarm) -> Markup:
    """Return what an alarm is about, with its page if it has one."""
    subject = alarm.condition.subject
    kind = tag("span", f"{subject.kind} ", class_="muted")
    if subject.kind == "policy":
        return tag("span", kind, link(subject.name, "policy", subject.name))
    return tag("span", kind, subject.name)


def alarm_card(alarm: Alarm, zone: ZoneInfo, now: datetime) -> Markup:
    """Return an alarm: what is wrong, since when, and what to do next."""
    condition = alarm.condition
    tone, sign = _LEVEL[condition.level]
    head = tag(
        "p",
        badge(tone, sign, condition.kind.words),
        " ",
        subject_link(alarm),
        class_="alarm-head",
    )
    message = tag("p", sentence(condition.what), class_="alarm-message")
    what_next = tag("p", tag("strong", "Next: "), condition.hint)
    since = tag("p", "Since ", _since(alarm, zone, now), class_="alarm-since muted")
    return tag("li", head, message, what_next, since, class_=f"alarm {tone}")


def _since(alarm: Alarm, zone: ZoneInfo, now: datetime) -> Child:
    since = alarm.condition.since
    words = [moment(since, zone), f" ({ago(since, now)})"]
    if alarm.cleared_at is not None:
        words += [", over ", moment(alarm.cleared_at, zone)]
    return words


def alarm_zone(overview: Overview, alarm: Alarm) -> ZoneInfo:
    """Return the zone an alarm is told in: its policy's, else UTC."""
    subject = alarm.condition.subject
    for status in overview.policies if subject.kind == "policy" else ():
        if status.policy == subject.name:
            return zone_of(status.zone_name)
    return zone_of("UTC")


def zone_of_policy(overview: Overview, policy: str | None) -> ZoneInfo:
    """Return the zone of a policy; UTC for none, or one that is gone."""
    found = policy_status(overview, policy)
    return zone_of(found.zone_name if found else "UTC")


def policy_status(overview: Overview, policy: str | None) -> PolicyStatus | None:
    """Return how a policy stands; ``None`` for one that is not there."""
    return next((status for status in overview.policies if status.policy == policy), None)
