"""What the ledger keeps of drills; in a file and on a server."""

import random
from datetime import timedelta

import pytest

from doubles.drilling import AT, HOUR, SECOND, be_drilled, end, plan, timeline
from doubles.ledgers import behind_its_back, ledger_at, recovery_point
from drkeeper.crypto.merkle import EMPTY, leaf_hash, root_of
from drkeeper.crypto.notes import open_checkpoint
from drkeeper.crypto.sampling import draw, sample_seed
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import IntegrityError, LedgerError
from drkeeper.ledger.events import hashed_bytes, link
from drkeeper.ledger.showing import COSTS_KEPT
from drkeeper.model.drill import (
    Broken,
    Choice,
    ControlResult,
    DrillKind,
    Outcome,
    Phase,
    ProbeResult,
    Promised,
    Verdict,
)
from drkeeper.model.drill_record import IncidentKind, KeyDrill, Restored
from drkeeper.model.prediction import MOST_HISTORY, predict, predict_spelt
from drkeeper.model.run import Proof
from drkeeper.operations.drills.conducting import measured

KEY = SigningKey(bytes(range(32)))
KEYS = [KEY.verify_key]


def test_a_drill_comes_back_as_it_was(ledger):
    """Plan, declaration, phases, probes, controls and verdict are kept, to the microsecond."""
    planned = ledger.plan_drill(plan())
    assert (planned.plan, planned.end, planned.judgement) == (plan(), None, None)
    declared = ledger.declare_drill(planned.id, AT)
    assert declared.declared_at == AT
    assert ledger.drills(ended=False) == [declared]
    ended = ledger.end_drill(planned.id, end())
    assert ended == ledger.drill(planned.id)
    assert ended.end == end()
    assert ended.judgement.verdict is Verdict.PROVEN
    assert ended.end.achieved_rto == timedelta(seconds=12)
    assert ledger.drills("home", ended=True) == ledger.drills() == [ended]
    assert ledger.verify().ok


def test_a_sample_follows_from_what_was_signed_and_the_number_of_the_plan(ledger):
    """The plan names the newest checkpoint, so that everybody can draw the sample again."""
    assert ledger.plan_drill(plan()).plan.checkpoint_root == EMPTY.hex()
    ledger.sign(KEY)
    signed = ledger.newest_checkpoint(KEYS)
    planned = ledger.plan_drill(
        plan(checkpoint_size=signed.size, checkpoint_root=signed.root.hex(), choice=Choice.RANDOM)
    )
    kept = ledger.drill(planned.id).plan
    assert (kept.checkpoint_size, kept.checkpoint_root) == (signed.size, signed.root.hex())
    seed = sample_seed(bytes.fromhex(kept.checkpoint_root), planned.id)
    assert draw(seed, 30) == draw(sample_seed(signed.root, planned.id), 30)


def test_a_verdict_is_given_by_what_was_planned(ledger):
    """What a drill is held to was written down before; its end does not say so itself."""
    planned = ledger.plan_drill(plan(promised=Promised(HOUR, SECOND)))
    ledger.declare_drill(planned.id, AT)
    judged = ledger.end_drill(planned.id, end()).judgement
    assert judged.verdict is Verdict.TOO_SLOW


def test_a_sound_drill_proves_its_point(ledger):
    """The recovery point is proven, and so is all data up to the instant it holds; an unsound drill
    proves nothing, and the order of the points stays."""
    for number in (1, 2):
        ledger.record_recovery_point(recovery_point(number))
    before = [(point.commit_number, point.event) for point in ledger.recovery_points()]
    wrong = (ProbeResult("bytes", "bytes", Outcome.FAILED),)
    for number, probes in ((1, end().probes), (2, wrong)):
        planned = ledger.plan_drill(plan())
        ledger.declare_drill(planned.id, AT)
        point = Restored("c0ffee", number, AT - number * HOUR)
        ledger.end_drill(planned.id, end(point=point, probes=probes))
    proofs = {point.commit_number: point.proof for point in ledger.recovery_points()}
    assert proofs == {1: Proof.PROVEN, 2: Proof.DURABLE}
    assert [(point.commit_number, point.event) for point in ledger.recovery_points()] == before
    keys = ledger.plan_drill(plan(kind=DrillKind.KEY, promised=Promised()))
    ledger.declare_drill(keys.id, AT)
    assert ledger.end_drill(keys.id, end(point=None)).judgement.verdict is Verdict.PROVEN
    assert ledger.proven_through() == {"home": AT - HOUR}
    assert ledger.verify().ok


def test_what_drills_have_shown_is_summed_up(ledger):
    """Instant and RTO of the newest sound one stay when a later one fails, which is told beside."""

    def one(policy, **fields):
        planned = ledger.plan_drill(plan(policy=policy))
        ledger.declare_drill(planned.id, AT)
        return ledger.end_drill(planned.id, end(**fields))

    one("home", achieved_rpo=None)  # not measured, so no proof
    assert ledger.shown_by_drills()["home"].through is None
    one("home")
    shown = ledger.shown_by_drills()["home"]
    assert (shown.through, shown.rto) == (AT - HOUR, timedelta(seconds=12))
    assert shown.ended == {Verdict.INVALID: AT + HOUR, Verdict.PROVEN: AT + HOUR}
    assert (shown.unproven, shown.broken, shown.caught_at) == (None, None, AT + HOUR)
    failed = one("home", restored=False, failure="pack is gone")
    one("home", scratch_failure="disk is full")
    one("shop", scratch_failure="disk is full")
    shown = ledger.shown_by_drills()
    assert (shown["shop"].through, shown["shop"].unproven) == (None, None)
    assert (shown["home"].through, shown["home"].rto) == (AT - HOUR, timedelta(seconds=12))
    unproven = shown["home"].unproven
    assert (unproven.drill, unproven.verdict) == (failed.id, Verdict.FAILED)
    assert unproven.reason == "pack is gone"
    assert set(ledger.newest_drills()) == {"home", "shop"}
    assert ledger.verify().ok
    ledger.rebuild_projections()
    assert ledger.shown_by_drills() == shown


def test_drills_that_say_nothing_are_counted_until_one_says_something(ledger):
    """How many in a row, since when, and why the newest did; one that says anything ends it."""

    def one(at, **fields):
        planned = ledger.plan_drill(plan())
        ledger.declare_drill(planned.id, AT)
        ledger.end_drill(planned.id, end(ended_at=at, **fields))
        return planned.id, ledger.shown_by_drills()["home"].broken

    one(AT, scratch_failure="disk is full")
    newest, broken = one(AT + HOUR, scratch_failure="no room")
    assert broken == Broken(2, AT, newest, "no room")
    assert one(AT + 2 * HOUR, restored=False, failure="pack is gone")[1] is None
    assert one(AT + 3 * HOUR, scratch_failure="no room")[1].count == 1


def test_a_planted_fault_that_was_caught_is_dated(ledger):
    """By the newest drill that caught all that was planted; one that missed any does not count."""
    caught = end().controls
    missed = (*caught, ControlResult("truncated-file", Outcome.FAILED))
    for hours, controls in ((1, caught), (2, missed), (3, ())):
        planned = ledger.plan_drill(plan())
        ledger.declare_drill(planned.id, AT)
        ledger.end_drill(planned.id, end(ended_at=AT + hours * HOUR, controls=controls))
    assert ledger.shown_by_drills()["home"].caught_at == AT + HOUR


def test_what_a_status_foretells_is_what_the_next_drill_writes_down(ledger):
    """From the kept sums and from all phases of all drills follows the same, whatever they took; of
    more drills than count, the newest; a drill of another kind or without an RTO is none of them."""
    chance = random.Random(5)
    for number in range(COSTS_KEPT + 3):
        kind = DrillKind.BARE if number % 9 == 4 else DrillKind.RESTORE
        planned = ledger.plan_drill(plan(kind=kind))
        ledger.declare_drill(planned.id, AT)
        size = chance.randrange(10**6, 10**7)
        point = Restored("c0ffee", number, AT - HOUR, None, size, 2000, 7)
        until = Phase.RESTORED if number % 7 == 3 else Phase.TORN_DOWN
        took = timeline(each_s=chance.uniform(1, 3), until=until)
        ledger.end_drill(planned.id, end(point=point, timeline=took))
        shown = ledger.shown_by_drills()["home"]
        history = measured(ledger.drills("home", limit=99, ended=True), DrillKind.RESTORE)
        for today in (10**6, 10**8):
            assert predict_spelt(shown.costs, today) == predict(history, today)
    assert predict_spelt(shown.costs, 1).drills > 10
    assert COSTS_KEPT == MOST_HISTORY


@pytest.mark.parametrize(
    "wrong",
    [
        lambda ledger, drill: ledger.declare_drill(drill + 1, AT),
        lambda ledger, drill: ledger.end_drill(drill, end()),
        lambda ledger, drill: ledger.plan_drill(plan(parent=drill + 1)),
        lambda ledger, _: ledger.plan_drill(plan(run="0" * 16)),
        lambda ledger, _: ledger.plan_drill(plan(checkpoint_size=99)),
        lambda ledger, drill: ledger.record_key_drill(KeyDrill(**KEY_DRILL, drill=drill + 1)),
        lambda ledger, drill: ledger.open_action("x", "y", incident_id=drill),
        lambda ledger, _: ledger.close_incident(99, AT),
        lambda ledger, _: ledger.close_action(99, "done"),
        lambda ledger, _: ledger.drill(99),
    ],
    ids=[
        *("unplanned", "undeclared", "part of nothing", "run", "checkpoint ahead", "key drill"),
        *("action", "incident", "no action", "no drill"),
    ],
)
def test_what_cannot_follow_is_refused(ledger, wrong):
    """Ends without a declaration, parts of nothing, ends of what never began: nothing is written."""
    planned = ledger.plan_drill(plan())
    with pytest.raises(LedgerError):
        wrong(ledger, planned.id)
    assert len(ledger.events()) == 2
    assert ledger.verify().ok


KEY_DRILL = {
    "repository": "c0ffee",
    "recipient": "age1pq1xyz",
    "role": "recovery",
    "opened": True,
    "checked_at": AT,
}


def test_a_drill_ends_once(ledger):
    """Neither the declaration nor the end can be told twice."""
    planned = ledger.plan_drill(plan())
    ledger.declare_drill(planned.id, AT)
    with pytest.raises(LedgerError):
        ledger.declare_drill(planned.id, AT + SECOND)
    ledger.end_drill(planned.id, end())
    with pytest.raises(LedgerError):
        ledger.end_drill(planned.id, end())
    assert ledger.verify().ok


def test_a_drill_that_never_began_still_has_its_verdict(ledger):
    """What was refused before the declaration is recorded, with nothing restored and nothing measured."""
    planned = ledger.plan_drill(plan())
    nothing = end(
        timeline=None, point=None, restored=False, failure="no point", probes=(), controls=()
    )
    ended = ledger.end_drill(planned.id, nothing)
    assert ended.end == nothing
    assert ended.judgement.verdict is Verdict.FAILED


def test_incidents_are_open_once_and_remember_the_worst(ledger):
    """Of a policy and kind one incident is open; what was worst stays; it closes once."""
    first = ledger.open_incident(
        IncidentKind.RPO_VIOLATED, "home", AT, cause="host down", worst=HOUR
    )
    again = ledger.open_incident(IncidentKind.RPO_VIOLATED, "home", AT + HOUR)
    other = ledger.open_incident(IncidentKind.RPO_VIOLATED, "shop", AT)
    assert again == first
    assert ledger.open_incidents() == [first, other]
    closed = ledger.close_incident(first.id, AT + HOUR, worst=SECOND)
    assert (closed.ended_at, closed.worst, closed.cause) == (AT + HOUR, HOUR, "host down")
    assert ledger.close_incident(first.id, AT) == closed
    assert ledger.incidents() == [other, closed]
    assert ledger.open_incident(IncidentKind.RPO_VIOLATED, "home", AT).id > other.id


def test_actions_are_opened_and_closed(ledger):
    """Who does what until when about which drill, and what came of it."""
    drill = ledger.plan_drill(plan())
    action = ledger.open_action("more disk", "ops", due_at=AT, policy="home", drill_id=drill.id)
    closed = ledger.close_action(action.id, "ordered")
    assert (closed.title, closed.owner, closed.due_at) == ("more disk", "ops", AT)
    assert (closed.drill, closed.outcome) == (drill.id, "ordered")
    assert closed.closed_at is not None
    assert ledger.actions() == [closed]
    with pytest.raises(LedgerError, match="closed already"):
        ledger.close_action(action.id, "again")


def test_key_drills_are_kept(ledger):
    """Which recipient opened what, in which drill."""
    made = KeyDrill(**KEY_DRILL, took=SECOND, detail="canary opened")
    ledger.record_key_drill(made)
    (found,) = ledger.key_drills()
    assert found.took == SECOND
    assert (found.recipient, found.opened) == ("age1pq1xyz", True)


def test_a_checkpoint_is_signed_for_the_chain_as_it_is(ledger):
    """Size and root are those of the events' hashed bytes, computed anew or from the last one."""
    for seed in (1, 2, 3):
        signed = ledger.sign(KEY)
        found = open_checkpoint(signed.note, ledger.origin(), KEYS)
        leaves = [leaf_hash(hashed_bytes(event)) for event in ledger.events(limit=10**6)]
        assert (found.size, found.root) == (len(leaves), root_of(leaves))
        assert ledger.sign(KEY) == signed  # nothing new: nothing is signed
        assert ledger.newest_checkpoint(KEYS) == found
        assert ledger.verify([found]).ok
        be_drilled(ledger, random.Random(seed), "home", 1)
    assert [each.size for each in ledger.checkpoints()] == sorted(
        (each.size for each in ledger.checkpoints()), reverse=True
    )
    with pytest.raises(IntegrityError):
        ledger.newest_checkpoint([SigningKey(bytes(32)).verify_key])


def recompute(path, change):
    """Change the history and link every event anew, as somebody who knows how it is done."""
    with ledger_at(path) as ledger:
        old = ledger.events(limit=10**6)
    new, prev = [], bytes(32)
    for event in change(old):
        new.append(link(len(new) + 1, prev, event.at, kind=event.kind, body=event.body))
        prev = new[-1].hash
    rows = ", ".join(
        f"({e.seq}, '{e.at}', '{e.kind}', '{e.body}', x'{e.prev.hex()}', x'{e.hash.hex()}')"
        for e in new
    )
    behind_its_back(
        path,
        *(f"DELETE FROM {table}" for table in DRILL_TABLES),
        "DELETE FROM event",
        f"INSERT INTO event VALUES {rows}",
        f"UPDATE head SET seq = {len(new)}, hash = x'{prev.hex()}'",
    )
    with ledger_at(path) as ledger:
        ledger.rebuild_projections()
        assert ledger.verify().ok  # the chain alone does not tell


DRILL_TABLES = (
    *("key_drill", "corrective_action", "incident", "probe", "phase", "drill"),
    *("notification", "alarm", "policy", "verification", "recovery_point", "run"),
)


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events[:-1],
        lambda events: [*events[:-2], events[-1]],
        lambda events: [*events[:-2], events[-1], events[-2]],
        lambda events: [
            *events[:-1],
            link(
                0, b"", events[-1].at, kind=events[-1].kind, body=events[-1].body.replace("7", "8")
            ),
        ],
    ],
    ids=["shorter", "deleted", "reordered", "edited"],
)
def test_a_recomputed_chain_is_found_by_a_checkpoint(tmp_path, change):
    """A history computed anew in full, with tables to match, is not the one that was signed."""
    path = tmp_path / "state" / "ledger.sqlite"
    with ledger_at(path) as ledger:
        for number in (1, 2, 3):
            ledger.record_recovery_point(recovery_point(number + 70))
        signed = open_checkpoint(ledger.sign(KEY).note, ledger.origin(), KEYS)
    recompute(path, change)
    with ledger_at(path) as ledger:
        (finding,) = ledger.verify([signed]).findings
        assert "checkpoint" in finding


def test_nothing_is_signed_for_a_damaged_chain(tmp_path):
    """An end that does not follow is not made evidence of."""
    path = tmp_path / "state" / "ledger.sqlite"
    with ledger_at(path) as ledger:
        ledger.record_recovery_point(recovery_point(1))
        behind_its_back(path, "UPDATE event SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 2")
        with pytest.raises(LedgerError, match="damaged"):
            ledger.sign(KEY)
