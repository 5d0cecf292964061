"""What is told: alarms, runs and tests in words, the same for every channel.

Each message names the policy, the time in its zone and in UTC, and what to do next. Words that came
from outside (error texts, which may name files) are in it only for channels that asked for
details.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from drkeeper.model.alarm import Alarm, Condition, Level
from drkeeper.model.instants import exact_rfc3339, rfc3339
from drkeeper.model.run import Run, RunId, RunState
from drkeeper.notify.base import Beat, Message, Occasion, Pulse
from drkeeper.operations.phrases import (
    ASK_STATUS,
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

_MOST_FIGURES: Final = 30
_MOST_NAMED: Final = 20

_EXITS: Final = {RunState.SUCCEEDED: 0, RunState.WARNINGS: 3}
"""Source: docs/exit-codes.md."""


@dataclass(frozen=True, slots=True)
class RunSign:
    """A run's beginning or end.

    Attributes:
        policy: Whose run.
        run: Which.
        beat: Whether it began or ended.
        exit_code: How it ended, as documented in docs/exit-codes.md; ``None`` if nobody knows.
        figures: What it counted.
        why: Why it ended badly; told only where details are wanted.
    """

    policy: str
    run: RunId
    beat: Beat
    exit_code: int | None = None
    figures: Mapping[str, object] = field(default_factory=dict)
    why: str = ""


def sign_of_end(run: Run) -> RunSign:
    """Return what the end of a run of a policy says, as the ledger has it."""
    code = _EXITS.get(run.state)
    why = run.failure.message if run.failure is not None else ""
    if code is None and run.failure is not None:
        code = run.failure.exit_code or None  # failed with 0 is nonsense, and no success
    return RunSign(run.policy or "", run.id, Beat.ENDED, code, run.result, why)


def about_alarm(
    alarm: Alarm, occasion: Occasion, voice: Voice, now: datetime, *, nth: int = 0
) -> Message:
    """Tell that an alarm was raised or cleared, or that it still holds.

    Args:
        alarm: Which.
        occasion: Why it is told.
        voice: To whom.
        now: The present.
        nth: Which reminder it is.
    """
    condition = alarm.condition
    over = occasion is Occasion.LEFT
    first = thread_of(alarm)
    hint = hint_of(condition, voice)
    lines = [
        f"{named(condition)}: {'this is over: ' if over else ''}{sentence(condition, voice)}.",
        "",
        f"Level:   {condition.level}",
        f"Since:   {voice.instant(condition.since)}",
    ]
    if over:
        lines.append(f"Over:    {voice.instant(alarm.cleared_at or now)}")
    else:
        lines.append(f"Now:     {voice.instant(now)}")
    lines.append(f"Host:    {voice.host}")
    if voice.affects:
        lines.append(f"Affects: {_listed(voice.affects)}")
    lines.append("")
    lines.append(NOTHING if over else f"What to do: {hint}")
    return Message(
        id={Occasion.ENTERED: first, Occasion.LEFT: f"{first}-over"}.get(
            occasion, f"{first}-{nth}"
        ),
        thread=first,
        occasion=occasion,
        level=Level.INFO if over else condition.level,
        kind=condition.kind.value,
        subject=str(condition.subject),
        title=_title(condition, occasion, voice),
        text=bounded(lines),
        at=alarm.cleared_at or now if over else alarm.raised_at,
        host=voice.host,
        hint="" if over else hint,
        facts=_facts(alarm, voice),
    )


def about_many(messages: Sequence[Message], voice: Voice, now: datetime) -> Message:
    """Join messages of one moment into one: a store that is down must not send a hundred mails."""
    worst = max(messages, key=lambda each: each.level.rank)
    prefix = f"[drkeeper {voice.host}] "
    shown = [f"- {short(each.title.removeprefix(prefix))}" for each in messages[:MOST_LINES]]
    if len(messages) > MOST_LINES:
        shown.append(f"- and {len(messages) - MOST_LINES} more")
    over = sum(each.occasion is Occasion.LEFT for each in messages)
    count = f"{len(messages)} alarms"
    if over == len(messages):
        count, hint = f"{count} are over", ""
    else:
        count += f", {over} of them over" if over else ""
        hint = f"Run drkeeper status on {voice.host}."
    todo = f"What to do: {hint}" if hint else NOTHING
    facts = [
        {**each.facts, "occasion": each.occasion.value, "id": each.id}
        for each in messages[:MOST_LINES]
    ]
    return Message(
        id=f"alarms-{fingerprint(' '.join(sorted(each.id for each in messages)))}",
        occasion=worst.occasion,
        level=worst.level,
        kind="several",
        subject=f"daemon/{voice.host}",
        title=f"{prefix}{count}",
        text=bounded([f"{count}, {voice.instant(now)}:", "", *shown, "", todo]),
        at=now,
        host=voice.host,
        hint=hint,
        facts={"count": len(messages), "alarms": facts},
    )


def about_test(channel: str, voice: Voice, now: datetime) -> Message:
    """Tell that this is a test."""
    lines = [
        f"This is a test of the channel {channel}, which works if you read this.",
        "",
        f"Now:     {voice.instant(now)}",
        f"Host:    {voice.host}",
        "",
        "What to do: Nothing.",
    ]
    stamp = int(now.timestamp() * 1000)
    return Message(
        id=f"test-{fingerprint(voice.host + channel)}-{stamp}",
        occasion=Occasion.TEST,
        level=Level.INFO,
        kind="test",
        subject=f"channel/{channel}",
        title=f"[drkeeper {voice.host}] test of the channel {channel}",
        text=bounded(lines),
        at=now,
        host=voice.host,
        facts={"channel": channel},
    )


def about_run(sign: RunSign, voice: Voice, now: datetime) -> Message:
    """Tell a heartbeat that a run began or ended."""
    ended = sign.beat is Beat.ENDED
    well = ended and sign.exit_code == 0
    word = sign.beat.value if not ended or well else "did not end well"
    lines = [
        f"Policy {sign.policy}, run {sign.run}: {word}.",
        "",
        f"Now:     {voice.instant(now)}",
        f"Host:    {voice.host}",
    ]
    lines += [f"{name}: {value}" for name, value in _figures(sign.figures)]
    if ended and not well:
        if sign.why and voice.details:
            lines.append(f"Why: {short(sign.why)}")
        lines += ["", f"What to do: {ASK_STATUS.format(host=voice.host)}"]
    return Message(
        id=f"run-{sign.run}-{sign.beat}",
        thread=f"run-{sign.run}-{Beat.BEGAN}",
        occasion=Occasion.RUN,
        level=Level.INFO,
        kind="run",
        subject=f"policy/{sign.policy}",
        title=f"[drkeeper {voice.host}] policy {sign.policy}: run {word}",
        text=bounded(lines),
        at=now,
        host=voice.host,
        facts={"run": sign.run, "policy": sign.policy, "exit_code": sign.exit_code},
        pulse=Pulse(sign.beat, sign.run, sign.exit_code),
    )


def about_daemon(voice: Voice, now: datetime, *, well: bool, alarms: int) -> Message:
    """Tell a heartbeat that the daemon looks after its policies, and whether all is well."""
    return Message(
        id=f"daemon-{fingerprint(voice.host)}-{int(now.timestamp())}",
        occasion=Occasion.RUN,
        level=Level.INFO,
        kind="daemon",
        subject=f"daemon/{voice.host}",
        title=f"[drkeeper {voice.host}] the daemon runs",
        text=bounded(
            [f"{voice.host}, {voice.instant(now)}: {alarms} open alarms of level failure."]
        ),
        at=now,
        host=voice.host,
        pulse=Pulse(Beat.ENDED, None, 0 if well else None),
    )


def thread_of(alarm: Alarm) -> str:
    """Name the first message about an alarm; the same in every process that shares the ledger."""
    condition = alarm.condition
    words = (str(alarm.id), exact_rfc3339(alarm.raised_at), condition.kind, str(condition.subject))
    return f"alarm-{fingerprint('|'.join(words))}"


def _title(condition: Condition, occasion: Occasion, voice: Voice) -> str:
    what = f"{condition.subject.kind} {condition.subject.name}: {condition.kind.words}"
    match occasion:
        case Occasion.LEFT:
            return f"[drkeeper {voice.host}] over: {what}"
        case Occasion.REMINDER:
            return f"[drkeeper {voice.host}] still {condition.level}: {what}"
        case _:
            return f"[drkeeper {voice.host}] {condition.level}: {what}"


def _facts(alarm: Alarm, voice: Voice) -> dict[str, object]:
    condition = alarm.condition
    subject = condition.subject
    return {
        "alarm": alarm.id,
        "kind": condition.kind.value,
        "level": condition.level.value,
        "subject_kind": subject.kind,
        "subject_name": subject.name,
        "policy": subject.name if subject.kind == "policy" else None,
        "affects": list(voice.affects[:MOST_LINES]),
        "since": rfc3339(condition.since),
        "raised_at": rfc3339(alarm.raised_at),
        "cleared_at": None if alarm.cleared_at is None else rfc3339(alarm.cleared_at),
        "time_zone": voice.zone_name,
    }


def _figures(result: Mapping[str, object]) -> list[tuple[str, int | float]]:
    """Return the counts among a run's results, which name nothing."""
    return [
        (name, value)
        for name, value in sorted(result.items())
        if isinstance(value, int | float) and not isinstance(value, bool)
    ][:_MOST_FIGURES]


def _listed(policies: Sequence[str]) -> str:
    """Name policies, and count those beyond a few."""
    named = ", ".join(policies[:_MOST_NAMED])
    more = len(policies) - _MOST_NAMED
    kind = "policy" if len(policies) == 1 else "policies"
    return f"{kind} {named} and {more} more" if more > 0 else f"{kind} {named}"
