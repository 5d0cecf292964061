"""Sections about the promises: how long a restore takes, and how much would be lost."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from drkeeper.model.drill import Phase
from drkeeper.model.exposure import age_at
from drkeeper.model.instants import exact_rfc3339
from drkeeper.model.prediction import Measured, Prediction, outlook, predict, score
from drkeeper.reports.figures import figure, us
from drkeeper.reports.gaps import Point, Wait, waits
from drkeeper.reports.history import Record, instant
from drkeeper.reports.period import Period, is_sound


def rto(period: Period) -> dict[str, Any]:
    """Tell, by policy, what was promised, measured by phase, and is to be expected."""
    return {
        "policies": [_rto_of(period, name) for name in period.policies],
        "together": [
            _timed(each)
            for each in period.closed("drill")
            if each.body["policy"] is None and each.body["kind"] != "key" and _is_timed(each)
        ],
    }


def _rto_of(period: Period, policy: str) -> dict[str, Any]:
    promise = period.promise(policy)
    target = None if promise is None else promise.rto
    known = [e for e in period.history.of("drill", policy) if _is_timed(e)]
    mine = [each for each in known if each.last > period.before.size]
    sound = [each for each in mine if is_sound(each)]
    return {
        "policy": policy,
        "rto_us": us(target),
        "drills": [_timed(each) for each in mine],
        "measured": figure(sound, *(f"{how}_achieved_rto_us" for how in ("min", "median", "max"))),
        "trend": [
            figure(
                [each for each in known if is_sound(each) and first < each.last <= last],
                "median_achieved_rto_us",
                "max_achieved_rto_us",
                quarter=str(quarter),
            )
            for quarter, first, last in period.quarters()
        ],
        "prediction": _next(period, policy, [e for e in reversed(known) if is_sound(e)], target),
    }


def _is_timed(drill: Record) -> bool:
    return drill.body.get("achieved_rto_us") is not None


def _timed(drill: Record) -> dict[str, Any]:
    """Show one drill by phase, and how its prediction did."""
    foreseen, achieved = _prediction(drill), drill.span("achieved_rto_us")
    scored = None if foreseen is None or achieved is None else score(foreseen, achieved)
    return drill.row(
        *("declared_at", "kind", "choice", "verdict", "achieved_rto_us", "promised_rto_us"),
        *("plain_bytes", "phases", "predicted_low_us", "predicted_rto_us", "predicted_high_us"),
        drill=drill.key,
        took=[{"phase": phase.value, "span_us": us(span)} for phase, span in _took(drill).items()],
        foretold=None
        if scored is None
        else {"hit": scored.hit.value, "factor_percent": round(100 * scored.factor)},
    )


def _took(drill: Record) -> dict[Phase, timedelta]:
    """Return how long each phase took, up to the last probe."""
    reached = [(Phase(e["phase"]), e["elapsed_us"]) for e in drill.body["phases"]]
    starts = [0, *(elapsed for _, elapsed in reached)]
    return {
        phase: timedelta(microseconds=elapsed - start)
        for (phase, elapsed), start in zip(reached, starts, strict=False)
        if phase.place <= Phase.PROBES_PASSED.place
    }


def _prediction(drill: Record) -> Prediction | None:
    body = drill.body
    low, high = drill.span("predicted_low_us"), drill.span("predicted_high_us")
    expected = drill.span("predicted_rto_us")
    if low is None or high is None or expected is None:
        return None
    return Prediction(body["predicted_bytes"], low, expected, high, body["predicted_from"])


def _next(
    period: Period, policy: str, sound: Sequence[Record], target: timedelta | None
) -> dict[str, Any]:
    """Tell what a restore of the newest point would take now."""
    points = period.history.points.get(policy)
    newest = None if points is None else (points.events[-1], points.plain_bytes[-1])
    sound = [each for each in sound if each.body["kind"] == "restore"]
    measured = [Measured(_took(each), each.body["plain_bytes"] or 0) for each in sound]
    foreseen = None
    if newest is not None:
        foreseen = predict(measured, newest[1])
    used = list(sound[: 0 if foreseen is None else foreseen.drills])
    return {
        "events": sorted([*(each.last for each in used), *([newest[0]] if newest else [])]),
        "bytes": None if newest is None else newest[1],
        "from_drills": len(used),
        "low_us": foreseen and us(foreseen.low),
        "expected_us": foreseen and us(foreseen.expected),
        "high_us": foreseen and us(foreseen.high),
        "outlook": "no target" if target is None else outlook(foreseen, target).value,
    }


# ---------------------------------------------------------------- how much would be lost


def rpo(period: Period) -> dict[str, Any]:
    """Tell, by policy, how old the newest point was, at its worst and in the end."""
    return {"policies": [_rpo_of(period, name) for name in period.policies]}


def _rpo_of(period: Period, policy: str) -> dict[str, Any]:
    promise = period.promise(policy)
    target = None if promise is None else promise.rpo
    known = period.history.points.get(policy)
    points = [] if known is None else known.over_time()
    begin = max(period.begin, _since(period, policy, points))
    walk = list(waits(points, begin, period.until)) if begin < period.until else []
    worst = max(walk, key=lambda wait: wait.age, default=None)
    drills = [
        each
        for each in period.history.of("drill", policy)
        if is_sound(each) and each.body["consistent_at"] is not None
    ]
    return {
        "policy": policy,
        "rpo_us": us(target),
        "durable": _durable(points, period.until),
        "proven": _proven(drills, period.until),
        "worst": None if worst is None else _gap(worst),
        "violations": [] if target is None else [*_violations(period, policy, walk, target)],
        "drilled": figure(
            [e for e in drills if e.last > period.before.size and e.body["choice"] == "latest"],
            *("min_achieved_rpo_us", "median_achieved_rpo_us", "max_achieved_rpo_us"),
        ),
        "trend": [*_trend(period, policy, points)],
        "window": _window(points, period.until),
    }


def _since(period: Period, policy: str, points: Sequence[Point]) -> datetime:
    """Return since when somebody counts on a policy: since it was seen, or had its first point."""
    seen = [instant(each.since) for each in period.history.all("policy") if each.key == policy]
    known = [*seen, *(point.consistent_at for point in points)]
    return min(known, default=period.until)


def _durable(points: Sequence[Point], until: datetime) -> dict[str, Any] | None:
    there = [each for each in points if each.ready_at <= until]
    newest = max(there, key=lambda point: (point.consistent_at, point.event), default=None)
    if newest is None:
        return None
    return {
        "through": exact_rfc3339(newest.consistent_at),
        "age_us": us(age_at(newest.consistent_at, until)),
        "events": [newest.event],
    }


def _proven(drills: Sequence[Record], until: datetime) -> dict[str, Any] | None:
    shown = [(_shown(each), each.last) for each in drills]
    if not shown:
        return None
    through, event = max(shown)
    age = us(age_at(through, until))
    return {"through": exact_rfc3339(through), "age_us": age, "events": [event]}


def _shown(drill: Record) -> datetime:
    through = drill.instant("recoverable_through") or drill.instant("consistent_at")
    if through is None:
        raise ValueError("sound drill of no instant")
    return through


def _gap(wait: Wait) -> dict[str, Any]:
    return {
        "gap_us": us(wait.age),
        "from": exact_rfc3339(wait.newest),
        "to": exact_rfc3339(wait.until),
        "went_on": wait.after is None,
        "had_none": wait.before is None,
        "events": wait.events,
    }


def _violations(
    period: Period, policy: str, walk: Sequence[Wait], target: timedelta
) -> Iterator[dict[str, Any]]:
    """Find each stretch in which more was at stake than promised, and what is known of its cause."""
    for wait in walk:
        if wait.age > target:
            since = wait.newest + target
            yield _gap(wait) | {
                "violated_from": exact_rfc3339(max(since, period.begin)),
                "causes": _causes(period, policy, (wait.newest, wait.until)),
            }


def _causes(
    period: Period, policy: str, stretch: tuple[datetime, datetime]
) -> list[dict[str, Any]]:
    begin, end = stretch
    found = []
    for each in period.history.of("incident", policy):
        ended = each.instant("ended_at") or end
        began = each.instant("began_at")
        kind = each.body["kind"]
        if kind == "rpo-violated" and began is not None and began <= end and ended >= begin:
            found.append({"cause": each.body["cause"] or "not recorded", "events": each.events})
    for each in period.history.of("run", policy):
        ended_at = each.instant("ended_at")
        inside = ended_at is not None and begin <= ended_at <= end
        if (
            each.last > period.before.size
            and inside
            and each.body["state"] in {"failed", "interrupted", "skipped"}
        ):
            words = (each.body.get("failure") or {}).get("message", "no reason was recorded")
            why = f"{each.body['operation']} {each.body['state']}: {words}"
            found.append({"cause": why, "events": each.events})
    return found


def _trend(period: Period, policy: str, points: Sequence[Point]) -> Iterator[dict[str, Any]]:
    since = _since(period, policy, points)
    for quarter, first, last in period.quarters():
        end = min(quarter.end, period.until)
        begin = max(quarter.begin, since)
        known = [each for each in points if each.event <= last]
        walk = list(waits(known, begin, end)) if begin < end else []
        worst = max(walk, key=lambda wait: wait.age, default=None)
        made = sum(first < each.event <= last for each in points)
        yield {
            "quarter": str(quarter),
            "gap_us": None if worst is None else us(worst.age),
            "events": [] if worst is None else worst.events,
            "points": made,
        }


def _window(points: Sequence[Point], until: datetime) -> dict[str, Any] | None:
    """Tell from when to when there is something to go back to, and the longest way between."""
    there = sorted({e.consistent_at: e for e in points if e.ready_at <= until}.items())
    if not there:
        return None
    longest = max((b[0] - a[0] for a, b in pairwise(there)), default=timedelta())
    return {
        "oldest": exact_rfc3339(there[0][0]),
        "newest": exact_rfc3339(there[-1][0]),
        "points": len(there),
        "longest_us": us(longest),
        "events": sorted({there[0][1].event, there[-1][1].event}),
    }
