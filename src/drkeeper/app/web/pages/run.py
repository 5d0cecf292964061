"""One run: facts, figures, why it failed, and what it wrote."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from drkeeper.app.web.frame import Page
from drkeeper.app.web.markup import Child, Markup, link, tag
from drkeeper.app.web.pieces import (
    facts,
    notice,
    run_badge,
    section,
    took,
    zone_of_policy,
)
from drkeeper.app.web.reading import RunLog
from drkeeper.app.web.words import ago, moment, sentence, size
from drkeeper.model.run import Run, RunFailure
from drkeeper.model.status import Overview

MOST_FIGURES: Final = 60
"""Figures of a run that are shown. Source: ours; a backup has about twenty."""
_LONGEST: Final = 500


def run_page(overview: Overview, run: Run, log: RunLog | None) -> Page:
    """Return the page of one run."""
    zone = zone_of_policy(overview, run.policy)
    title = (
        f"{run.operation.value.capitalize()} of {run.policy}"
        if run.policy
        else (f"{run.operation.value.capitalize()} of a repository")
    )
    policy = [" / ", link(run.policy, "policy", run.policy)] if run.policy else None
    body = [
        tag("p", link("Runs", "runs"), policy, " / run", class_="crumbs"),
        tag("div", tag("h1", title), run_badge(run.state), class_="title"),
        _failure(run.failure) if run.failure else None,
        section("Facts", _facts(run, zone, overview.at), name="facts-of-run"),
        _figures(run),
        section("Log", log_box(log, run.id), name="log"),
    ]
    return Page(f"Run {run.id}", body)


def log_box(log: RunLog | None, run_id: str) -> Child:
    """Return what a run wrote, in a box that scrolls."""
    if log is None:
        return tag("p", "Nothing was kept.", class_="muted")
    cut = tag("p", "Only its end is shown.", class_="muted") if log.cut else None
    name = f"Log of run {run_id}"
    return [
        cut,
        tag("pre", log.text, class_="log-text", tabindex="0", role="region", aria_label=name),
    ]


def _failure(failure: RunFailure) -> Markup:
    what_next = tag("p", tag("strong", "Next: "), failure.hint) if failure.hint else None
    kind = tag("p", f"{failure.kind}, exit status {failure.exit_code}", class_="muted")
    return notice(
        "bad" if failure.exit_code else "quiet", sentence(failure.message), what_next, kind
    )


def _facts(run: Run, zone: ZoneInfo, at: datetime) -> Markup:
    queued = run.queued_at
    process = run.process
    return facts(
        (
            ("Run", tag("code", run.id)),
            ("Queued", moment(queued, zone)) if queued else None,
            ("Began", [moment(run.started_at, zone), f" ({ago(run.started_at, at)})"]),
            ("Ended", moment(run.ended_at, zone)) if run.ended_at else ("Ended", "not yet"),
            ("Took", took(run)),
            ("On", f"{process.host}, process {process.pid}"),
            ("Ledger events", f"{run.begun_event} to {run.event}") if run.event else None,
        )
    )


def _figures(run: Run) -> Child:
    if not run.result:
        return None
    shown = sorted(run.result.items())[:MOST_FIGURES]
    figures = facts((key.replace("_", " "), _value(key, value)) for key, value in shown)
    return section("Figures", figures, name="figures")


def _value(key: str, value: object) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value >= 0 and key.endswith("_bytes"):
        return size(value)
    if isinstance(value, Mapping):
        text = ", ".join(f"{name} {part}" for name, part in value.items())
    else:
        text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
