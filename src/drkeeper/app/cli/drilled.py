"""A drill as people read it, and as facts for JSON."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from drkeeper.app.cli.output import Output, safe_lines
from drkeeper.app.cli.text import safe, table
from drkeeper.app.wiring.drills import ADVICE
from drkeeper.model.drill import ControlResult, DrillKind, Outcome, Phase, ProbeResult, Verdict
from drkeeper.model.drill_record import Drill, DrillEnd
from drkeeper.model.instants import rfc3339
from drkeeper.model.quantities import format_duration, format_size

_WORDS: Final = {
    Phase.KEYS_OPENED: "keys opened",
    Phase.JOURNAL_READ: "journal read",
    Phase.MANIFEST_AUTHENTICATED: "manifest authenticated",
    Phase.FIRST_BYTE: "first content here",
    Phase.RESTORED: "restored",
    Phase.ENGINE_STARTED: "engine started",
    Phase.LOG_REPLAYED: "log replayed",
    Phase.PROBES_PASSED: "probes passed",
    Phase.TORN_DOWN: "controls run, torn down",
}
_WHOLE: Final = {DrillKind.MASS: "all at once", DrillKind.KEY: "keys"}
"""What a drill is of that is of no single policy."""
_SHORT_S: Final = 60.0


def tell_drill(output: Output, drill: Drill, *, run: str | None) -> None:
    """Say how a drill went: the verdict first, then what it rests on, then what to do."""
    output.summary({**drill_facts(drill), "run": run})
    for line in _lines(drill):
        output.say(safe_lines(line))
    verdict = drill.judgement.verdict if drill.judgement else Verdict.INCONCLUSIVE
    if not output.json and verdict in ADVICE:
        output.stderr(f"hint: {ADVICE[verdict]}")


def tell_part(output: Output, drill: Drill) -> None:
    """Say in one line how a part of a mass drill went."""
    output.item(drill_facts(drill))
    end, judgement = drill.end, drill.judgement
    if end is None or judgement is None:
        return
    reason = f": {safe(judgement.reason)}" if judgement.reason else ""
    rto = "" if end.achieved_rto is None else f", RTO {spell(end.achieved_rto)}"
    output.say(safe_lines(f"{drill.plan.policy}: {judgement.verdict.value.upper()}{reason}{rto}"))


def _lines(drill: Drill) -> Iterator[str]:
    end, judgement = drill.end, drill.judgement
    if end is None or judgement is None:
        return
    name = drill.plan.policy or _WHOLE[drill.plan.kind]
    reason = f": {safe(judgement.reason)}" if judgement.reason else ""
    yield f"{name}: {judgement.verdict.value.upper()}{reason}"
    if end.point is not None:
        size = format_size(end.point.plain_bytes)
        yield (
            f"  snapshot {end.point.commit_number} of {rfc3339(end.point.consistent_at)}, "
            f"{end.point.files} files, {size}; drill {drill.id}, in {end.scratch or 'no scratch'}"
        )
    yield from _phases(end)
    yield from _promises(drill, end)
    yield from _probes(end)
    yield from _controls(end)


def _phases(end: DrillEnd) -> Iterator[str]:
    if end.timeline is None or not end.timeline.reached:
        return
    took = end.timeline.took()
    rows = [("  phase", "took", "since the declaration")]
    rows.extend(
        (f"  {_WORDS[each.phase]}", spell(took[each.phase]), spell(each.elapsed))
        for each in end.timeline.reached
    )
    yield from table(rows)


def _promises(drill: Drill, end: DrillEnd) -> Iterator[str]:
    promised = drill.plan.promised
    if drill.plan.kind is DrillKind.KEY:
        return
    yield f"  RTO {_against(end.achieved_rto, promised.rto)}{_foretold(drill, end)}"
    if (
        drill.plan.kind is not DrillKind.MASS
    ):  # each part has one of its own, and the whole has none
        yield f"  RPO {_against(end.achieved_rpo, promised.rpo)}"


def _against(achieved: timedelta | None, promised: timedelta | None) -> str:
    said = "not reached" if achieved is None else f"achieved {spell(achieved)}"
    if promised is None:
        return f"{said}; nothing is promised"
    kept = achieved is not None and achieved <= promised
    return f"{said}, promised {format_duration(promised)}: {'kept' if kept else 'NOT KEPT'}"


def _foretold(drill: Drill, end: DrillEnd) -> str:
    prediction, scored = drill.plan.prediction, end.detail.get("prediction")
    if prediction is None:
        return ""
    hit = f", {scored['hit']}" if isinstance(scored, dict) else ""
    return f"; predicted {spell(prediction.low)} to {spell(prediction.high)}{hit}"


def _probes(end: DrillEnd) -> Iterator[str]:
    passed = sum(each.outcome is Outcome.PASSED for each in end.probes)
    yield f"  probes: {passed} of {len(end.probes)} passed"
    for each in end.probes:
        if each.outcome is not Outcome.PASSED:
            yield f"    {safe(each.name)} {each.outcome.value.upper()}"
            yield f"      expected {safe(each.expected) or 'nothing'}"
            yield f"      found    {safe(each.found) or 'nothing'}"


def _controls(end: DrillEnd) -> Iterator[str]:
    if not end.controls:
        yield "  negative controls: none was run"
        return
    yield "  negative controls:"
    for each in end.controls:
        if each.outcome is Outcome.PASSED:
            yield f"    {each.fault}: caught by {safe(', '.join(each.caught_by))}"
        else:
            yield f"    {each.fault}: {_uncaught(each)} ({safe(each.detail)})"


def _uncaught(control: ControlResult) -> str:
    return "NOT CAUGHT" if control.outcome is Outcome.FAILED else "could not be run"


def spell(span: timedelta) -> str:
    """Write a time that was measured: short ones to the hundredth of a second."""
    seconds = span.total_seconds()
    return f"{seconds:.2f} s" if abs(seconds) < _SHORT_S else format_duration(span)


def drill_facts(drill: Drill) -> dict[str, object]:
    """Return a drill for JSON; durations become seconds, instants RFC 3339."""
    plan, end, judgement = drill.plan, drill.end, drill.judgement
    facts: dict[str, object] = {
        "drill": drill.id,
        "policy": plan.policy,
        "kind": plan.kind.value,
        "at": plan.choice.value,
        "verdict": judgement.verdict.value if judgement else None,
        "reason": judgement.reason if judgement else None,
        "declared_at": drill.declared_at,
        "rpo_seconds": plan.promised.rpo,
        "rto_seconds": plan.promised.rto,
        "predicted_seconds": plan.prediction.expected if plan.prediction else None,
        "predicted_low_seconds": plan.prediction.low if plan.prediction else None,
        "predicted_high_seconds": plan.prediction.high if plan.prediction else None,
    }
    if end is None:
        return facts
    point, timeline = end.point, end.timeline
    return {
        **facts,
        "scratch": end.scratch,
        "snapshot": point.commit_number if point else None,
        "repository": point.repository if point else None,
        "consistent_at": point.consistent_at if point else None,
        "recoverable_through": point.recoverable_through if point else None,
        "files": point.files if point else None,
        "plain_bytes": point.plain_bytes if point else None,
        "read_bytes": point.read_bytes if point else None,
        "achieved_rto_seconds": end.achieved_rto,
        "achieved_rpo_seconds": end.achieved_rpo,
        "phases": [
            {
                "phase": each.phase.value,
                "reached_at": each.reached_at,
                "elapsed_seconds": each.elapsed,
            }
            for each in (timeline.reached if timeline else ())
        ],
        "probes": [_probe_facts(each) for each in end.probes],
        "controls": [
            {
                "fault": each.fault,
                "outcome": each.outcome.value,
                "caught_by": list(each.caught_by),
                "detail": each.detail,
            }
            for each in end.controls
        ],
        "restored": end.restored,
        "expected_end": end.expected_end,
        "reached_end": end.reached_end,
        "failure": end.failure,
        "scratch_failure": end.scratch_failure,
        "detail": dict(end.detail),
    }


def _probe_facts(probe: ProbeResult) -> dict[str, object]:
    return {
        "name": probe.name,
        "kind": probe.kind,
        "outcome": probe.outcome.value,
        "expected": probe.expected,
        "found": probe.found,
        "seconds": probe.took,
    }
