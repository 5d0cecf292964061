"""All runs, a page at a time."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from drkeeper.app.web.frame import Page
from drkeeper.app.web.markup import Child, Markup, address, link, tag
from drkeeper.app.web.pieces import Column, run_badge, table, took, zone_of_policy
from drkeeper.app.web.words import ago, moment, sentence, short, size
from drkeeper.model.run import Run, RunState
from drkeeper.model.status import Overview

A_PAGE: Final = 50
"""Runs on one page. Source: ours."""
NOTHING: Final = "\u2013"
"""Stands where there is no figure."""
LAST_PAGE: Final = 20
"""Further back the ledger is asked with drkeeper itself. Source: ours; a thousand runs."""


def runs_page(
    overview: Overview,
    runs: Sequence[Run],
    *,
    number: int,
    policy: str | None = None,
    state: RunState | None = None,
) -> Page:
    """Return one page of runs.

    Args:
        overview: For the zones.
        runs: Newest first, one more than a page if there are more.
        number: Of the page, from 1.
        policy: Whose runs these are.
        state: How they ended.
    """
    shown = runs[:A_PAGE]
    empty = tag("p", "There are none.", class_="muted")
    listing = runs_table(
        shown,
        lambda run: zone_of_policy(overview, run.policy),
        overview.at,
        of_policy=policy is not None,
    )
    body = [
        tag("h1", f"Runs of {policy}" if policy else "Runs"),
        _choice(overview, policy, state),
        listing if shown else empty,
        _steps(number, more=len(runs) > A_PAGE, policy=policy, state=state),
    ]
    return Page("Runs", body, "runs")


def runs_table(
    runs: Sequence[Run],
    zone: Callable[[Run], ZoneInfo],
    at: datetime,
    *,
    of_policy: bool = False,
) -> Markup:
    """Return runs in a table.

    Args:
        runs: In their order.
        zone: Says in whose time a run is told.
        at: Now.
        of_policy: Whether all are of one policy, which then need not be named.
    """
    columns = [
        Column("Began"),
        *([] if of_policy else [Column("Policy")]),
        Column("Operation"),
        Column("State"),
        Column("Took", number=True),
        Column("Source size", number=True),
        Column("Added", number=True),
        *([Column("Why")] if any(run.failure for run in runs) else []),
    ]
    rows = [_row(run, zone(run), at, of_policy=of_policy)[: len(columns)] for run in runs]
    return tag("div", table("Runs, newest first", columns, rows), class_="run-list")


def _row(run: Run, zone: ZoneInfo, at: datetime, *, of_policy: bool) -> Sequence[Child]:
    policy = link(run.policy, "policy", run.policy) if run.policy else NOTHING
    far = tag("small", ago(run.started_at, at), class_="muted")
    began = tag("a", short(run.started_at, zone, at), href=address("run", run.id))
    return [
        [moment(run.started_at, zone, began), " ", far],
        *([] if of_policy else [policy]),
        run.operation.value,
        run_badge(run.state),
        took(run),
        _figure(run, "plain_bytes"),
        _figure(run, "stored_bytes"),
        tag("span", sentence(run.failure.message), class_="why") if run.failure else "",
    ]


def _figure(run: Run, key: str) -> str:
    value = run.result.get(key)
    return size(value) if isinstance(value, int) and value >= 0 else NOTHING


def _choice(overview: Overview, policy: str | None, state: RunState | None) -> Markup:
    policies = [status.policy for status in overview.policies]
    if policy and policy not in policies:
        policies.append(policy)
    return tag(
        "form",
        _select("policy", "Policy", policies, policy),
        _select("state", "State", [one.value for one in RunState], state),
        tag("button", "Show", type="submit"),
        method="get",
        action="/runs",
        class_="choice",
    )


def _select(name: str, label: str, values: Sequence[str], chosen: str | None) -> Markup:
    options = [tag("option", "all", value="")] + [
        tag("option", value, value=value, selected=value == chosen) for value in values
    ]
    return tag("label", tag("span", label), tag("select", options, name=name))


def _steps(number: int, *, more: bool, policy: str | None, state: RunState | None) -> Child:
    newer = link("← Newer", "runs", policy=policy, state=state, page=number - 1 or None)
    older = link("Older →", "runs", policy=policy, state=state, page=number + 1)
    steps = [
        tag("li", newer) if number > 1 else None,
        tag("li", f"page {number}", aria_current="page"),
        tag("li", older) if more and number < LAST_PAGE else None,
    ]
    if number == 1 and not more:
        return None
    return tag("nav", tag("ul", steps), aria_label="Pages of runs", class_="steps")
