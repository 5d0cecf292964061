"""Everything on one screen: what is wrong first, then each policy against its promises."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from drkeeper.app.web.charts import gauge
from drkeeper.app.web.frame import Page, policies_line
from drkeeper.app.web.markup import Child, Markup, link, tag
from drkeeper.app.web.pieces import (
    Column,
    alarm_card,
    alarm_zone,
    badge,
    notice,
    policy_badge,
    section,
    table,
    when,
)
from drkeeper.app.web.urgent import urgent
from drkeeper.app.web.words import age, ago, count_of, size, span, zone_of
from drkeeper.model.alarm import Alarm
from drkeeper.model.run import RunState
from drkeeper.model.status import Overview, PolicyState, PolicyStatus, RepositoryStatus

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
"""Before every recovery point."""

MOST_ALARMS: Final = 20
"""Shown here; the others are on their own page. Source: ours; a screen and a half."""

_AT_RISK: Final = 0.8
"""Part of an objective from which it is at risk. Source: design, "Planning"."""


def overview_page(overview: Overview, *, refreshing: bool = True) -> Page:
    """Return the first page."""
    wrong = urgent(overview)
    headline = policies_line(overview)
    tone = _tone(wrong, overview)
    body = [
        tag("h1", headline, class_=f"headline {tone}"),
        _tiles(overview),
        _alarms(overview, wrong),
        _policies(overview),
        _repositories(overview),
    ]
    prefix = f"({len(wrong)}) " if wrong else ""
    return Page(f"{prefix}{overview.host}", body, "overview", refreshing=refreshing)


def _tone(wrong: Sequence[Alarm], overview: Overview) -> str:
    if overview.policies and not overview.daemon_alive:
        return "bad"
    if wrong:
        return "bad" if wrong[0].condition.level.rank > 1 else "warn"
    return "ok" if overview.policies else "quiet"


def _tiles(overview: Overview) -> Markup:
    coming = [s for s in overview.policies if s.next_due is not None]
    following = min(coming, key=lambda s: s.next_due or overview.at, default=None)
    oldest = _oldest(overview)
    tiles = [
        _tile("Daemon", _daemon(overview)),
        _tile("Running now", _running(overview)),
        _tile("Next run", _next(following, overview.at)),
        _tile("Oldest recovery point", oldest),
    ]
    return tag("ul", tiles, class_="tiles", aria_label="At a glance")


def _tile(title: str, body: Child) -> Markup:
    label = tag("span", title, class_="tile-title")
    return tag("li", label, tag("span", body, class_="tile-body"))


def _daemon(overview: Overview) -> Child:
    beat = overview.beat_at
    if not overview.daemon_alive:
        last = f", last seen {ago(beat, overview.at)}" if beat else ""
        return [badge("bad", "bad", "does not run"), tag("small", last) if last else None]
    looked = f" looked {ago(beat, overview.at)}" if beat else ""
    return [badge("ok", "ok", "runs"), tag("small", looked)]


def _running(overview: Overview) -> Child:
    running = [s for s in overview.policies if s.running and s.running.state is RunState.RUNNING]
    waiting = f", {overview.queue_depth} waiting" if overview.queue_depth else ""
    first = running[0] if len(running) == 1 else None
    named = tag("small", " ", link(first.policy, "policy", first.policy)) if first else None
    return [f"{len(running) or 'nothing'}{waiting}", named]


def _next(status: PolicyStatus | None, at: datetime) -> Child:
    if status is None or status.next_due is None:
        return "none planned"
    return [
        ago(max(status.next_due, at), at),
        tag("small", " ", link(status.policy, "policy", status.policy)),
    ]


def _oldest(overview: Overview) -> Child:
    promised = [
        s
        for s in overview.policies
        if s.points.durable or (s.rpo_target and s.state is not PolicyState.WAITING)
    ]
    if not promised:
        return "none yet"
    oldest = min(promised, key=lambda s: s.points.durable or _EPOCH)
    there = oldest.points.durable
    said = age(max(overview.at - there, timedelta())) if there else "none yet"
    return [said, tag("small", " ", link(oldest.policy, "policy", oldest.policy))]


def _alarms(overview: Overview, wrong: Sequence[Alarm]) -> Child:
    if not wrong:
        return None
    cards = [
        alarm_card(alarm, alarm_zone(overview, alarm), overview.at) for alarm in wrong[:MOST_ALARMS]
    ]
    more = len(wrong) - len(cards)
    rest = tag("p", link(f"{count_of(more, 'more alarm')}", "alarms")) if more > 0 else None
    return section("What needs you", tag("ul", cards, class_="alarm-list"), rest, name="alarms")


_COLUMNS: Final = (
    Column("Policy"),
    Column("State"),
    Column("Last success"),
    Column("Next due"),
    Column("Durable recovery point, against RPO"),
    Column("RTO"),
)


def _policies(overview: Overview) -> Markup:
    if not overview.policies:
        hint = [tag("code", "drkeeper policy new NAME"), " begins one."]
        return section(
            "Policies",
            notice("quiet", "There is nothing to keep yet.", tag("p", hint)),
            name="policies",
        )
    rows = [_row(status, overview.at) for status in overview.policies]
    return section("Policies", table("Policies", _COLUMNS, rows), name="policies")


def _row(status: PolicyStatus, at: datetime) -> Sequence[Child]:
    zone = zone_of(status.zone_name)
    last = status.last_success
    name = tag("span", link(status.policy, "policy", status.policy), class_="name")
    where = tag("small", f"{status.source_kind} → {status.repository}", class_="muted")
    due: Child = when(status.next_due, zone, at, "by hand")
    if status.next_due is not None and status.next_due <= at:
        due = "now"
    if status.paused_until is not None and status.paused_until > at:
        due = ["paused, ends ", when(status.paused_until, zone, at)]
    return (
        [name, " ", where],
        [policy_badge(status.state), _going_on(status, at)],
        when(last.ended_at if last else None, zone, at),
        due,
        recovery(status, at),
        rto(status),
    )


def _going_on(status: PolicyStatus, at: datetime) -> Child:
    run = status.running
    if run is None:
        return None
    since = run.started_at if run.state is RunState.RUNNING else run.queued_at or run.started_at
    verb = "runs" if run.state is RunState.RUNNING else "waits"
    told = f"{verb} for {age(max(at - since, timedelta()))}"
    return tag("small", link(told, "run", run.id), class_="under")


def recovery(status: PolicyStatus, at: datetime) -> Markup:
    """Return the durable and the proven recovery point, against the objective."""
    durable, proven = status.points.durable, status.points.proven
    old = max(at - durable, timedelta()) if durable else None
    said = age(old) if old is not None else "none yet"
    parts: list[Child] = []
    if status.rpo_target is not None:
        promise = span(status.rpo_target)
        words = f"Newest durable recovery point: {said}, {promise} promised"
        tone = rpo_tone(old, status.rpo_target)
        ring = max(at - proven, timedelta()) if proven else None
        parts.append(gauge(old, status.rpo_target, tone=tone, words=words, proven=ring))
        said = f"{said} of {promise}"
    elif old is not None:
        said = f"{said}, no promise"
    proof = f"proven {age(max(at - proven, timedelta()))}" if proven else "not proven yet"
    parts.append(tag("span", tag("span", said), tag("small", proof, class_="muted"), class_="told"))
    return tag("div", parts, class_="recovery")


def rpo_tone(old: timedelta | None, promise: timedelta) -> str:
    """Return how the age of a recovery point is coloured."""
    if old is None or old > promise:
        return "bad"
    return "warn" if old >= _AT_RISK * promise else "ok"


def rto(status: PolicyStatus) -> Markup:
    """Return what a restore took, against the objective."""
    took, promise = status.rto_achieved, status.rto_target
    if took is None and promise is None:
        return tag("div", "no promise", class_="rto muted")
    shown: Child = "not measured yet"
    if took is not None:
        late = promise is not None and took > promise
        shown = badge("bad", "bad", span(took)) if late else badge("ok", "ok", span(took))
    promised = tag("small", f"{span(promise)} promised", class_="under") if promise else None
    return tag("div", shown, _next_rto(status), promised, class_="rto")


def _next_rto(status: PolicyStatus) -> Child:
    """Return how long it would take today, and within which bounds nine times of ten."""
    foretold, promise = status.rto_predicted, status.rto_target
    if foretold is None:
        return None
    words = f"today {span(foretold.expected)}, up to {span(foretold.high)}"
    late = promise is not None and foretold.high > promise
    return badge("warn", "warn", words) if late else tag("small", words, class_="under")


def _repositories(overview: Overview) -> Child:
    if not overview.repositories:
        return None
    columns = (
        Column("Repository"),
        Column("Store"),
        Column("Last check"),
        Column("Newest snapshots hold", number=True),
    )
    rows = [_repository(overview, repository) for repository in overview.repositories]
    return section("Repositories", table("Repositories", columns, rows), name="repositories")


def _repository(overview: Overview, repository: RepositoryStatus) -> Sequence[Child]:
    utc = zone_of("UTC")
    asked = f" {ago(repository.asked_at, overview.at)}" if repository.asked_at else ""
    state = {
        True: badge("ok", "ok", "answers"),
        False: badge("bad", "bad", "does not answer"),
        None: badge("quiet", "wait", "not asked yet"),
    }[repository.reachable]
    held = sum(
        status.source_bytes or 0
        for status in overview.policies
        if status.repository == repository.name
    )
    name = [
        tag("span", repository.name, class_="name"),
        " ",
        tag("small", repository.store, class_="muted"),
    ]
    return (
        name,
        [state, tag("small", asked, class_="muted")],
        when(repository.checked_at, utc, overview.at),
        size(held),
    )
