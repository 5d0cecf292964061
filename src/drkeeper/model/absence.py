"""What can be wrong with a policy: one rule each, from facts alone.

Backups die of silence more often than of errors: nobody notices that something is not there. So
every way in which a backup can be absent has a rule here, which is entered, held and left by what
the ledger says and by the present instant, and never by what a rule said before.

A rule returns a condition whose message names the policy, with times in the policy's zone, and
whose hint is the command to type next.

Source:
    docs/status.md, "What can be wrong", has a row for each rule.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from drkeeper.model.alarm import AlarmKind, Condition
from drkeeper.model.facts import GOOD, PolicyFacts
from drkeeper.model.foreboding import drill_overdue, inconclusive, too_slow
from drkeeper.model.lateness import not_begun, waiting_too_long
from drkeeper.model.quantities import format_size
from drkeeper.model.run import Run, RunState
from drkeeper.model.shrinking import has_shrunk
from drkeeper.model.stake import at_stake
from drkeeper.model.telltale import condition_of, local

CUT_OFF: Final = 3
"""So many runs that were cut off one after the other are no accident. Source: ours."""

_SHRUNK_ERRORS = {
    "SourceEmptyError": AlarmKind.EMPTY,
    "SourceShrunkError": AlarmKind.SHRUNK,
}


def conditions_of(facts: PolicyFacts) -> list[Condition]:
    """Return everything that is wrong with a policy, the most urgent first."""
    found = [condition for rule in _RULES for condition in rule(facts)]
    return sorted(found, key=lambda condition: -condition.level.rank)


# ---------------------------------------------------------------- something has ended badly


def failing(facts: PolicyFacts) -> Iterator[Condition]:
    """The newest run failed; or several were cut off one after the other."""
    failed = [run for run in facts.since_good if run.state is RunState.FAILED]
    if not failed:
        yield from _cut_off(facts)
        return
    newest, first = failed[0], failed[-1]
    reason = newest.failure.message if newest.failure else "nobody knows why"
    own_hint = newest.failure.hint if newest.failure else None
    kind = _SHRUNK_ERRORS.get(newest.failure.kind if newest.failure else "", AlarmKind.FAILING)
    times = f" {len(failed)} times since {local(facts, _end(first))}, last" if failed[1:] else ""
    message = f"failed{times} at {local(facts, _end(newest))}: {reason}"
    shrunk = " --allow-shrink if that is right" if kind is not AlarmKind.FAILING else ""
    again = f"Run drkeeper backup {facts.policy.name}{shrunk}."
    hint = f"{own_hint} {again}" if own_hint and not shrunk else again
    yield condition_of(facts, kind, message, hint, _end(first))


def _cut_off(facts: PolicyFacts) -> Iterator[Condition]:
    if len(facts.since_good) < CUT_OFF:
        return
    first = facts.since_good[-1]
    message = f"{len(facts.since_good)} runs were cut off since {local(facts, first.started_at)}"
    hint = f"Run journalctl -u drkeeper, then drkeeper backup {facts.policy.name}."
    yield condition_of(facts, AlarmKind.FAILING, message, hint, _end(first))


def _end(run: Run) -> datetime:
    return run.ended_at or run.started_at


def warned(facts: PolicyFacts) -> Iterator[Condition]:
    """The newest run that ended could not read everything."""
    good = facts.last_good
    if good is None or good.state is not RunState.WARNINGS:
        return
    found = (
        _counted(_figure(good, "warnings"), "warning"),
        _counted(_figure(good, "failed_hooks"), "failed hook"),
    )
    things = " and ".join(each for each in found if each) or "warnings"
    message = f"its last run, of {local(facts, good.started_at)}, ended with {things}"
    hint = f"Run drkeeper backup {facts.policy.name}, which names what went wrong."
    yield condition_of(facts, AlarmKind.WARNINGS, message, hint, _end(good))


def _counted(count: int, thing: str) -> str:
    return "" if not count else f"one {thing}" if count == 1 else f"{count} {thing}s"


# ---------------------------------------------------------------- something is not what it was


def empty(facts: PolicyFacts) -> Iterator[Condition]:
    """The newest snapshot holds nothing, and nobody has said that this is right."""
    point, good = facts.point, facts.last_good
    if point is None or point.files or point.plain_bytes:
        return
    if good is not None and _is_believed(good):
        return
    message = f"its newest snapshot, of {local(facts, point.consistent_at)}, holds nothing"
    yield condition_of(facts, AlarmKind.EMPTY, message, _look_again(facts), point.finished_at)


def shrunk(facts: PolicyFacts) -> Iterator[Condition]:
    """The newest snapshot holds a tenth, or less, of what a recent one held."""
    good = [run for run in facts.backups if run.state in GOOD]
    if not good or _is_believed(good[0]):
        return
    files, size = _figure(good[0], "files"), _figure(good[0], "plain_bytes")
    most_files = most_bytes = 0
    for run in good[1:]:
        most_files = max(most_files, _figure(run, "files"))
        most_bytes = max(most_bytes, _figure(run, "plain_bytes"))
        if _is_believed(run):
            break  # somebody has said that what was there before is not missed
    lost = has_shrunk(files, size, before_files=most_files, before_bytes=most_bytes)
    if not lost or not (files or size):
        return
    message = (
        f"its newest snapshot, of {local(facts, good[0].started_at)}, holds {files} files, "
        f"{format_size(size)}; an earlier one held {most_files} files, {format_size(most_bytes)}"
    )
    yield condition_of(facts, AlarmKind.SHRUNK, message, _look_again(facts), _end(good[0]))


def _look_again(facts: PolicyFacts) -> str:
    return f"Run drkeeper diff {facts.policy.name}; if that is right, drkeeper backup --allow-shrink {facts.policy.name}."


def _figure(run: Run, name: str) -> int:
    value = run.result.get(name)
    return value if isinstance(value, int) else 0


def _is_believed(run: Run) -> bool:
    return run.result.get("shrink_allowed") is True


# ---------------------------------------------------------------- it does not come back


def unproven(facts: PolicyFacts) -> Iterator[Condition]:
    """The newest drill that says anything found that the policy does not come back, or proves nothing."""
    drill = facts.unproven
    if drill is None:
        return
    message = (
        f"drill {drill.drill}, of {local(facts, drill.ended_at)}, did not prove it: "
        f"{drill.verdict.value}: {drill.reason}"
    )
    hint = f"Run drkeeper drill {facts.policy.name}, which says what to do."
    yield condition_of(facts, AlarmKind.DRILL_NOT_PROVEN, message, hint, drill.ended_at)


# ---------------------------------------------------------------- nothing moves


def stalled(facts: PolicyFacts) -> Iterator[Condition]:
    """A run goes on, and has moved nothing for long, or has shown no sign of life."""
    run, lease = facts.running, facts.lease
    if run is None or lease is None or lease.run != run.id:
        return
    # Both by the clock of whoever runs; then by ours, in case nobody runs any more.
    still = max(lease.renewed_at - lease.moved_at, facts.now - lease.renewed_at)
    if still < facts.stalled_after:
        return
    message = (
        f"its run that began at {local(facts, run.started_at)} has moved nothing since "
        f"{local(facts, lease.moved_at)}"
    )
    hint = (
        f"Run kill {run.process.pid} on {run.process.host}, then drkeeper backup "
        f"{facts.policy.name}, which goes on where it was."
    )
    yield condition_of(facts, AlarmKind.CAPTURE_STALLED, message, hint, lease.moved_at)


_RULES: Final[tuple[Callable[[PolicyFacts], Iterator[Condition]], ...]] = (
    at_stake,
    not_begun,
    waiting_too_long,
    failing,
    stalled,
    empty,
    shrunk,
    unproven,
    too_slow,
    drill_overdue,
    inconclusive,
    warned,
)
