"""Sections about the report itself: identity, people, review, evidence."""

from collections.abc import Sequence
from typing import Any

from drkeeper.model.instants import exact_rfc3339
from drkeeper.reports.columns import merged
from drkeeper.reports.figures import numbers
from drkeeper.reports.period import Period


def identity(period: Period) -> dict[str, Any]:
    """Say which quarter of which ledger this is, and which report it follows."""
    return {
        "quarter": str(period.quarter),
        "begin": exact_rfc3339(period.begin),
        "end": exact_rfc3339(period.quarter.end),
        "until": exact_rfc3339(period.until),
        "complete": period.complete,
        "host": period.scope.host,
        "ledger": period.history.origin,
        "first": period.before.size + 1,
        "last": period.last.size,
        "root": period.last.root,
        "previous": {
            "quarter": str(period.quarter.before(1)),
            "last": period.before.size,
            "root": period.before.root,
        },
    }


def people(period: Period) -> dict[str, Any]:
    """Say who appears in the ledger: machines that worked, people who own actions."""
    hosts: dict[str, list[Sequence[int]]] = {}
    for kind, events in period.history.succeeded.items():
        hosts.setdefault(kind.host, []).append(events)
    for run in period.ended("run"):
        host = run.body.get("process", {}).get("host", "")
        hosts.setdefault(host, []).append([run.last])
    owners: dict[str, list[int]] = {}
    for action in period.history.all("action"):
        owners.setdefault(action.body["owner"], []).append(action.last)
    return {
        "machines": [{"machine": name, "events": merged(hosts[name])} for name in sorted(hosts)],
        "owners": [{"owner": name, "events": sorted(owners[name])} for name in sorted(owners)],
        "not_recorded": [
            "who declared a drill: drkeeper records the machine that ran it, not the person",
            "whether people, telephone lists and suppliers were exercised",
        ],
    }


def review(period: Period, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Say what a reviewer has to look at; that somebody did is written on paper."""
    return {
        "findings": found,
        "signed_by": [
            {"role": "Prepared by", "name": "", "date": ""},
            {"role": "Reviewed by", "name": "", "date": ""},
            {"role": "Accepted by", "name": "", "date": ""},
        ],
        "complete": period.complete,
    }


def evidence(period: Period) -> dict[str, Any]:
    """Say what all of it rests on."""
    first, last = period.before.size, period.last.size
    counts = period.history.kinds
    used = {
        (each.body["checkpoint_size"], each.body["checkpoint_root"])
        for each in period.ended("drill")
    }
    return {
        "ledger": period.history.origin,
        "first": first + 1,
        "last": last,
        "hash_before": period.before.hash,
        "hash_last": period.last.hash,
        "root": period.last.root,
        "kinds": [
            {"kind_of_event": kind, "number": counts[kind]}
            for kind in sorted(counts)
            if counts[kind]
        ],
        "checkpoints": [
            {"size": size, "root": root, "events": _planned_on(period, size)}
            for size, root in sorted(used)
            if size
        ],
    }


def _planned_on(period: Period, size: int) -> list[int]:
    return numbers(e for e in period.ended("drill") if e.body["checkpoint_size"] == size)
