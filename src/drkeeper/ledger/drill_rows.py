"""Drills, and what follows from them, as bodies of events and out of rows."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from drkeeper.ledger.events import instant_from_text
from drkeeper.ledger.rows import Row, shortened
from drkeeper.model.drill import (
    Choice,
    ControlResult,
    DrillKind,
    Outcome,
    Phase,
    PhaseTime,
    ProbeResult,
    Promised,
    Timeline,
    Verdict,
)
from drkeeper.model.drill_record import (
    CorrectiveAction,
    Drill,
    DrillEnd,
    DrillPlan,
    Incident,
    IncidentKind,
    KeyDrill,
    Restored,
)
from drkeeper.model.judging import Judgement
from drkeeper.model.prediction import Prediction
from drkeeper.model.run import RunId

_MICROSECOND = timedelta(microseconds=1)


def plan_body(plan: DrillPlan, planned_at: datetime) -> dict[str, object]:
    """Spell a plan for an event."""
    foreseen = plan.prediction
    return {
        "policy": plan.policy,
        "kind": plan.kind,
        "choice": plan.choice,
        "instant": plan.instant,
        "parent": plan.parent,
        "run": plan.run,
        "planned_at": planned_at,
        "criteria": plan.criteria,
        "checkpoint_size": plan.checkpoint_size,
        "checkpoint_root": plan.checkpoint_root,
        "promised_rpo_us": us(plan.promised.rpo),
        "promised_rto_us": us(plan.promised.rto),
        "predicted_bytes": foreseen and foreseen.plain_bytes,
        "predicted_low_us": foreseen and us(foreseen.low),
        "predicted_rto_us": foreseen and us(foreseen.expected),
        "predicted_high_us": foreseen and us(foreseen.high),
        "predicted_from": foreseen and foreseen.drills,
    }


def end_body(drill_id: int, end: DrillEnd, judgement: Judgement) -> dict[str, object]:
    """Spell what came of a drill for an event."""
    point = end.point
    return {
        "drill": drill_id,
        "ended_at": end.ended_at,
        "verdict": judgement.verdict,
        "reason": shortened(judgement.reason),
        "scratch": end.scratch,
        "repository": point and point.repository,
        "commit_number": point and point.commit_number,
        "consistent_at": point and point.consistent_at,
        "recoverable_through": point and point.recoverable_through,
        "plain_bytes": point and point.plain_bytes,
        "read_bytes": point and point.read_bytes,
        "files": point and point.files,
        "restored": end.restored,
        "failure": shortened(end.failure),
        "scratch_failure": shortened(end.scratch_failure),
        "expected_end": shortened(end.expected_end),
        "reached_end": shortened(end.reached_end),
        "achieved_rpo_us": us(end.achieved_rpo),
        "achieved_rto_us": us(end.achieved_rto),
        "detail": end.detail,
        "phases": [] if end.timeline is None else [*map(_phase_body, end.timeline.reached)],
        "probes": [*map(_probe_body, end.probes), *map(_control_body, end.controls)],
    }


def _phase_body(each: PhaseTime) -> dict[str, object]:
    return {
        "phase": each.phase,
        "reached_at": each.reached_at,
        "elapsed_us": us(each.elapsed),
    }


def _probe_body(each: ProbeResult) -> dict[str, object]:
    return {
        "name": shortened(each.name),
        "kind": each.kind,
        "control": False,
        "outcome": each.outcome,
        "expected": shortened(each.expected),
        "found": shortened(each.found),
        "caught_by": [],
        "took_us": us(each.took),
    }


def _control_body(each: ControlResult) -> dict[str, object]:
    return {
        "name": each.fault,
        "kind": "control",
        "control": True,
        "outcome": each.outcome,
        "expected": "",
        "found": shortened(each.detail),
        "caught_by": [*map(shortened, each.caught_by)],
        "took_us": 0,
    }


def drill_from_rows(row: Row, phases: Sequence[Row], probes: Sequence[Row]) -> Drill:
    """Make a drill out of its rows; those of phases and probes in order of position."""
    declared_at = _instant(row["declared_at"])
    verdict = row["verdict"]
    return Drill(
        id=_number(row["id"]),
        plan=_plan(row),
        planned_at=_due(row["planned_at"]),
        declared_at=declared_at,
        end=None if verdict is None else _end(row, declared_at, phases, probes),
        judgement=None
        if verdict is None
        else Judgement(Verdict(_text(verdict)), _text(row["reason"])),
        event=_number(row["event"]),
    )


def _plan(row: Row) -> DrillPlan:
    run, parent, policy = row["run"], row["parent"], row["policy"]
    return DrillPlan(
        policy=None if policy is None else _text(policy),
        kind=DrillKind(_text(row["kind"])),
        choice=Choice(_text(row["choice"])),
        instant=_instant(row["instant"]),
        promised=Promised(_span(row["promised_rpo_us"]), _span(row["promised_rto_us"])),
        criteria=json.loads(_text(row["criteria"])),
        checkpoint_size=_number(row["checkpoint_size"]),
        checkpoint_root=_text(row["checkpoint_root"]),
        prediction=_prediction(row),
        parent=None if parent is None else _number(parent),
        run=None if run is None else RunId(_text(run)),
    )


def _prediction(row: Row) -> Prediction | None:
    if row["predicted_bytes"] is None:
        return None
    return Prediction(
        plain_bytes=_number(row["predicted_bytes"]),
        low=_took(row["predicted_low_us"]),
        expected=_took(row["predicted_rto_us"]),
        high=_took(row["predicted_high_us"]),
        drills=_number(row["predicted_from"]),
    )


def _end(
    row: Row, declared_at: datetime | None, phases: Sequence[Row], probes: Sequence[Row]
) -> DrillEnd:
    reached = tuple(
        PhaseTime(Phase(_text(each["phase"])), _due(each["reached_at"]), _took(each["elapsed_us"]))
        for each in phases
    )
    return DrillEnd(
        ended_at=_due(row["ended_at"]),
        timeline=None if declared_at is None else Timeline(declared_at, reached),
        scratch=_text(row["scratch"]),
        point=_restored(row),
        restored=row["restored"] is True,
        failure=_text(row["failure"]),
        scratch_failure=_text(row["scratch_failure"]),
        expected_end=_text(row["expected_end"]),
        reached_end=_text(row["reached_end"]),
        probes=tuple(_probe(each) for each in probes if each["control"] is False),
        controls=tuple(_control(each) for each in probes if each["control"] is True),
        achieved_rpo=_span(row["achieved_rpo_us"]),
        detail=json.loads(_text(row["detail"])),
    )


def _restored(row: Row) -> Restored | None:
    if row["repository"] is None:
        return None
    return Restored(
        repository=_text(row["repository"]),
        commit_number=_number(row["commit_number"]),
        consistent_at=_due(row["consistent_at"]),
        recoverable_through=_instant(row["recoverable_through"]),
        plain_bytes=_number(row["plain_bytes"]),
        read_bytes=_number(row["read_bytes"]),
        files=_number(row["files"]),
    )


def _probe(row: Row) -> ProbeResult:
    return ProbeResult(
        name=_text(row["name"]),
        kind=_text(row["kind"]),
        outcome=Outcome(_text(row["outcome"])),
        expected=_text(row["expected"]),
        found=_text(row["found"]),
        took=_took(row["took_us"]),
    )


def _control(row: Row) -> ControlResult:
    caught_by = tuple(map(str, json.loads(_text(row["caught_by"]))))
    return ControlResult(
        _text(row["name"]), Outcome(_text(row["outcome"])), caught_by, _text(row["found"])
    )


def incident_from_row(row: Row) -> Incident:
    """Make an incident out of its row."""
    return Incident(
        id=_number(row["id"]),
        kind=IncidentKind(_text(row["kind"])),
        policy=_text(row["policy"]),
        began_at=_due(row["began_at"]),
        cause=_text(row["cause"]),
        alarm=None if row["alarm"] is None else _number(row["alarm"]),
        drill=None if row["drill"] is None else _number(row["drill"]),
        ended_at=_instant(row["ended_at"]),
        worst=_span(row["worst_us"]),
        event=_number(row["event"]),
    )


def action_from_row(row: Row) -> CorrectiveAction:
    """Make a corrective action out of its row."""
    return CorrectiveAction(
        id=_number(row["id"]),
        title=_text(row["title"]),
        owner=_text(row["owner"]),
        opened_at=_due(row["opened_at"]),
        due_at=_instant(row["due_at"]),
        policy=None if row["policy"] is None else _text(row["policy"]),
        drill=None if row["drill"] is None else _number(row["drill"]),
        incident=None if row["incident"] is None else _number(row["incident"]),
        closed_at=_instant(row["closed_at"]),
        outcome=_text(row["outcome"]),
        event=_number(row["event"]),
    )


def key_drill_body(made: KeyDrill) -> dict[str, object]:
    """Spell a key drill for an event."""
    return {
        "drill": made.drill,
        "repository": made.repository,
        "recipient": made.recipient,
        "role": made.role,
        "session": made.session,
        "opened": made.opened,
        "checked_at": made.checked_at,
        "detail": shortened(made.detail),
        "took_us": us(made.took),
    }


def key_drill_from_row(row: Row) -> KeyDrill:
    """Make a key drill out of its row."""
    return KeyDrill(
        repository=_text(row["repository"]),
        recipient=_text(row["recipient"]),
        role=_text(row["role"]),
        opened=row["opened"] is True,
        checked_at=_due(row["checked_at"]),
        session=_text(row["session"]),
        detail=_text(row["detail"]),
        took=_took(row["took_us"]),
        drill=None if row["drill"] is None else _number(row["drill"]),
        event=_number(row["event"]),
    )


def us(span: timedelta | None) -> int | None:
    """Spell a span in microseconds, whole as they are measured."""
    return None if span is None else span // _MICROSECOND


def _span(value: object) -> timedelta | None:
    return None if value is None else _took(value)


def _took(value: object) -> timedelta:
    return timedelta(microseconds=_number(value))


def _due(value: object) -> datetime:
    return instant_from_text(_text(value))


def _instant(value: object) -> datetime | None:
    return None if value is None else _due(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError("number")
    return value
