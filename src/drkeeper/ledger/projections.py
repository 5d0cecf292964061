"""What the events add up to: pure rules from an event to rows of the projections.

The same rules write a row when an event is appended, and compute every row again when the ledger
is verified or rebuilt; there is no other way into these tables.
"""

import json
from collections.abc import Callable, Mapping

from drkeeper.ledger import drilled
from drkeeper.ledger.change import Change, Find, IllegalEventError, Row, text as _text
from drkeeper.ledger.events import Event, Kind

KEYS = {
    "run": "id",
    "recovery_point": "id",
    "verification": "event",
    "policy": "name",
    "alarm": "id",
    "notification": "event",
    **drilled.KEYS,
}
"""The primary key of every projection."""


def changes(event: Event, find: Find) -> list[Change]:
    """Return what ``event`` makes of the projections.

    Raises:
        IllegalEventError: The event contradicts those before it, or has no meaning.
    """
    try:
        rule = _RULES[Kind(event.kind)]
        if rule is None:
            return []
        made = rule(event, json.loads(event.body), find)
        return made if isinstance(made, list) else [made]
    except (KeyError, TypeError, ValueError) as error:
        raise IllegalEventError(f"event {event.seq} ({event.kind}) has no meaning") from error


def compact(value: object) -> str:
    """Spell JSON as :func:`drkeeper.ledger.events.canonical` does, for a column."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def _begun(event: Event, body: Mapping[str, object], find: Find) -> Change:
    key = _text(body["run"])
    if find("run", key) is not None:
        raise IllegalEventError(f"event {event.seq} begins run {key} again")
    row: Row = {
        "id": key,
        "policy": body["policy"],
        "operation": body["operation"],
        "state": body["state"],
        "started_at": body["started_at"],
        "ended_at": None,
        "lease_owner": None,
        "lease_until": None,
        "result": "{}",
        "failure": None,
        "begun_event": event.seq,
        "event": event.seq,
        "queued_at": body["started_at"] if body["state"] == "queued" else None,
    }
    return Change("run", key, row | _process(body), new=True)


def _claimed(event: Event, body: Mapping[str, object], find: Find) -> Change:
    key = _text(body["run"])
    before = find("run", key)
    if before is None:
        raise IllegalEventError(f"event {event.seq} claims run {key}, which was never queued")
    if before["state"] != "queued":
        raise IllegalEventError(f"event {event.seq} claims run {key}, which is not queued any more")
    row = before | {
        "state": "running",
        "started_at": body["started_at"],
        "begun_event": event.seq,
        "event": event.seq,
    }
    return Change("run", key, row | _process(body), new=False)


def _process(body: Mapping[str, object]) -> Row:
    process = body["process"]
    if not isinstance(process, dict):
        raise TypeError("process")
    return {
        "host": process["host"],
        "boot_id": process["boot_id"],
        "pid": process["pid"],
        "process_started": process["started"],
    }


# A run that others took for dead may still tell how it really ended: it knows best.
_MAY_END = frozenset({"queued", "running", "interrupted"})


def _ended(event: Event, body: Mapping[str, object], find: Find) -> Change:
    key = _text(body["run"])
    before = find("run", key)
    if before is None:
        raise IllegalEventError(f"event {event.seq} ends run {key}, which never began")
    if before["state"] not in _MAY_END:
        raise IllegalEventError(f"event {event.seq} ends run {key} again")
    failure = body["failure"]
    row = before | {
        "state": body["state"],
        "ended_at": body["ended_at"],
        "result": compact(body["result"]),
        "failure": None if failure is None else compact(failure),
        "event": event.seq,
    }
    return Change("run", key, row, new=False)


_POINT_FIELDS = (
    *("policy", "repository", "lineage", "commit_number", "session", "run"),
    *("consistent_at", "finished_at", "plain_bytes", "stored_bytes", "new_bytes"),
    *("files", "entries", "unreadable", "changed", "complete", "consistency", "proof"),
)


def _point(event: Event, body: Mapping[str, object], find: Find) -> Change:
    key = f"{body['repository']}/{body['commit_number']}"
    if find("recovery_point", key) is not None:
        raise IllegalEventError(f"event {event.seq} records recovery point {key} again")
    row: Row = {name: body[name] for name in _POINT_FIELDS}
    _known_run(event, row, find)
    row |= {"id": key, "event": event.seq, "proven_event": None}
    return Change("recovery_point", key, row, new=True)


_VERIFICATION_FIELDS = (
    *("run", "policy", "repository", "kind", "passed", "checked_at"),
    *("objects", "read_bytes", "findings", "detail"),
)


def _verification(event: Event, body: Mapping[str, object], find: Find) -> Change:
    row: Row = {name: body[name] for name in _VERIFICATION_FIELDS}
    _known_run(event, row, find)
    return Change("verification", event.seq, row | {"event": event.seq}, new=True)


def _policy(event: Event, body: Mapping[str, object], find: Find) -> Change:
    key = _text(body["policy"])
    before = find("policy", key)
    row: Row = {
        "name": key,
        "definition": _text(body["definition"]),
        "first_seen_at": body["seen_at"] if before is None else before["first_seen_at"],
        "changed_at": body["seen_at"],
        "event": event.seq,
    }
    return Change("policy", key, row, new=before is None)


_ALARM_FIELDS = ("kind", "subject_kind", "subject_name", "message", "hint", "since", "raised_at")


def _raised(event: Event, body: Mapping[str, object], _find: Find) -> Change:
    row: Row = {name: _text(body[name]) for name in _ALARM_FIELDS}
    row |= {"id": event.seq, "cleared_at": None, "event": event.seq}
    return Change("alarm", event.seq, row, new=True)


def _cleared(event: Event, body: Mapping[str, object], find: Find) -> Change:
    key = body["alarm"]
    before = find("alarm", key)
    if before is None:
        raise IllegalEventError(f"event {event.seq} clears alarm {key}, which was never raised")
    if before["cleared_at"] is not None:
        raise IllegalEventError(f"event {event.seq} clears alarm {key} again")
    row = before | {"cleared_at": _text(body["cleared_at"]), "event": event.seq}
    return Change("alarm", key, row, new=False)


_NOTIFICATION_FIELDS = ("channel", "alarm", "what", "delivered", "detail", "sent_at")


def _notification(event: Event, body: Mapping[str, object], find: Find) -> Change:
    row: Row = {name: body[name] for name in _NOTIFICATION_FIELDS}
    alarm = row["alarm"]
    if alarm is not None and find("alarm", alarm) is None:
        raise IllegalEventError(f"event {event.seq} names alarm {alarm}, which was never raised")
    return Change("notification", event.seq, row | {"event": event.seq}, new=True)


_Rule = Callable[[Event, Mapping[str, object], Find], Change | list[Change]]

_RULES: dict[Kind, _Rule | None] = {
    Kind.LEDGER_CREATED: None,
    Kind.RUN_BEGUN: _begun,
    Kind.RUN_CLAIMED: _claimed,
    Kind.RUN_ENDED: _ended,
    Kind.RUN_INTERRUPTED: _ended,
    Kind.POINT_RECORDED: _point,
    Kind.VERIFICATION_RECORDED: _verification,
    Kind.POLICY_SEEN: _policy,
    Kind.ALARM_RAISED: _raised,
    Kind.ALARM_CLEARED: _cleared,
    Kind.NOTIFICATION_RECORDED: _notification,
    **drilled.RULES,
}
"""What each kind makes of which projection; a test sees that none is left out."""


def _known_run(event: Event, row: Row, find: Find) -> None:
    run = row["run"]
    if run is not None and find("run", _text(run)) is None:
        raise IllegalEventError(f"event {event.seq} names run {run}, which never began")
