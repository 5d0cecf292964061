"""A run is due, or waits, or goes on for too long: the rules about what has not begun in time.

Source:
    docs/status.md, "What can be wrong", has a row for each rule.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from drkeeper.model.alarm import AlarmKind, Condition
from drkeeper.model.facts import PolicyFacts
from drkeeper.model.planner import Why, slots_of
from drkeeper.model.quantities import format_duration
from drkeeper.model.run import RunState
from drkeeper.model.telltale import condition_of, local
from drkeeper.model.windows import closed_until

GRACE: Final = timedelta(seconds=40)
"""How long after it was due a run may begin. Source: ours; a tick of 15 s, the start of a process,
and still less than the minute within which an absence is to be noticed."""
QUEUE_GRACE: Final = timedelta(minutes=10)
"""How long a run may wait for room, or go on beyond its successor, at least. Source: ours."""
_DUE = frozenset({Why.DUE, Why.MAKE_UP, Why.OBJECTIVE})
_TIMED = _DUE | {Why.WAITING}


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
        yield condition_of(facts, AlarmKind.PAUSED_PAST_END, message, hint, pause.until)
    elif last is None:
        message = f"its first run was due at {was_due}, and it has never run"
        yield condition_of(facts, AlarmKind.NEVER_RAN, message, hint, since)
    else:
        ran = f"its last run began at {local(facts, last.started_at)}"
        before = decision.missed - (decision.given_up is not None)
        more = f", like {before} before it" if before else ""
        message = f"a run was due at {was_due}{more}, and has not begun; {ran}"
        yield condition_of(facts, AlarmKind.OVERDUE, message, hint, since)


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
    yield condition_of(facts, AlarmKind.OVERDUE, message, hint, facts.now - (since_start - longest))


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
            yield condition_of(facts, AlarmKind.OVERDUE, message, hint, since)
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
        yield condition_of(facts, AlarmKind.OVERDUE, message, hint, following)
