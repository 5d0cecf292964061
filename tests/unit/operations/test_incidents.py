"""Incidents: when a promise is broken, when it is kept again, and how bad it was between."""

from datetime import timedelta

import pytest

from doubles.drilling import AT, HOUR, end, plan, timeline
from doubles.faultpoints import RaiseAt
from doubles.ledgers import ledger_at
from doubles.stories import Story, at, policy_of
from drkeeper import faults
from drkeeper.errors import LedgerError
from drkeeper.model.drill import Choice, ControlResult, DrillKind, Outcome, Phase
from drkeeper.model.drill_record import IncidentKind
from drkeeper.model.policy import Objectives
from drkeeper.operations.incidents import changes, follow, telling

MINUTE = timedelta(minutes=1)
RPO, RTO, UNPROVEN = IncidentKind.RPO_VIOLATED, IncidentKind.RTO_UNMET, IncidentKind.NOT_PROVEN


@pytest.fixture
def ledger(tmp_path):
    with ledger_at(tmp_path / "state" / "ledger.sqlite") as opened:
        yield opened


def story(rpo=2 * HOUR, rto=None):
    return Story(policy_of("hourly", objectives=Objectives(rpo=rpo, rto=rto)))


def look(ledger, told, now, **more):
    """Look at a story's policy at an instant; return what began and what ended."""
    name = told.policy.name
    drills = {name: telling(ledger.drills(name, ended=True, limit=10))}
    return follow(ledger, [told.status(now)], drills, at(now), **more)


def drilled(ledger, *, ended_at=AT + HOUR, kind=DrillKind.RESTORE, **fields):
    planned = ledger.plan_drill(plan(kind=kind, choice=Choice.LATEST))
    ledger.declare_drill(planned.id, AT)
    return ledger.end_drill(planned.id, end(ended_at=ended_at, **fields))


SLOW = {"timeline": timeline(each_s=1000)}
BROKEN = {
    "restored": False,
    "failure": "pack 7 is gone",
    "probes": (),
    "timeline": timeline(until=Phase.KEYS_OPENED),
}


def test_a_violated_rpo_is_an_incident_from_and_until_when_it_was_true(ledger):
    """Whenever anybody looked: from two hours after the last data until the next was durable."""
    told = story().run("2026-11-20T01:00").failed("2026-11-20T02:00", "cannot read /srv")
    assert look(ledger, told, "2026-11-20T02:59") == ([], [])
    ((begun,), over) = look(ledger, told, "2026-11-20T04:30")
    assert not over
    assert (begun.kind, begun.began_at, begun.worst) == (RPO, at("2026-11-20T03:00"), 3.5 * HOUR)
    assert "cannot read /srv" in begun.cause
    assert look(ledger, told, "2026-11-20T05:30") == ([], [])
    told.run("2026-11-20T06:00", took=20 * MINUTE)
    (begun, (over,)) = look(ledger, told, "2026-11-20T06:45")
    assert not begun
    assert (over.ended_at, over.worst) == (at("2026-11-20T06:20"), 5 * HOUR + 20 * MINUTE)
    assert look(ledger, told, "2026-11-20T07:00") == ([], [])
    assert ledger.verify().ok


def test_an_objective_that_is_taken_back_ends_its_incident(ledger):
    """What is not promised any more is not broken; it ends when that was seen."""
    told = story().run("2026-11-20T01:00")
    look(ledger, told, "2026-11-20T04:30")
    lenient = Story(policy_of("hourly"), runs=told.runs, point=told.point)
    (_, (over,)) = look(ledger, lenient, "2026-11-20T05:00")
    assert over.ended_at <= at("2026-11-20T05:00")
    assert over.ended_at >= over.began_at


def test_the_alarm_that_told_stands_with_it(ledger):
    """Who reads the incident finds the alarm."""
    told = story().run("2026-11-20T01:00")
    status = told.status("2026-11-20T04:30")
    raised = ledger.raise_alarm(
        next(c for c in status.conditions if c.kind.value == "rpo-violated")
    )
    ((begun,), _) = look(ledger, told, "2026-11-20T04:30", alarms={"home": raised.id})
    assert begun.alarm == raised.id


def test_a_drill_that_was_too_slow_is_an_incident_until_one_is_fast_enough(ledger):
    """Held to what is promised now; the worst is what was measured."""
    told = story(rpo=None, rto=HOUR).run("2026-11-20T02:00")
    slow = drilled(ledger, **SLOW)
    ((begun,), _) = look(ledger, told, "2026-11-20T04:00")
    assert (begun.kind, begun.began_at, begun.drill) == (RTO, AT + HOUR, slow.id)
    assert begun.worst == slow.end.achieved_rto > HOUR
    assert look(ledger, told, "2026-11-20T05:00") == ([], [])
    drilled(ledger, ended_at=AT + 3 * HOUR)
    (_, (over,)) = look(ledger, told, "2026-11-20T06:00")
    assert (over.ended_at, over.worst) == (AT + 3 * HOUR, begun.worst)


def test_a_drill_that_proves_nothing_is_an_incident_until_one_does(ledger):
    """With the drill and its reason; one that failed in its scratch changes nothing."""
    told = story(rpo=None).run("2026-11-20T02:00")
    bad = drilled(ledger, **BROKEN)
    ((begun,), _) = look(ledger, told, "2026-11-20T04:00")
    assert (begun.kind, begun.drill) == (UNPROVEN, bad.id)
    assert "pack 7 is gone" in begun.cause
    drilled(ledger, ended_at=AT + 2 * HOUR, scratch_failure="scratch is full")
    assert look(ledger, told, "2026-11-20T05:00") == ([], [])
    drilled(ledger, ended_at=AT + 3 * HOUR)
    (_, (over,)) = look(ledger, told, "2026-11-20T06:00")
    assert over.ended_at == AT + 3 * HOUR


def test_a_control_that_was_not_caught_is_not_proven(ledger):
    """A verifier that sees nothing proves nothing."""
    told = story(rpo=None).run("2026-11-20T02:00")
    missed = (ControlResult("flipped-byte", Outcome.FAILED),)
    drilled(ledger, controls=missed)
    ((begun,), _) = look(ledger, told, "2026-11-20T04:00")
    assert begun.kind is UNPROVEN


def test_key_drills_and_drills_without_a_word_open_and_close_nothing(ledger):
    """They are about keys, or about the place of the drill."""
    told = story(rpo=None, rto=HOUR).run("2026-11-20T02:00")
    drilled(ledger, kind=DrillKind.KEY, **BROKEN)
    drilled(ledger, scratch_failure="scratch is full")
    assert look(ledger, told, "2026-11-20T04:00") == ([], [])
    opened = ledger.open_incident(UNPROVEN, "home", AT)
    assert look(ledger, told, "2026-11-20T05:00") == ([], [])
    assert ledger.open_incidents() == [opened]


def test_what_others_look_after_is_theirs_to_end(ledger):
    """On a shared ledger a daemon ends no incident of a policy that it does not keep."""
    told = story().run("2026-11-20T01:00")
    ledger.open_incident(RPO, "home", at("2026-11-20T00:00"))
    now = "2026-11-20T01:30"
    assert look(ledger, told, now, mine=lambda _policy: False) == ([], [])
    found = changes([], {}, ledger.open_incidents(), at(now))
    assert (found.begun, found.over) == ([], [])
    assert look(ledger, told, now)[1]


@pytest.mark.parametrize("name", ["operations.incidents.changing", "operations.incidents.changed"])
def test_a_look_that_is_cut_off_is_made_again(ledger, name):
    """Each incident is recorded as a whole, and once."""
    told = story().run("2026-11-20T01:00")
    faults.install(RaiseAt(name, 1, lambda: LedgerError("as the test wants it")))
    try:
        with pytest.raises(LedgerError):
            look(ledger, told, "2026-11-20T04:30")
    finally:
        faults.install(None)
    look(ledger, told, "2026-11-20T04:31")
    (incident,) = ledger.incidents()
    assert incident.began_at == at("2026-11-20T03:00")
