"""One policy: what it promises, what it has kept, and what it does next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from drkeeper.app.web.charts import Bar, Dot, columns, time_line
from drkeeper.app.web.frame import Page
from drkeeper.app.web.markup import Child, Markup, link, tag
from drkeeper.app.web.pages.overview import recovery, rto
from drkeeper.app.web.pages.run import log_box
from drkeeper.app.web.pages.runs import runs_table
from drkeeper.app.web.pieces import (
    Column,
    alarm_card,
    facts,
    policy_badge,
    run_tone,
    section,
    table,
    took,
    when,
)
from drkeeper.app.web.reading import PolicyWords, RunLog
from drkeeper.app.web.urgent import about, urgent
from drkeeper.app.web.words import ago, count_of, listed, local, moment, short, size, span, zone_of
from drkeeper.model.run import Proof, RecoveryPoint, Run, RunState
from drkeeper.model.status import Overview, PolicyStatus

POINTS: Final = 120
"""Recovery points shown. Source: ours; five days of hourly ones."""
RUNS: Final = 40
"""Runs in a chart. Source: ours; columns on a telephone stay wide enough to touch."""
LISTED: Final = 10
"""Runs in the table, and next runs. Source: ours."""
_LOG_LINES: Final = 40


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What the page is made of.

    Attributes:
        status: How the policy stands.
        words: What it says; ``None`` when its file cannot be read.
        runs: Newest first.
        points: Newest data first.
        log: What its newest run wrote, if it was kept.
    """

    status: PolicyStatus
    words: PolicyWords | None
    runs: Sequence[Run]
    points: Sequence[RecoveryPoint]
    log: RunLog | None = None


def policy_page(overview: Overview, found: PolicyFacts) -> Page:
    """Return the page of a policy."""
    status, at = found.status, overview.at
    zone = zone_of(status.zone_name)
    wrong = about(urgent(overview), "policy", status.policy)
    cards = [alarm_card(alarm, zone, at) for alarm in wrong]
    body = [
        tag("p", link("Overview", ""), " / policy", class_="crumbs"),
        tag("div", tag("h1", status.policy), policy_badge(status.state), class_="title"),
        section("What needs you", tag("ul", cards, class_="alarm-list"), name="alarms")
        if cards
        else None,
        section("Promises", _promises(found, zone, at), name="promises"),
        section("Recovery points", _points(found, zone, at), name="points"),
        section("Runs", _charts(found, zone), _runs(found, zone, at), name="runs"),
        section("Next runs", _next_runs(found.words, zone, at), name="next"),
        _log(found),
    ]
    return Page(status.policy, body)


def _promises(found: PolicyFacts, zone: ZoneInfo, at: datetime) -> Markup:
    status, words = found.status, found.words
    last, attempt = status.last_success, status.last_attempt
    schedule = (words.schedule if words else "") or "by hand only"
    paused: tuple[str, Child] | None = None
    if status.paused_until is not None:
        why = f": {status.paused_because}" if status.paused_because else ""
        paused = ("Paused", ["until ", moment(status.paused_until, zone), why])
    return facts(
        (
            ("Durable recovery point, against RPO", recovery(status, at)),
            ("RTO", rto(status)),
            ("Last success", when(last.ended_at if last else None, zone, at)),
            ("Last attempt", when(attempt.started_at if attempt else None, zone, at)),
            ("Next due", when(status.next_due, zone, at, "when somebody starts it")),
            paused,
            ("Schedule", [schedule, tag("small", f" {status.zone_name}", class_="muted")]),
            ("Protects", _lines(words.protects)) if words and words.protects else None,
            ("Keeps", listed(words.retention) or "everything") if words else None,
            ("Source", status.source_kind),
            ("Repository", status.repository),
        )
    )


def _lines(texts: Sequence[str]) -> Child:
    return [tag("span", tag("code", text), class_="one") for text in texts]


def _points(found: PolicyFacts, zone: ZoneInfo, at: datetime) -> Child:
    points = sorted(found.points, key=lambda p: p.consistent_at)
    if not points:
        return tag("p", "There is none yet: nothing can be restored.", class_="muted")
    dots = [
        Dot(
            p.consistent_at,
            p.proof is Proof.PROVEN,
            f"{local(p.consistent_at, zone)}, {size(p.plain_bytes)}",
        )
        for p in points
    ]
    first, last = points[0].consistent_at, points[-1].consistent_at
    words = f"{count_of(len(points), 'recovery point')} since {local(first, zone)}, the newest {ago(last, at)}"
    if proven := sum(dot.proven for dot in dots):
        words += f"; {proven} proven, larger and green"
    promise = found.status.rpo_target
    if promise is not None:
        late = _too_far_apart(points, at, promise)
        words += (
            f"; {count_of(late, 'time')} further apart than {span(promise)}"
            if late
            else (f"; never further apart than {span(promise)}")
        )
    ends = [short(first, zone, at), "now"]
    picture = time_line(dots, until=max(at, last), promise=promise, words=f"{words}.", ends=ends)
    rows = [_point_row(point, zone, at) for point in reversed(points[-LISTED:])]
    heads = (
        Column("Data of"),
        Column("Proof"),
        Column("Files", number=True),
        Column("Source size", number=True),
        Column("Added to the store", number=True),
    )
    newest = tag("summary", f"The newest {count_of(len(rows), 'point')} as a table")
    listing = table("Recovery points, newest first", heads, rows)
    return [picture, tag("details", newest, listing)]


def _too_far_apart(points: Sequence[RecoveryPoint], at: datetime, promise: timedelta) -> int:
    instants = [point.consistent_at for point in points] + [at]
    return sum(later - earlier > promise for earlier, later in pairwise(instants))


def _point_row(point: RecoveryPoint, zone: ZoneInfo, at: datetime) -> Sequence[Child]:
    flaws = "" if point.complete else ", incomplete"
    return (
        when(point.consistent_at, zone, at),
        f"{point.proof.value}{flaws}",
        f"{point.files:,}".replace(",", "\u202f"),
        size(point.plain_bytes),
        size(point.stored_bytes),
    )


def _charts(found: PolicyFacts, zone: ZoneInfo) -> Child:
    ended = [run for run in found.runs if run.ended_at and run.state is not RunState.SKIPPED]
    ran = list(reversed(ended[:RUNS]))
    points = sorted(found.points, key=lambda p: p.consistent_at)[-RUNS:]
    if not ran and not points:
        return None
    return tag(
        "div",
        _durations(ran, zone) if ran else None,
        _sizes(points, zone, "Source size") if points else None,
        _sizes(points, zone, "Added to the store", added=True) if points else None,
        class_="charts",
    )


def _durations(runs: Sequence[Run], zone: ZoneInfo) -> Markup:
    lengths = [_length(run) for run in runs]
    bars = [
        Bar(
            length,
            run_tone(run.state),
            f"{local(run.started_at, zone)}: {took(run)}, {run.state.value}",
        )
        for run, length in zip(runs, lengths, strict=True)
    ]
    bad = sum(run.state in {RunState.FAILED, RunState.INTERRUPTED} for run in runs)
    words = (
        f"{count_of(len(runs), 'run')}: the shortest took {_seconds(min(lengths))}, "
        f"the longest {_seconds(max(lengths))}, the newest {_seconds(lengths[-1])}"
        + (f"; {bad} did not succeed." if bad else ".")
    )
    ends = [_day(runs[0].started_at, zone), _day(runs[-1].started_at, zone)]
    return columns(bars, title="How long runs took", words=words, shown=_seconds, ends=ends)


def _length(run: Run) -> float:
    return max((run.ended_at - run.started_at).total_seconds(), 0.0) if run.ended_at else 0.0


def _seconds(seconds: float) -> str:
    return span(timedelta(seconds=seconds))


def _sizes(
    points: Sequence[RecoveryPoint], zone: ZoneInfo, title: str, *, added: bool = False
) -> Markup:
    values = [point.stored_bytes if added else point.plain_bytes for point in points]
    bars = [
        Bar(float(value), "info", f"{local(point.consistent_at, zone)}: {size(value)}")
        for point, value in zip(points, values, strict=True)
    ]
    words = (
        f"{count_of(len(points), 'snapshot')}: from {size(min(values))} to {size(max(values))}, "
        f"the newest {size(values[-1])}."
    )
    ends = [_day(points[0].consistent_at, zone), _day(points[-1].consistent_at, zone)]
    return columns(bars, title=title, words=words, shown=lambda v: size(int(v)), ends=ends)


def _day(instant: datetime, zone: ZoneInfo) -> str:
    there = instant.astimezone(zone)
    return f"{there.day} {there:%b %H:%M}"


def _runs(found: PolicyFacts, zone: ZoneInfo, at: datetime) -> Child:
    if not found.runs:
        return tag("p", "It has not run yet.", class_="muted")
    shown = found.runs[:LISTED]
    policy = found.status.policy
    more = tag("p", link(f"All runs of {policy}", "runs", policy=policy))
    return [runs_table(shown, lambda _: zone, at, of_policy=True), more]


def _next_runs(words: PolicyWords | None, zone: ZoneInfo, at: datetime) -> Child:
    if words is None or not words.next_runs:
        return tag("p", "None is planned.", class_="muted")
    lines = [
        tag("li", moment(instant, zone), tag("small", f" {ago(instant, at)}", class_="muted"))
        for instant in words.next_runs[:LISTED]
    ]
    return tag("ol", lines, class_="plain")


def _log(found: PolicyFacts) -> Child:
    if found.log is None or not found.runs:
        return None
    newest = found.runs[0]
    lines = found.log.text.splitlines()
    shown = RunLog("\n".join(lines[-_LOG_LINES:]), cut=found.log.cut or len(lines) > _LOG_LINES)
    whole = tag("p", link("The whole run", "run", newest.id))
    return section("Log of the newest run", log_box(shown, newest.id), whole, name="log")
