"""Sections about what came of it: results with all that went wrong, issues and what is done."""

from collections.abc import Iterator, Sequence
from typing import Any

from drkeeper.reports.columns import merged
from drkeeper.reports.figures import counted, figure
from drkeeper.reports.history import Record
from drkeeper.reports.period import Period

GOOD = "succeeded"


def results(period: Period) -> dict[str, Any]:
    """Count all runs and drills, and list every one that did not succeed."""
    runs = period.closed("run")
    drills = period.closed("drill")
    return {
        "runs": _runs(period, runs),
        "not_succeeded": [_run(each) for each in runs if each.body["state"] != GOOD],
        "open_runs": [
            each.row("run", "policy", "operation", "state", "started_at")
            for each in period.history.all("run")
            if each.body.get("ended_at") is None
        ],
        "verdicts": [*_counts(drills, "policy", "verdict")],
        "drills": [_drill(each) for each in drills],
        "open_drills": [
            each.row("policy", "kind", "planned_at", "declared_at", drill=each.key)
            for each in period.history.all("drill")
            if each.body.get("verdict") is None
        ],
        "points": _points(period),
    }


def _runs(period: Period, others: list[Record]) -> list[dict[str, Any]]:
    """Count runs by outcome: those that succeeded, and all others."""
    groups: dict[tuple[str | None, str], list[Sequence[int]]] = {}
    for kind, events in period.history.succeeded.items():
        groups.setdefault((kind.policy, kind.operation), []).append(events)
    names = ("policy", "operation", "state")
    rows = [
        counted(merged(parts), **dict(zip(names, (*key, GOOD), strict=True)))
        for key, parts in groups.items()
    ]
    rows += _counts(others, *names)
    return sorted(rows, key=lambda row: tuple(str(row[name]) for name in names))


def _points(period: Period) -> list[dict[str, Any]]:
    """Count recovery points by where they are, and whether they hold everything."""
    rows = []
    for policy in sorted(period.history.points):
        known = period.history.points[policy]
        groups: dict[tuple[str, bool], list[int]] = {}
        for at in known.after(period.before.size):
            key = known.repository(at), bool(known.complete[at])
            groups.setdefault(key, []).append(known.events[at])
        for key in sorted(groups, key=lambda each: tuple(map(str, each))):
            repository, complete = key
            row = counted(groups[key], policy=policy, repository=repository, complete=complete)
            rows.append(row)
    return rows


def _counts(records: list[Record], *names: str) -> Iterator[dict[str, Any]]:
    """Count records by what some members of them say."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    for each in records:
        groups.setdefault(tuple(each.body.get(name) for name in names), []).append(each)
    for key in sorted(groups, key=lambda each: tuple(map(str, each))):
        yield figure(groups[key], **dict(zip(names, key, strict=True)))


def _run(run: Record) -> dict[str, Any]:
    return run.row("run", "policy", "operation", "state", "started_at", "ended_at", "failure")


def _drill(drill: Record) -> dict[str, Any]:
    return drill.row(
        *("policy", "kind", "choice", "declared_at", "ended_at", "verdict", "reason", "scratch"),
        *("repository", "commit_number", "consistent_at", "recoverable_through"),
        *("plain_bytes", "read_bytes", "files", "restored", "failure", "scratch_failure"),
        *("expected_end", "reached_end", "promised_rpo_us", "achieved_rpo_us"),
        *("promised_rto_us", "achieved_rto_us", "probes"),
        drill=drill.key,
    )


def issues(period: Period) -> dict[str, Any]:
    """List incidents, alarms and corrective actions that were open at any time of the quarter."""
    return {
        "incidents": [
            each.row(
                *("kind", "policy", "began_at", "ended_at", "worst_us", "cause", "drill"),
                incident=each.key,
            )
            for each in _living(period, "incident", "ended_at")
        ],
        "actions": [
            each.row(
                *("title", "owner", "opened_at", "due_at", "closed_at", "outcome"),
                *("policy", "drill", "incident"),
                action=each.key,
                overdue=_overdue(period, each),
            )
            for each in _living(period, "action", "closed_at")
        ],
        "alarms": [
            each.row(
                *("kind", "subject_kind", "subject_name", "message", "raised_at", "cleared_at"),
                alarm=each.key,
            )
            for each in _living(period, "alarm", "cleared_at")
        ],
    }


def _living(period: Period, table: str, end: str) -> list[Record]:
    """Return what the quarter has news of, and what was open all the while."""
    return [
        each
        for each in period.history.all(table)
        if each.last > period.before.size or each.body.get(end) is None
    ]


def _overdue(period: Period, action: Record) -> bool:
    due_at = action.instant("due_at")
    end = action.instant("closed_at") or period.until
    return due_at is not None and end > due_at
