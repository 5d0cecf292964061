"""Sections about whether what is kept is right: integrity, negative controls, security."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from drkeeper.model.exposure import age_at
from drkeeper.model.instants import exact_rfc3339
from drkeeper.reports.figures import figure, numbers, us
from drkeeper.reports.history import Record
from drkeeper.reports.period import Period, is_sound
from drkeeper.reports.scope import RepositoryScope

UNKNOWN = "unknown"


def integrity(period: Period) -> dict[str, Any]:
    """List every look at stored data, and what the probes of drills found."""
    checks = period.ended("check")
    return {
        "checks": [
            each.row(
                *("repository", "kind", "passed", "checked_at", "policy"),
                *("objects", "read_bytes", "findings", "detail"),
            )
            for each in checks
        ],
        "newest": _newest(period),
        "probes": [*_probes(period)],
        "ledger": {
            "chain": "sound",
            "first": 1,
            "last": period.last.size,
            "root": period.last.root,
        },
    }


def _newest(period: Period) -> list[dict[str, Any]]:
    """Tell, by repository, when stored data was last looked at."""
    newest: dict[str, Record] = {e.body["repository"]: e for e in period.history.all("check")}
    rows = []
    for name in sorted(newest):
        at = newest[name].instant("checked_at")
        age = None if at is None else us(age_at(at, period.until))
        told = None if at is None else exact_rfc3339(at)
        rows.append({**figure([newest[name]]), "store": name, "newest": told, "age_us": age})
    return rows


def _probes(period: Period) -> Iterator[dict[str, Any]]:
    """Count the answers to each kind of question."""
    answers = sorted(
        (each["kind"], each["outcome"], drill.last)
        for drill in period.closed("drill")
        for each in drill.body["probes"]
        if not each["control"]
    )
    for (kind, outcome), group in groupby(answers, key=lambda each: each[:2]):
        events = [event for *_, event in group]
        asked = len(events)
        yield {"probe": kind, "answer": outcome, "asked": asked, "events": sorted(set(events))}


def controls(period: Period) -> dict[str, Any]:
    """List every fault that was planted, and which probes caught it."""
    planted = []
    bare = []
    for drill in period.closed("drill"):
        mine = [each for each in drill.body["probes"] if each["control"]]
        if not mine and drill.body["kind"] not in {"key", "mass"}:
            bare.append(drill)
        planted += [
            {
                "drill": drill.key,
                "policy": drill.body["policy"],
                "fault": each["name"],
                "answer": each["outcome"],
                "caught": each["caught_by"],
                "planted": each["found"],
                "events": [*drill.events],
            }
            for each in mine
        ]
    return {
        "planted": planted,
        "by_fault": [*_by_fault(planted)],
        "drills_without": {"events": numbers(bare), "count": len(bare)},
    }


def _by_fault(planted: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    ordered = sorted(planted, key=lambda each: (each["fault"], each["drill"]))
    for fault, group in groupby(ordered, key=lambda each: each["fault"]):
        found = list(group)
        yield {
            "fault": fault,
            "times": len(found),
            "times_caught": sum(each["answer"] == "passed" for each in found),
            "times_missed": sum(each["answer"] == "failed" for each in found),
            "times_not_tried": sum(each["answer"] == "broken" for each in found),
            "events": sorted({each["events"][-1] for each in found}),
        }


def security(period: Period) -> dict[str, Any]:
    """Tell what is known of keys, locks and copies; what is not known is said to be so."""
    tried = [
        each.row(
            *("repository", "recipient", "role", "session", "opened", "checked_at"),
            *("detail", "took_us"),
        )
        for each in period.ended("key_drill")
    ]
    newest = {
        (each.body["repository"], each.body["recipient"]): each
        for each in period.history.all("key_drill")
    }
    return {
        "recipients": [
            newest[key].row("repository", "recipient", "role", "opened", "checked_at")
            for key in sorted(newest)
        ],
        "recipients_known": "from key drills only" if newest else UNKNOWN,
        "key_drills": tried,
        "lock_horizon": _locks(period),
        "copies": [_copies(period, each.policy) for each in period.scope.policies],
    }


NOT_ASKED = "not asked"


def _locks(period: Period) -> dict[str, Any]:
    """Tell what is known of locks on stored objects, and from where: that nobody asked is not a no."""
    return {
        "through": NOT_ASKED,
        "why": (
            "drkeeper asks no store until when objects are locked, and sets no lock: this says neither "
            "that they are locked nor that they are not; the store's own settings tell"
        ),
        "stores": [
            {
                "store": each.name,
                "medium": each.medium,
                "locked": "never" if each.medium == "folder" else NOT_ASKED,
                "known_from": "configuration: a folder has no locks"
                if each.medium == "folder"
                else "nothing; drkeeper doctor tells whether the store can lock objects at all",
            }
            for each in period.scope.repositories
        ],
        "events": [],
    }


def _copies(period: Period, policy: str) -> dict[str, Any]:
    """Hold one policy against 3-2-1-1-0, by what is recorded and configured."""
    promise = period.promise(policy)
    name = "" if promise is None else promise.repository
    store = next((each for each in period.scope.repositories if each.name == name), None)
    points = period.history.points.get(policy)
    newest = {} if points is None else points.newest_by_store()
    stores, events = sorted(newest), sorted(newest.values())
    count = 1 + len(stores)
    remote = store is not None and store.medium == "object store"
    media = "disk of the source" + (f", {store.medium}" if store is not None and stores else "")
    return {
        "policy": policy,
        "rules": [
            _rule("3 copies", f"{count}: the source, and {len(stores)} in repositories", events)
            | {"holds": _yes(count >= 3)},  # noqa: PLR2004 - the rule's own number
            _rule("2 kinds of media", media, events)
            | {"holds": "yes" if remote and stores else UNKNOWN if stores else "no"},
            _rule(
                "1 copy elsewhere",
                f"{store.medium if store else 'no repository'}; where it stands is not recorded",
                events,
            )
            | {"holds": UNKNOWN if stores else "no"},
            _rule("1 copy that cannot be changed", _unchanging(store), []) | {"holds": UNKNOWN},
            _errors(period, policy, stores),
        ],
    }


def _unchanging(store: RepositoryScope | None) -> str:
    if store is not None and store.medium == "folder":
        return "a folder has no locks; whether there is an offline copy is not recorded"
    return "locks were not asked for; whether there is an offline copy is not recorded"


def _errors(period: Period, policy: str, stores: list[str]) -> dict[str, Any]:
    """Tell whether the newest check and the newest drill found nothing wrong."""
    checks = [e for e in period.history.all("check") if e.body["repository"] in stores]
    drills = [e for e in period.history.all("drill") if e.body.get("policy") == policy]
    ended = [each for each in drills if each.body.get("verdict")]
    check, drill = checks[-1:], ended[-1:]
    words = [
        f"newest check {'passed' if check[0].body['passed'] else 'failed'}"
        if check
        else "never checked",
        f"newest drill {drill[0].body['verdict']}" if drill else "never drilled",
    ]
    bad = any(not e.body["passed"] for e in check) or any(not is_sound(e) for e in drill)
    holds = "no" if bad else "yes" if check and drill else UNKNOWN
    return _rule("0 errors", "; ".join(words), numbers([*check, *drill])) | {"holds": holds}


def _rule(rule: str, found: str, events: list[int]) -> dict[str, Any]:
    return {"rule": rule, "found": found, "events": events}


def _yes(holds: bool) -> str:  # noqa: FBT001 - one condition
    return "yes" if holds else "no"
