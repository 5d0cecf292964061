"""What a drill proves: the rules that judge what it has left."""

from datetime import timedelta
from typing import Final

import msgspec

from drkeeper.model.drill import (
    NOTHING_PROMISED,
    ControlResult,
    Outcome,
    ProbeResult,
    Promised,
    Verdict,
)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that a verdict rests on.

    Attributes:
        promised: What the drill is held to (:func:`held_to`).
        restored: Whether the restore came to its end.
        failure: Why not, in words.
        scratch_failure: What went wrong with the scratch environment, in words; empty when nothing.
        expected_end: Position computed from the catalogue before the restore; empty where the source
            has none.
        reached_end: Position at which the restored data stands.
        probes: Questions to the restored data.
        controls: Questions to damaged copies of it.
        achieved_rpo: Age of the restored data at the declaration, if it is known.
        achieved_rto: From the declaration to the last probe passed, if it came to that.
    """

    promised: Promised = NOTHING_PROMISED
    restored: bool = True
    failure: str = ""
    scratch_failure: str = ""
    expected_end: str = ""
    reached_end: str = ""
    probes: tuple[ProbeResult, ...] = ()
    controls: tuple[ControlResult, ...] = ()
    achieved_rpo: timedelta | None = None
    achieved_rto: timedelta | None = None


class Judgement(msgspec.Struct, frozen=True):
    """A verdict and why.

    Attributes:
        verdict: How the drill ended.
        reason: One sentence without a full stop; empty for ``PROVEN``.
    """

    verdict: Verdict
    reason: str = msgspec.field(default="")


def verdict_of(evidence: Evidence) -> Judgement:
    """Judge a drill by the first of ``RULES`` that has something to say.

    Bad news about the backup comes before bad news about the drill: wrong data stays wrong
    whatever else broke. That something broke comes before what is good.
    """
    for verdict, rule in RULES:
        reason = rule(evidence)
        if reason:
            return Judgement(verdict, reason)
    return Judgement(Verdict.PROVEN)


def _wrong_data(evidence: Evidence) -> str:
    return _first("probe", evidence.probes, Outcome.FAILED)


def _broken(evidence: Evidence) -> str:
    return evidence.scratch_failure or _first("probe", evidence.probes, Outcome.BROKEN)


def _not_restored(evidence: Evidence) -> str:
    return "" if evidence.restored else evidence.failure or "restore did not come to its end"


def _elsewhere(evidence: Evidence) -> str:
    if evidence.reached_end == evidence.expected_end:
        return ""
    reached = evidence.reached_end or "an unknown position"
    return f"restore ended at {reached}, not at {evidence.expected_end or 'a position it has not'}"


def _not_asked(evidence: Evidence) -> str:
    return "" if evidence.probes else "no probe was run"


def _control_broken(evidence: Evidence) -> str:
    found = (each for each in evidence.controls if each.outcome is Outcome.BROKEN)
    return next((f"negative control {each.fault} could not be run" for each in found), "")


def _blind(evidence: Evidence) -> str:
    if not evidence.controls:
        return "no negative control was run"
    found = (each for each in evidence.controls if each.outcome is Outcome.FAILED)
    return next((f"planted fault {each.fault} was not caught" for each in found), "")


def _not_measured(evidence: Evidence) -> str:
    promised = evidence.promised
    if promised.rpo is not None and evidence.achieved_rpo is None:
        return "age of the restored data is not known"
    if promised.rto is not None and evidence.achieved_rto is None:
        return "time to the last probe is not known"
    return ""


def _too_old(evidence: Evidence) -> str:
    missed = _missed("RPO", evidence.achieved_rpo, evidence.promised.rpo)
    return missed or _first("policy", evidence.probes, Outcome.TOO_OLD)


def _too_slow(evidence: Evidence) -> str:
    missed = _missed("RTO", evidence.achieved_rto, evidence.promised.rto)
    return missed or _first("policy", evidence.probes, Outcome.TOO_SLOW)


RULES: Final = (
    (Verdict.UNSOUND, _wrong_data),
    (Verdict.INCONCLUSIVE, _broken),
    (Verdict.FAILED, _not_restored),
    (Verdict.FAILED, _elsewhere),
    (Verdict.INVALID, _not_asked),
    (Verdict.INVALID, _blind),
    (Verdict.INCONCLUSIVE, _control_broken),
    (Verdict.INVALID, _not_measured),
    (Verdict.TOO_OLD, _too_old),
    (Verdict.TOO_SLOW, _too_slow),
)
"""Which verdict, and the rule that gives a reason for it; the first reason counts."""


def _first(what: str, results: tuple[ProbeResult, ...], outcome: Outcome) -> str:
    found = [each for each in results if each.outcome is outcome]
    if not found:
        return ""
    one = found[0]
    words = f"{what} {one.name} {_IN_WORDS[outcome]}"
    if one.expected or one.found:
        words += f": expected {one.expected or 'nothing'}, found {one.found or 'nothing'}"
    return words if len(found) == 1 else f"{words} (and {len(found) - 1} more)"


_IN_WORDS: Final = {
    Outcome.FAILED: "failed",
    Outcome.BROKEN: "could not be run",
    Outcome.TOO_OLD: "was too old",
    Outcome.TOO_SLOW: "took too long",
}


def _missed(name: str, achieved: timedelta | None, promised: timedelta | None) -> str:
    if promised is None or achieved is None or achieved <= promised:
        return ""
    return f"achieved {name} of {_seconds(achieved)} s, promised {_seconds(promised)} s"


def _seconds(span: timedelta) -> str:
    """Spell seconds exactly: a miss by a microsecond must not read as a hit."""
    return f"{span.total_seconds():.6f}".rstrip("0").rstrip(".")
