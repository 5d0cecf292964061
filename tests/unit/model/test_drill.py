"""How a drill is measured and judged."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from drkeeper.model.drill import (
    Choice,
    ControlResult,
    DrillKind,
    Outcome,
    Phase,
    PhaseTime,
    ProbeResult,
    Promised,
    Stopwatch,
    Timeline,
    Verdict,
    achieved_rpo,
    held_to,
)
from drkeeper.model.judging import Evidence, verdict_of

AT = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)

PASSED = ProbeResult("rows", "sql", Outcome.PASSED)
WRONG = ProbeResult("rows", "sql", Outcome.FAILED, "10 rows", "9 rows")
BROKEN = ProbeResult("rows", "sql", Outcome.BROKEN)
LATE = ProbeResult("shop", "drill", Outcome.TOO_SLOW)
OLD = ProbeResult("mail", "drill", Outcome.TOO_OLD)
CAUGHT = ControlResult("flipped-byte", Outcome.PASSED, ("rows",))
MISSED = ControlResult("flipped-byte", Outcome.FAILED)
GOOD = Evidence(
    promised=Promised(HOUR, HOUR),
    expected_end="0/3000060",
    reached_end="0/3000060",
    probes=(PASSED,),
    controls=(CAUGHT,),
    achieved_rpo=HOUR,
    achieved_rto=HOUR,
)


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({}, Verdict.PROVEN, ""),
        ({"promised": Promised(), "achieved_rpo": None}, Verdict.PROVEN, ""),
        (
            {"probes": (PASSED, WRONG)},
            Verdict.UNSOUND,
            "probe rows failed: expected 10 rows, found 9 rows",
        ),
        ({"scratch_failure": "scratch is full"}, Verdict.INCONCLUSIVE, "scratch is full"),
        ({"probes": (PASSED, BROKEN)}, Verdict.INCONCLUSIVE, "probe rows could not be run"),
        ({"probes": (PASSED, LATE)}, Verdict.TOO_SLOW, "policy shop took too long"),
        ({"probes": (LATE, OLD)}, Verdict.TOO_OLD, "policy mail was too old"),
        ({"restored": False, "failure": "pack is gone"}, Verdict.FAILED, "pack is gone"),
        ({"restored": False}, Verdict.FAILED, "restore did not come to its end"),
        (
            {"reached_end": "0/2000000"},
            Verdict.FAILED,
            "restore ended at 0/2000000, not at 0/3000060",
        ),
        ({"probes": ()}, Verdict.INVALID, "no probe was run"),
        ({"controls": ()}, Verdict.INVALID, "no negative control was run"),
        (
            {"controls": (CAUGHT, MISSED)},
            Verdict.INVALID,
            "planted fault flipped-byte was not caught",
        ),
        (
            {"controls": (replace(MISSED, outcome=Outcome.BROKEN),)},
            Verdict.INCONCLUSIVE,
            "negative control flipped-byte could not be run",
        ),
        ({"achieved_rpo": None}, Verdict.INVALID, "age of the restored data is not known"),
        ({"achieved_rto": None}, Verdict.INVALID, "time to the last probe is not known"),
        (
            {"achieved_rpo": HOUR + timedelta(microseconds=1)},
            Verdict.TOO_OLD,
            "achieved RPO of 3600.000001 s, promised 3600 s",
        ),
        ({"achieved_rto": 2 * HOUR}, Verdict.TOO_SLOW, "achieved RTO of 7200 s, promised 3600 s"),
    ],
)
def test_each_rule_has_its_verdict(changes, verdict, reason):
    """One thing wrong gives the verdict that is meant for it, and says why."""
    judged = verdict_of(replace(GOOD, **changes))
    assert (judged.verdict, judged.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"probes": (WRONG,), "scratch_failure": "full", "controls": ()}, Verdict.UNSOUND),
        ({"restored": False, "scratch_failure": "full"}, Verdict.INCONCLUSIVE),
        ({"restored": False, "probes": (), "controls": ()}, Verdict.FAILED),
        ({"controls": (MISSED,), "achieved_rpo": 2 * HOUR}, Verdict.INVALID),
        ({"controls": (MISSED, replace(CAUGHT, outcome=Outcome.BROKEN))}, Verdict.INVALID),
        ({"achieved_rpo": 2 * HOUR, "achieved_rto": 2 * HOUR}, Verdict.TOO_OLD),
    ],
)
def test_of_several_wrongs_the_worst_for_the_backup_is_said(changes, verdict):
    """Wrong data is said whatever else broke, and nothing is proven by blind probes."""
    assert verdict_of(replace(GOOD, **changes)).verdict is verdict


def test_sound_verdicts_are_those_whose_data_was_right():
    """Late or old, the data was shown to be restorable; in all other cases it was not."""
    sound = {verdict for verdict in Verdict if verdict.sound}
    assert sound == {Verdict.PROVEN, Verdict.TOO_OLD, Verdict.TOO_SLOW}


def test_an_old_point_is_not_held_to_the_rpo():
    """Only the newest point says what would be lost today; keys restore nothing."""
    promised = Promised(HOUR, HOUR)
    assert held_to(promised, DrillKind.RESTORE, Choice.LATEST) == promised
    assert held_to(promised, DrillKind.RESTORE, Choice.RANDOM) == Promised(None, HOUR)
    assert held_to(promised, DrillKind.BARE, Choice.OLDEST) == Promised(None, HOUR)
    assert held_to(promised, DrillKind.KEY, Choice.LATEST) == Promised()


def test_time_is_measured_by_phases_that_add_up():
    """Each phase takes from the one before; the RTO ends with the last probe, before tearing down."""
    watch = Stopwatch(AT, 100.0)
    for each, at_s in zip(Phase, (101, 103, 103.5, 104, 110, 112, 113, 120, 160), strict=True):
        watch.reach(each, AT + SECOND, at_s)
    timeline = watch.timeline()
    took = timeline.took()
    assert took[Phase.RESTORED] == 6 * SECOND
    assert took[Phase.TORN_DOWN] == 40 * SECOND
    assert timeline.achieved_rto == 20 * SECOND
    assert sum((took[each] for each in Phase if each is not Phase.TORN_DOWN), timedelta()) == (
        timeline.achieved_rto
    )


def test_a_delay_shows_in_its_phase_and_in_the_rto():
    """A planted delay lengthens its own phase and the RTO by as much, and no other phase; one while
    tearing down lengthens neither."""

    def measured(slow=None):
        watch, now_s = Stopwatch(AT, 0.0), 0.0
        for each in Phase:
            now_s += 8 if each is slow else 1
            watch.reach(each, AT, now_s)
        return watch.timeline()

    usual = measured()
    for slow in Phase:
        slowed = measured(slow)
        assert slowed.took() == usual.took() | {slow: 8 * SECOND}
        longer = 0 * SECOND if slow is Phase.TORN_DOWN else 7 * SECOND
        assert slowed.achieved_rto == usual.achieved_rto + longer


def test_a_drill_that_never_passed_its_probes_has_no_rto():
    """An RTO is not made up from what was reached."""
    assert Timeline(AT, (PhaseTime(Phase.RESTORED, AT, SECOND),)).achieved_rto is None


@pytest.mark.parametrize(
    "reached",
    [
        [(Phase.RESTORED, 1), (Phase.FIRST_BYTE, 2)],
        [(Phase.RESTORED, 1), (Phase.RESTORED, 2)],
        [(Phase.FIRST_BYTE, 2), (Phase.RESTORED, 1)],
        [(Phase.FIRST_BYTE, -1)],
    ],
)
def test_phases_out_of_order_are_defects(reached):
    """Phases come once, in order, and time does not run backwards."""
    with pytest.raises(ValueError, match="phase"):
        Timeline(AT, tuple(PhaseTime(each, AT, s * SECOND) for each, s in reached))


def test_the_rpo_is_the_age_of_the_data():
    """It counts from what is recoverable by position, else from the point's instant; the future costs
    nothing."""
    assert achieved_rpo(AT, AT - HOUR) == HOUR
    assert achieved_rpo(AT, AT - HOUR, AT - SECOND) == SECOND
    assert achieved_rpo(AT, AT + SECOND) == timedelta()
