"""Drills for ledgers: plans and ends as a test needs them, and histories of them."""

import random
from datetime import UTC, datetime, timedelta

from drkeeper.ledger.ledger import Ledger
from drkeeper.model.drill import (
    Choice,
    ControlResult,
    DrillKind,
    Outcome,
    Phase,
    ProbeResult,
    Promised,
    Stopwatch,
)
from drkeeper.model.drill_record import DrillEnd, DrillPlan, IncidentKind, KeyDrill, Restored
from drkeeper.model.prediction import Prediction

AT = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def plan(**fields) -> DrillPlan:
    return DrillPlan(
        **{
            "policy": "home",
            "kind": DrillKind.RESTORE,
            "choice": Choice.LATEST,
            "promised": Promised(HOUR, HOUR),
            "criteria": {"probes": ["bytes"], "controls": ["flipped-byte"]},
            "prediction": Prediction(5000, 8 * SECOND, 10 * SECOND, 13 * SECOND, 4),
        }
        | fields
    )


def timeline(*, declared_at: datetime = AT, each_s: float = 1.5, until: Phase = Phase.TORN_DOWN):
    watch = Stopwatch(declared_at, 0.0)
    for phase in Phase:
        if phase.place <= until.place:
            elapsed_s = each_s * (phase.place + 1)
            watch.reach(phase, declared_at + elapsed_s * SECOND, elapsed_s)
    return watch.timeline()


def end(**fields) -> DrillEnd:
    return DrillEnd(
        **{
            "ended_at": AT + HOUR,
            "timeline": timeline(),
            "scratch": "bubblewrap",
            "point": Restored("c0ffee", 1, AT - HOUR, None, 5000, 2000, 7),
            "restored": True,
            "probes": (
                ProbeResult("bytes", "bytes", Outcome.PASSED, "7 files", "7 files", SECOND),
            ),
            "controls": (ControlResult("flipped-byte", Outcome.PASSED, ("bytes",), "a/b at 7"),),
            "achieved_rpo": HOUR,
            "detail": {"workers": 2},
        }
        | fields
    )


def be_drilled(ledger: Ledger, chance: random.Random, policy: str, number: int) -> None:
    """Plan a drill, and let anything become of it."""
    planned = ledger.plan_drill(
        plan(policy=policy, choice=chance.choice([Choice.LATEST, Choice.RANDOM]))
    )
    if chance.random() < 0.1:
        return
    ledger.declare_drill(planned.id, AT)
    if chance.random() < 0.1:
        return
    until = chance.choice([Phase.KEYS_OPENED, Phase.RESTORED, Phase.PROBES_PASSED, Phase.TORN_DOWN])
    passed = until.place >= Phase.PROBES_PASSED.place
    ended = ledger.end_drill(
        planned.id,
        end(
            timeline=timeline(until=until, each_s=chance.choice([1, 2000])),
            restored=until is not Phase.KEYS_OPENED,
            failure="" if passed else "pack ä is gone",
            scratch_failure=chance.choice(["", "", "", "scratch is full"]),
            probes=end().probes if passed else (),
            point=chance.choice([None, Restored("c0ffee", number, AT - HOUR, AT)]),
        ),
    )
    if not ended.judgement.verdict.sound:
        found = ledger.open_incident(
            IncidentKind.NOT_PROVEN, policy, AT, cause="drill failed", drill_id=planned.id
        )
        ledger.open_action("look at it", "ops", policy=policy, incident_id=found.id)
    else:
        for each in ledger.open_incidents():
            ledger.close_incident(each.id, AT + HOUR, worst=chance.choice([None, HOUR]))
        for each in ledger.actions():
            if each.closed_at is None:
                ledger.close_action(each.id, "done")
    ledger.record_key_drill(
        KeyDrill(
            repository="c0ffee",
            recipient="age1pq1xyz",
            role="recovery",
            opened=passed,
            checked_at=AT,
            took=SECOND,
            drill=planned.id,
        )
    )


def what_a_reader_sees_of_drills(ledger: Ledger) -> list[object]:
    """Everything that the ledger answers about drills and what follows from them."""
    return [
        ledger.drills(),
        ledger.drills("home", ended=True),
        ledger.drills(ended=False),
        ledger.proven_through(),
        ledger.key_drills(),
        ledger.incidents(),
        ledger.open_incidents(),
        ledger.actions(),
    ]
