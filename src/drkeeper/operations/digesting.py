"""The digest: once a day, how all policies stand, whether anything is wrong or not."""

from datetime import datetime
from zoneinfo import ZoneInfo

from drkeeper.model.alarm import Condition, Level
from drkeeper.model.exposure import age_at
from drkeeper.model.instants import local_text
from drkeeper.model.quantities import format_duration
from drkeeper.model.status import Overview, PolicyStatus
from drkeeper.notify.base import Message, Occasion
from drkeeper.operations.phrases import (
    MOST_LINES,
    NOTHING,
    Voice,
    bounded,
    fingerprint,
    hint_of,
    named,
    sentence,
    short,
)


def digest(overview: Overview, voice: Voice) -> Message:
    """Tell how all policies stand."""
    policies = sorted(overview.policies, key=lambda each: (_good(each), each.policy))
    bad = [each for each in policies if not _good(each)]
    well = f"{len(policies) - len(bad)} of {len(policies)} policies are well"
    lines = [f"{voice.host}, {voice.instant(overview.at)}: {well}.", ""]
    for status in policies[:MOST_LINES]:
        lines.append(_row(status, overview.at))
        lines += [line for each in status.conditions for line in _wrong(each, voice)]
    if len(policies) > MOST_LINES:
        lines.append(f"and {len(policies) - MOST_LINES} more")
    shown = {(each.kind, each.subject) for status in policies for each in status.conditions}
    others = [
        alarm.condition
        for alarm in overview.own_alarms
        if (alarm.condition.kind, alarm.condition.subject) not in shown
    ]
    if others:
        lines += ["", "Also wrong:"]
    for condition in others[:MOST_LINES]:
        lines += [f"{named(condition)}", *_wrong(condition, voice)]
    if len(others) > MOST_LINES:
        lines.append(f"and {len(others) - MOST_LINES} more")
    hint = f"Run drkeeper status on {voice.host}." if bad or others else ""
    lines += ["", f"What to do: {hint}" if hint else NOTHING]
    day = overview.at.astimezone(voice.zone).date().isoformat()
    return Message(
        id=f"digest-{fingerprint(voice.host)}-{day}",
        occasion=Occasion.DIGEST,
        level=Level.INFO,
        kind="digest",
        subject=f"daemon/{voice.host}",
        title=f"[drkeeper {voice.host}] {well}",
        text=bounded(lines),
        at=overview.at,
        host=voice.host,
        hint=hint,
        facts={"policies": len(policies), "not_well": [each.policy for each in bad]},
    )


def _good(status: PolicyStatus) -> bool:
    return not status.conditions


def _row(status: PolicyStatus, now: datetime) -> str:
    zone = ZoneInfo(status.zone_name)
    last = status.last_success
    ended = (last.ended_at or last.started_at) if last is not None else None
    succeeded = "never" if ended is None else local_text(ended, zone)
    parts = [f"Policy {status.policy}: {status.state}", f"last success {succeeded}"]
    if status.next_due is not None:
        parts.append(f"next run {local_text(status.next_due, zone)}")
    newest = status.points.durable
    if newest is None:
        parts.append("nothing to restore yet")
    else:
        parts.append(f"newest data {format_duration(age_at(newest, now))} old")
    if status.rpo_target is not None:
        parts.append(f"RPO {format_duration(status.rpo_target)}")
    return short(", ".join(parts))


def _wrong(condition: Condition, voice: Voice) -> list[str]:
    """Say what is wrong with something that is named above, and what to do."""
    return [
        f"  {condition.level}, {condition.kind.words}: {sentence(condition, voice)}.",
        f"  {hint_of(condition, voice)}",
    ]
