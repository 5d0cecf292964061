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
from datetime import datetime, timedelta
from typing import Final

from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.exposure import age_at
from drkeeper.model.facts import GOOD, PolicyFacts
from drkeeper.model.instants import local_text
from drkeeper.model.planner import Why, slots_of
from drkeeper.model.quantities import format_duration, format_size
from drkeeper.model.run import Run, RunState
from drkeeper.model.windows import closed_until

GRACE: Final = timedelta(seconds=40)
"""How long after it was due a run may begin. Source: ours; a tick of 15 s, the start of a process,
and still less than the minute within which an absence is to be noticed."""
QUEUE_GRACE: Final = timedelta(minutes=10)
"""How long a run may wait for room, or go on beyond its successor, at least. Source: ours."""
AT_RISK: Final = 0.8
"""Part of an objective that is used up when it is at risk. Source: docs/status.md."""
SHRUNK_TO: Final = 10
SHRINKABLE_FILES: Final = 10
SHRINKABLE_BYTES: Final = 1024 * 1024
"""A source that has lost nine tenths of so many files or bytes is suspected, as by a backup."""
CUT_OFF: Final = 3
"""So many runs that were cut off one after the other are no accident. Source: ours."""

_SHRUNK_ERRORS = {
    "SourceEmptyError": AlarmKind.EMPTY,
    "SourceShrunkError": AlarmKind.SHRUNK,
}
_DUE = frozenset({Why.DUE, Why.MAKE_UP, Why.OBJECTIVE})
_TIMED = _DUE | {Why.WAITING}


def conditions_of(facts: PolicyFacts) -> list[Condition]:
    """Return everything that is wrong with a policy, the most urgent first."""
    found = [condition for rule in _RULES for condition in rule(facts)]
    return sorted(found, key=lambda condition: -condition.level.rank)


def subject_of(facts: PolicyFacts) -> Subject:
    """Name the policy."""
    return Subject("policy", facts.policy.name)


def local(facts: PolicyFacts, instant: datetime) -> str:
    """Write an instant as a clock on the policy's wall shows it."""
    return local_text(instant.replace(microsecond=0), facts.policy.zone)


def _condition(  # noqa: PLR0917 - the attributes of a condition, in their order
    facts: PolicyFacts, kind: AlarmKind, message: str, hint: str, since: datetime
) -> Condition:
    words = f"policy {facts.policy.name}: {message}"
    return Condition(kind, subject_of(facts), words, hint, since)


# ---------------------------------------------------------------- nothing has begun


def due_since(facts: PolicyFacts) -> datetime | None:
    """Return since when a run is due that nobody has begun; ``None`` when nothing is.

    Not before the policy said so, the run before it ended, or a closed window opened.
    """
    slot = _open_slot(facts)
    if slot is None or facts.open is not None:
        return None
    limits, pause = facts.policy.limits, facts.policy.pause
    if limits.closed and closed_until(limits.closed, facts.policy.zone, facts.now - GRACE):
        return None  # the window has only just opened
    # What lies in the future was recorded by a clock that was set back since.
    ended = facts.backups[0].ended_at if facts.backups else None
    known = facts.changed_at or facts.first_seen_at
    paused = pause.until if pause else None
    times = (slot, ended, known, paused)
    return max((each for each in times if each and each <= facts.now), default=facts.now)


def _open_slot(facts: PolicyFacts) -> datetime | None:
    """Return the first slot that no run has begun for.

    One that is given up is open as long as the ledger does not say so: nobody may be there to
    write it.
    """
    decision = facts.decision
    newest = decision.given_up or decision.slot
    if newest is None or (decision.given_up is None and decision.why not in _DUE):
        return None
    last = facts.backups[0].started_at if facts.backups else facts.first_seen_at
    slots = slots_of(facts.policy)
    if slots is None:
        # Without a recovery point it is due at each instant anew.
        return newest if facts.point else facts.first_seen_at
    if decision.missed and last is not None:
        return min(newest, slots.next(last))
    return newest


def not_begun(facts: PolicyFacts) -> Iterator[Condition]:
    """A run is due, and nobody begins it: overdue, past the end of a pause, or for the first time."""
    since = due_since(facts)
    if since is None or facts.now - since < GRACE:
        yield from _late_by_its_own_clock(facts)
        return
    decision = facts.decision
    name = facts.policy.name
    was_due = local(facts, decision.given_up or decision.slot or since)
    hint = f"Run systemctl status drkeeper, then drkeeper backup {name}."
    pause = facts.policy.pause
    last = facts.begun[0] if facts.begun else None
    if pause is not None and since <= pause.until and (not last or last.started_at < pause.until):
        message = f"its pause ended at {local(facts, pause.until)}, and nothing has run since"
        yield _condition(facts, AlarmKind.PAUSED_PAST_END, message, hint, pause.until)
    elif last is None:
        message = f"its first run was due at {was_due}, and it has never run"
        yield _condition(facts, AlarmKind.NEVER_RAN, message, hint, since)
    else:
        ran = f"its last run began at {local(facts, last.started_at)}"
        before = decision.missed - (decision.given_up is not None)
        more = f", like {before} before it" if before else ""
        message = f"a run was due at {was_due}{more}, and has not begun; {ran}"
        yield _condition(facts, AlarmKind.OVERDUE, message, hint, since)


def _late_by_its_own_clock(facts: PolicyFacts) -> Iterator[Condition]:
    """A clock that nobody sets says that a run is due, when the wall clock was set back."""
    longest, since_start = facts.expected_interval, facts.since_start
    if longest is None or since_start is None or facts.open is not None or facts.is_paused:
        return
    if since_start < longest + GRACE or facts.decision.why not in _TIMED or not facts.begun:
        return
    if facts.now - facts.begun[0].started_at >= since_start - GRACE:
        return  # the wall clock agrees: what is not due by it was left out for a reason
    message = (
        f"nothing has begun for {format_duration(since_start)}, though its schedule leaves at most "
        f"{format_duration(longest)}; the wall clock was set back meanwhile"
    )
    hint = f"Set the clock by NTP, then run drkeeper backup {facts.policy.name}."
    yield _condition(facts, AlarmKind.OVERDUE, message, hint, facts.now - (since_start - longest))


def waiting_too_long(facts: PolicyFacts) -> Iterator[Condition]:
    """A run waits for room, or goes on, while the schedule goes by: overdue, too."""
    run = facts.open
    if run is None:
        return
    name = facts.policy.name
    grace = max(QUEUE_GRACE, (facts.expected_interval or timedelta()) / 10)
    if run.state is RunState.QUEUED:
        since = run.queued_at or run.started_at
        if facts.now - since >= grace:
            message = f"its run has waited for room since {local(facts, since)}"
            hint = f"Run systemctl status drkeeper, or drkeeper backup {name} to run it beside."
            yield _condition(facts, AlarmKind.OVERDUE, message, hint, since)
        return
    slots = slots_of(facts.policy)
    if slots is None:
        return
    following = slots.next(run.started_at)
    if facts.now - following >= grace:
        message = (
            f"a run was due at {local(facts, following)}, and the one that began at "
            f"{local(facts, run.started_at)} still goes on"
        )
        hint = f"Run drkeeper plan {name}, and give the policy a schedule that leaves it time."
        yield _condition(facts, AlarmKind.OVERDUE, message, hint, following)


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
    yield _condition(facts, kind, message, hint, _end(first))


def _cut_off(facts: PolicyFacts) -> Iterator[Condition]:
    if len(facts.since_good) < CUT_OFF:
        return
    first = facts.since_good[-1]
    message = f"{len(facts.since_good)} runs were cut off since {local(facts, first.started_at)}"
    hint = f"Run journalctl -u drkeeper, then drkeeper backup {facts.policy.name}."
    yield _condition(facts, AlarmKind.FAILING, message, hint, _end(first))


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
    hint = f"Run drkeeper backup {facts.policy.name}, which names what could not be read."
    yield _condition(facts, AlarmKind.WARNINGS, message, hint, _end(good))


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
    yield _condition(facts, AlarmKind.EMPTY, message, _look_again(facts), point.finished_at)


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
    lost_files = most_files >= SHRINKABLE_FILES and files * SHRUNK_TO <= most_files
    lost_bytes = most_bytes >= SHRINKABLE_BYTES and size * SHRUNK_TO <= most_bytes
    if not (files or size) or not (lost_files or lost_bytes):
        return
    message = (
        f"its newest snapshot, of {local(facts, good[0].started_at)}, holds {files} files, "
        f"{format_size(size)}; an earlier one held {most_files} files, {format_size(most_bytes)}"
    )
    yield _condition(facts, AlarmKind.SHRUNK, message, _look_again(facts), _end(good[0]))


def _look_again(facts: PolicyFacts) -> str:
    return f"Run drkeeper diff {facts.policy.name}; if that is right, drkeeper backup --allow-shrink {facts.policy.name}."


def _figure(run: Run, name: str) -> int:
    value = run.result.get(name)
    return value if isinstance(value, int) else 0


def _is_believed(run: Run) -> bool:
    return run.result.get("shrink_allowed") is True


# ---------------------------------------------------------------- too much is at stake


def point_age(facts: PolicyFacts) -> timedelta | None:
    """Return the age of what could be restored now: by the wall clock, or by the one nobody sets.

    The greater of the two, since a clock that was set back makes old data look new. Before the
    first recovery point, the time since the policy was first seen. ``None`` when nobody knows.
    """
    since = facts.point.consistent_at if facts.point else facts.first_seen_at
    if since is None:
        return None
    return max(age_at(since, facts.now), facts.since_point or _since_last_start(facts))


def _since_last_start(facts: PolicyFacts) -> timedelta:
    """Return the least age that the last start, by a clock that nobody sets, leaves to the point."""
    good = facts.last_good
    if (
        facts.since_start is None
        or facts.point is None
        or good is None
        or good.id != facts.point.run
    ):
        return timedelta()
    # Its data is of a little after its start; a run that began later makes the point older only.
    return facts.since_start - age_at(good.started_at, facts.point.consistent_at)


def at_stake(facts: PolicyFacts) -> Iterator[Condition]:
    """The newest recovery point is older than the objective allows, or will soon be."""
    rpo, age = facts.policy.objectives.rpo, point_age(facts)
    if rpo is None or age is None or age < rpo * AT_RISK:
        return
    name, violated = facts.policy.name, age >= rpo
    if not violated and _in_time(facts, rpo - age):
        return
    newest = (
        f"its newest recovery point, of {local(facts, facts.point.consistent_at)},"
        if facts.point
        else f"it has no recovery point, and since {local(facts, facts.now - age)}"
    )
    verb = "is" if facts.point else "all is at stake for"
    allowed = format_duration(rpo)
    told = "more than the RPO of" if violated else "80 % of the RPO of"
    message = (
        f"{newest} {verb} {format_duration(age)}{' old' if facts.point else ''}, {told} {allowed}"
    )
    if facts.is_paused and facts.policy.pause is not None:
        message += f"; it is paused until {local(facts, facts.policy.pause.until)}"
    kind = AlarmKind.RPO_VIOLATED if violated else AlarmKind.RPO_AT_RISK
    began = facts.now - age + (rpo if violated else rpo * AT_RISK)
    yield _condition(facts, kind, message, f"Run drkeeper backup {name}.", began)


def _in_time(facts: PolicyFacts, left: timedelta) -> bool:
    """Whether nothing speaks against a new recovery point before the time that is left is over.

    A daily schedule under an RPO of 26 hours uses 92 % of it on every good day: only what will
    probably not be in time is at risk.
    """
    if facts.since_good or facts.is_paused:
        return False
    wait = _time_to_a_point(facts)
    return wait is not None and wait <= left


def _time_to_a_point(facts: PolicyFacts) -> timedelta | None:
    """Return how long it takes until there is a new one, if all goes as usual."""
    took = facts.expected_duration
    if facts.running is not None:
        so_far = age_at(facts.running.started_at, facts.now)
        return took - so_far if so_far <= took else None
    if facts.open is not None:
        return took
    since = due_since(facts)
    begins = facts.decision.slot or facts.decision.next_at
    if begins is None or (since is not None and facts.now - since >= GRACE):
        return None
    return max(begins - facts.now, timedelta()) + took


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
    yield _condition(facts, AlarmKind.CAPTURE_STALLED, message, hint, lease.moved_at)


_RULES: Final[tuple[Callable[[PolicyFacts], Iterator[Condition]], ...]] = (
    at_stake,
    not_begun,
    waiting_too_long,
    failing,
    stalled,
    empty,
    shrunk,
    warned,
)
