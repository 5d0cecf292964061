"""What events about drills make of the projections; see :mod:`drkeeper.ledger.projections`."""

import json
from collections.abc import Callable, Mapping

from drkeeper.ledger import showing
from drkeeper.ledger.change import Change, Find, IllegalEventError, Row, text
from drkeeper.ledger.events import Event, Kind
from drkeeper.model.drill import Phase, Verdict
from drkeeper.model.run import Proof

KEYS = {
    "drill": "id",
    "phase": "id",
    "probe": "id",
    "incident": "id",
    "corrective_action": "id",
    "key_drill": "event",
    "shown": "policy",
}
"""The primary key of each of these projections."""

Body = Mapping[str, object]

_PLAN_FIELDS = (
    *("policy", "kind", "choice", "instant", "parent", "run", "planned_at"),
    *("checkpoint_size", "checkpoint_root", "promised_rpo_us", "promised_rto_us"),
    *("predicted_bytes", "predicted_low_us", "predicted_rto_us", "predicted_high_us"),
    "predicted_from",
)
_END_FIELDS = (
    *("ended_at", "verdict", "reason", "scratch", "repository", "commit_number"),
    *("consistent_at", "recoverable_through", "plain_bytes", "read_bytes", "files", "restored"),
    *("failure", "scratch_failure", "expected_end", "reached_end"),
    *("achieved_rpo_us", "achieved_rto_us"),
)


def _planned(event: Event, body: Body, find: Find) -> list[Change]:
    row: Row = {name: body[name] for name in _PLAN_FIELDS}
    _known(event, find, "drill", row["parent"])
    _known(event, find, "run", row["run"])
    if not isinstance(size := row["checkpoint_size"], int) or not 0 <= size < event.seq:
        raise IllegalEventError(f"event {event.seq} names a checkpoint that was not there yet")
    row |= dict.fromkeys((*_END_FIELDS, "declared_at", "detail"))
    row |= {"id": event.seq, "criteria": _compact(body["criteria"]), "event": event.seq}
    return [Change("drill", event.seq, row, new=True), *showing.planned(event, row, find)]


def _declared(event: Event, body: Body, find: Find) -> Change:
    before = _open_drill(event, body, find)
    if before["declared_at"] is not None:
        raise IllegalEventError(f"event {event.seq} declares drill {before['id']} again")
    row = before | {"declared_at": text(body["declared_at"]), "event": event.seq}
    return Change("drill", before["id"], row, new=False)


def _ended(event: Event, body: Body, find: Find) -> list[Change]:
    before = _open_drill(event, body, find)
    row = before | {name: body[name] for name in _END_FIELDS}
    row |= {"detail": _compact(body["detail"]), "event": event.seq}
    phases = _phases(event, body, before)
    _check_rto(event, row, phases)
    parts = [*phases, *_probes(event, body, before["id"])]
    return [
        Change("drill", before["id"], row, new=False),
        *parts,
        *_proven(event, row, find),
        *showing.ended(event, row, parts, find),
    ]


def _open_drill(event: Event, body: Body, find: Find) -> Row:
    """Find the drill of an event, which must go on.

    Raises:
        IllegalEventError: There is none, or it has ended.
    """
    key = body["drill"]
    before = find("drill", key)
    if before is None:
        raise IllegalEventError(f"event {event.seq} names drill {key}, which was never planned")
    if before["ended_at"] is not None:
        raise IllegalEventError(f"event {event.seq} changes drill {key}, which has ended")
    return before


def _phases(event: Event, body: Body, drill: Row) -> list[Change]:
    """Make a row of each phase.

    Raises:
        IllegalEventError: They are not in order, or the disaster was never declared.
    """
    made: list[Change] = []
    last, since = -1, 0
    for position, each in enumerate(_objects(body["phases"])):
        phase, elapsed_us = Phase(text(each["phase"])), _count(each["elapsed_us"])
        if phase.place <= last or elapsed_us < since or drill["declared_at"] is None:
            raise IllegalEventError(f"event {event.seq} tells phases that cannot be")
        row: Row = {
            "id": f"{drill['id']}/{position}",
            "drill": drill["id"],
            "position": position,
            "phase": phase.value,
            "reached_at": text(each["reached_at"]),
            "elapsed_us": elapsed_us,
            "took_us": elapsed_us - since,
            "event": event.seq,
        }
        made.append(Change("phase", row["id"], row, new=True))
        last, since = phase.place, elapsed_us
    return made


def _check_rto(event: Event, drill: Row, phases: list[Change]) -> None:
    """See that the RTO of a drill is what its phases say.

    Raises:
        IllegalEventError: It is not.
    """
    reached = [
        each.row["elapsed_us"] for each in phases if each.row["phase"] == Phase.PROBES_PASSED
    ]
    if drill["achieved_rto_us"] != (reached[0] if reached else None):
        raise IllegalEventError(f"event {event.seq} tells an RTO that its phases do not")


def _probes(event: Event, body: Body, drill: object) -> list[Change]:
    made = []
    for position, each in enumerate(_objects(body["probes"])):
        row: Row = {
            "id": f"{drill}/{position}",
            "drill": drill,
            "position": position,
            **{name: text(each[name]) for name in ("name", "kind", "outcome", "expected", "found")},
            "control": each["control"],
            "caught_by": _compact(each["caught_by"]),
            "took_us": _count(each["took_us"]),
            "event": event.seq,
        }
        made.append(Change("probe", row["id"], row, new=True))
    return made


def _proven(event: Event, drill: Row, find: Find) -> list[Change]:
    """Mark the recovery point that a sound drill restored, when this ledger knows it."""
    key = f"{drill['repository']}/{drill['commit_number']}"
    point = find("recovery_point", key)
    if not Verdict(text(drill["verdict"])).sound or point is None:
        return []
    # Its own event stays: in which order points were made is asked by it.
    row = point | {"proof": Proof.PROVEN.value, "proven_event": event.seq}
    return [Change("recovery_point", key, row, new=False)]


def _incident_opened(event: Event, body: Body, find: Find) -> Change:
    names = ("kind", "policy", "began_at", "cause", "alarm", "drill", "worst_us")
    row: Row = {name: body[name] for name in names}
    _known(event, find, "alarm", row["alarm"])
    _known(event, find, "drill", row["drill"])
    row |= {"id": event.seq, "ended_at": None, "event": event.seq}
    return Change("incident", event.seq, row, new=True)


def _incident_closed(event: Event, body: Body, find: Find) -> Change:
    before = _open_one(event, find, "incident", (body["incident"], "ended_at"))
    row = before | {name: body[name] for name in ("ended_at", "worst_us")}
    return Change("incident", before["id"], row | {"event": event.seq}, new=False)


def _action_opened(event: Event, body: Body, find: Find) -> Change:
    names = ("title", "owner", "opened_at", "due_at", "policy", "drill", "incident")
    row: Row = {name: body[name] for name in names}
    _known(event, find, "drill", row["drill"])
    _known(event, find, "incident", row["incident"])
    row |= {"id": event.seq, "closed_at": None, "outcome": "", "event": event.seq}
    return Change("corrective_action", event.seq, row, new=True)


def _action_closed(event: Event, body: Body, find: Find) -> Change:
    before = _open_one(event, find, "corrective_action", (body["action"], "closed_at"))
    row = before | {name: text(body[name]) for name in ("closed_at", "outcome")}
    return Change("corrective_action", before["id"], row | {"event": event.seq}, new=False)


def _key_drill(event: Event, body: Body, find: Find) -> Change:
    names = (
        *("drill", "repository", "recipient", "role", "session"),
        *("opened", "checked_at", "detail", "took_us"),
    )
    row: Row = {name: body[name] for name in names}
    _known(event, find, "drill", row["drill"])
    return Change("key_drill", event.seq, row | {"event": event.seq}, new=True)


RULES: dict[Kind, Callable[[Event, Body, Find], Change | list[Change]]] = {
    Kind.DRILL_PLANNED: _planned,
    Kind.DRILL_DECLARED: _declared,
    Kind.DRILL_ENDED: _ended,
    Kind.INCIDENT_OPENED: _incident_opened,
    Kind.INCIDENT_CLOSED: _incident_closed,
    Kind.ACTION_OPENED: _action_opened,
    Kind.ACTION_CLOSED: _action_closed,
    Kind.KEY_DRILL_RECORDED: _key_drill,
}
"""What each of these kinds makes of which projections."""


def _open_one(event: Event, find: Find, table: str, which: tuple[object, str]) -> Row:
    """Find a row that has not been closed.

    Raises:
        IllegalEventError: There is none, or it has been.
    """
    key, end = which
    before = find(table, key)
    if before is None:
        raise IllegalEventError(f"event {event.seq} closes {table} {key}, which was never opened")
    if before[end] is not None:
        raise IllegalEventError(f"event {event.seq} closes {table} {key} again")
    return before


def _known(event: Event, find: Find, table: str, key: object) -> None:
    if key is not None and find(table, key) is None:
        raise IllegalEventError(f"event {event.seq} names {table} {key}, which is not there")


def _objects(value: object) -> list[Body]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise TypeError("not a list of objects")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("not a count")
    return value


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
