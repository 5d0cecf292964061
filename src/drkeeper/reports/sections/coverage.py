"""Sections about what was covered: scope with all that was not tested, sampling, timeline."""

from collections.abc import Iterator, Sequence
from typing import Any

from drkeeper.crypto.sampling import draw, sample_seed
from drkeeper.reports.columns import merged
from drkeeper.reports.figures import counted, numbers
from drkeeper.reports.history import Record
from drkeeper.reports.period import Period, is_sound


def scope(period: Period) -> dict[str, Any]:
    """List what is promised, and everything of it that was not tested."""
    seen = {each.key: each for each in period.history.all("policy")}
    policies = []
    for each in period.scope.as_json()["policies"]:
        known = seen.get(each["policy"])
        recorded = None if known is None else known.body["definition"]
        digest = each.pop("definition")
        policies.append(
            each
            | {
                "events": [] if known is None else [*known.events],
                "configured_as": digest,
                "recorded_as": recorded,
                "as_recorded": None if recorded is None else recorded == digest,
            }
        )
    return {
        "policies": policies,
        "repositories": period.scope.as_json()["repositories"],
        "not_tested": list(_not_tested(period)),
    }


def _not_tested(period: Period) -> Iterator[dict[str, Any]]:
    """Find what nothing in the quarter has shown."""
    drills = [each for each in period.closed("drill") if each.body["kind"] != "key"]
    for name in period.policies:
        mine = period.of(drills, name)
        good = [each for each in mine if is_sound(each)]
        configured = period.promise(name)
        if configured is None:
            yield _gap(
                f"policy {name}", "is not configured on this machine; its promises are not known"
            )
        if not mine:
            yield _gap(f"policy {name}", "no drill: that it can be restored is not shown")
        elif not good:
            yield _gap(f"policy {name}", "no drill was sound", mine)
        if configured is not None:
            if configured.rpo is None:
                yield _gap(f"policy {name}", "no RPO is promised: none was tested")
            if configured.rto is None:
                yield _gap(f"policy {name}", "no RTO is promised: none was tested")
        yield from _choices(name, mine)
    yield from _never_restored(period, drills)
    yield from _elsewhere(period)


def _choices(name: str, drills: list[Record]) -> Iterator[dict[str, Any]]:
    chosen = {each.body["choice"] for each in drills}
    if drills and chosen == {"latest"}:
        yield _gap(f"policy {name}", "only the newest point was drilled, no older one", drills)


def _never_restored(period: Period, drills: list[Record]) -> Iterator[dict[str, Any]]:
    tested = {(e.body["repository"], e.body["commit_number"]) for e in drills}
    for name in period.policies:
        known = period.history.points.get(name)
        if known is None:
            continue
        places = known.after(period.before.size)
        rest = [
            known.events[at]
            for at in places
            if (known.repository(at), known.commits[at]) not in tested
        ]
        if rest:
            words = f"{len(rest)} of {len(places)} recovery points were not restored by a drill"
            yield _gap(f"policy {name}", words) | {"events": rest}


def _elsewhere(period: Period) -> Iterator[dict[str, Any]]:
    kinds = {each.body["kind"] for each in period.closed("drill")}
    for kind, words in (
        ("bare", "no bare drill: that the store and the recovery kit alone suffice is not shown"),
        ("pitr", "no drill of an instant between recovery points"),
        ("mass", "no drill of many policies at once: their RTO together is not measured"),
    ):
        if kind not in kinds:
            yield _gap("all policies", words)
    if not period.ended("key_drill"):
        yield _gap("recovery keys", "no key was tried: that each one opens is not shown")
    if not period.ended("check"):
        yield _gap("repositories", "no check of stored data")
    yield _gap("people and places", "telephone lists, suppliers, rooms and networks: never")


def _gap(subject: str, what: str, records: list[Record] | None = None) -> dict[str, Any]:
    return {"subject": subject, "what": what, "events": numbers(records or ())}


def sampling(period: Period) -> dict[str, Any]:
    """Say which recovery points were drilled, and who chose them."""
    rows = []
    for drill in period.closed("drill"):
        body = drill.body
        if body["kind"] == "key":
            continue
        seed = sample_seed(bytes.fromhex(body["checkpoint_root"]), int(str(drill.key)))
        rows.append(
            drill.row(
                *("policy", "kind", "choice", "planned_at", "checkpoint_size", "checkpoint_root"),
                *("repository", "commit_number", "consistent_at"),
                drill=drill.key,
                seed=seed.hex(),
                drawn=_drawn(period, drill, seed),
            )
        )
    return {
        "rule": "seed = BLAKE3(root of the newest checkpoint before the plan, number of the drill)",
        "drills": rows,
        "points_in_quarter": counted(merged([*map(period.points, period.history.points)])),
    }


def _drawn(period: Period, drill: Record, seed: bytes) -> str:
    """Say whether a random drill took what was drawn, of the points that it could have taken."""
    body = drill.body
    if body["choice"] != "random" or body["commit_number"] is None:
        return "not random" if body["choice"] != "random" else "nothing was taken"
    listed = body["detail"].get("candidates")
    known = listed if isinstance(listed, list) else _candidates(period, drill)
    if not known:
        return "candidates are not known"
    due = sorted(known)[draw(seed, len(known))[0]]
    whose = "listed" if known is listed else "recorded"
    if due == body["commit_number"]:
        return f"as drawn of {len(known)} {whose}"
    if known is listed:
        return f"not as drawn of {len(known)} listed: {due} was"
    return f"not shown: candidates are not listed; of all {len(known)} recorded, {due} is drawn"


def _candidates(period: Period, drill: Record) -> list[int]:
    """Return the points that the ledger knew when the drill was planned."""
    points = period.history.points.get(drill.body["policy"])
    if points is None:
        return []
    return [
        points.commits[at]
        for at, event in enumerate(points.events)
        if event < drill.events[0]
        and points.complete[at]
        and points.repository(at) == drill.body["repository"]
    ]


def timeline(period: Period) -> dict[str, Any]:
    """Tell the quarter in order: drills, incidents, alarms, actions, and runs that did not succeed."""
    entries = [*_told(period)]
    entries.sort(key=lambda each: (each["on"], each["events"]))
    return {"entries": entries, "calendar": _calendar(period)}


def _told(period: Period) -> Iterator[dict[str, Any]]:
    for each in period.closed("drill"):
        body = each.body
        words = f"drill {each.key} ({body['kind']}, {body['choice']}): {body['verdict']}"
        yield _entry("drill", body["ended_at"], words, each, body["verdict"])
    for each in period.closed("run"):
        if (state := each.body["state"]) != "succeeded":
            words = f"{each.body['operation']} {state}"
            yield _entry("run", each.body["ended_at"], words, each, state)
    for each in period.ended("incident"):
        words = f"incident {each.key}: {each.body['kind']}"
        yield _entry("incident", each.body["began_at"], words, each, "opened")
    for each in period.ended("alarm"):
        words = f"alarm: {each.body['kind']} ({each.body['subject_name']})"
        yield _entry("alarm", each.body["raised_at"], words, each, each.body["kind"])
    for each in period.ended("action"):
        done = each.body.get("closed_at")
        words = f"action {each.key} {'closed' if done else 'opened'}: {each.body['title']}"
        yield _entry("action", done or each.body["opened_at"], words, each, "")


def _entry(what: str, on: str, words: str, record: Record, tone: str) -> dict[str, Any]:  # noqa: PLR0917 - the columns, in their order
    of = record.body.get("policy") or ""
    return {"what": what, "on": on, "words": words, "of": of, "tone": tone, "events": record.events}


def _calendar(period: Period) -> list[dict[str, Any]]:
    """Count what each day has of each outcome."""
    days: dict[tuple[str, str], list[Sequence[int]]] = {}
    for kind, events in period.history.succeeded.items():
        days.setdefault((kind.day, "succeeded"), []).append(events)
    for table in ("run", "drill"):
        for each in period.closed(table):
            name = f"drill {_proven(each)}" if table == "drill" else each.body["state"]
            days.setdefault((each.body["ended_at"][:10], name), []).append([each.last])
    return [counted(merged(days[day, name]), day=day, outcome=name) for day, name in sorted(days)]


def _proven(drill: Record) -> str:
    return "proven" if drill.body["verdict"] == "proven" else "not proven"
