"""What is told: alarms, digests and tests in words, the same for every channel.

Each message names the policy, the time in its zone and in UTC, and what to do next. Words that came
from outside (error texts, which may name files) are in it only for channels that asked for
details.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Level
from drkeeper.model.instants import exact_rfc3339, local_text, rfc3339
from drkeeper.model.quantities import format_duration
from drkeeper.model.run import Run, RunId, RunState
from drkeeper.model.status import Overview, PolicyStatus
from drkeeper.notify.base import LONGEST_TEXT, Beat, Message, Occasion, Pulse

_LONGEST_LINE: Final = 500
_MOST_LINES: Final = 60
"""Lines of a message about many things. Source: ours; the rest is counted."""

_MOST_FIGURES: Final = 30
_MOST_NAMED: Final = 20

_PLAIN: Final = {
    AlarmKind.WARNINGS: "the newest run could not read everything",
    AlarmKind.FAILING: "the newest run failed",
    AlarmKind.CAPTURE_STALLED: "a run goes on, and has moved nothing for long",
    AlarmKind.STORAGE_UNREACHABLE: "the store does not answer, or refuses us",
    AlarmKind.CONFIGURATION_INVALID: "files were changed and are wrong; what they said before goes on",
    AlarmKind.LEDGER_TROUBLE: "the ledger is full, busy, damaged or out of reach",
    AlarmKind.NOTIFIER_FAILING: "the channel could not deliver what it was given",
    AlarmKind.EMPTY: "the newest snapshot holds nothing",
    AlarmKind.SHRUNK: "the newest snapshot holds far less than the one before",
}
"""Instead of a condition's message, which repeats an error, and with it perhaps names of files."""

_ASK_STATUS: Final = "Run drkeeper status on {host} to see why."
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


@dataclass(frozen=True, slots=True)
class Voice:
    """How one channel is spoken to about one thing.

    Attributes:
        host: Name of this machine.
        zone: In which times are shown.
        zone_name: Its IANA name.
        details: Whether words from outside may be repeated.
        affects: Policies that the thing touches, if it is none itself.
    """

    host: str
    zone: tzinfo
    zone_name: str
    details: bool = False
    affects: tuple[str, ...] = ()

    def instant(self, at: datetime) -> str:
        """Write an instant in the zone and in UTC."""
        return f"{local_text(at, self.zone)} ({rfc3339(at.replace(microsecond=0))})"


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
    hint = _hint(condition, voice)
    lines = [
        f"{_named(condition)}: {'this is over: ' if over else ''}{_sentence(condition, voice)}.",
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
    lines.append("Nothing needs to be done." if over else f"What to do: {hint}")
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
        text=_bounded(lines),
        at=alarm.cleared_at or now if over else alarm.raised_at,
        host=voice.host,
        hint="" if over else hint,
        facts=_facts(alarm, voice),
    )


def about_many(messages: Sequence[Message], voice: Voice, now: datetime) -> Message:
    """Join messages of one moment into one: a store that is down must not send a hundred mails."""
    worst = max(messages, key=lambda each: each.level.rank)
    prefix = f"[drkeeper {voice.host}] "
    shown = [f"- {_short(each.title.removeprefix(prefix))}" for each in messages[:_MOST_LINES]]
    if len(messages) > _MOST_LINES:
        shown.append(f"- and {len(messages) - _MOST_LINES} more")
    hint = f"Run drkeeper status on {voice.host}."
    facts = [
        {**each.facts, "occasion": each.occasion.value, "id": each.id}
        for each in messages[:_MOST_LINES]
    ]
    return Message(
        id=f"alarms-{_digest_of(' '.join(sorted(each.id for each in messages)))}",
        occasion=worst.occasion,
        level=worst.level,
        kind="several",
        subject=f"daemon/{voice.host}",
        title=f"{prefix}{len(messages)} alarms",
        text=_bounded([f"At {voice.instant(now)}:", "", *shown, "", f"What to do: {hint}"]),
        at=now,
        host=voice.host,
        hint=hint,
        facts={"count": len(messages), "alarms": facts},
    )


def digest(overview: Overview, voice: Voice) -> Message:
    """Tell how all policies stand."""
    policies = sorted(overview.policies, key=lambda each: (_good(each), each.policy))
    bad = [each for each in policies if not _good(each)]
    lines = [f"{voice.host}, {voice.instant(overview.at)}", ""]
    lines += [_row(each) for each in policies[:_MOST_LINES]]
    if len(policies) > _MOST_LINES:
        lines.append(f"and {len(policies) - _MOST_LINES} more")
    lines += ["", f"Open alarms: {len(overview.alarms)}"]
    lines += [f"- {_title(each.condition, None, voice)}" for each in overview.alarms[:_MOST_LINES]]
    hint = f"Run drkeeper status on {voice.host}."
    lines += ["", f"What to do: {hint if bad or overview.alarms else 'Nothing.'}"]
    day = overview.at.astimezone(voice.zone).date().isoformat()
    return Message(
        id=f"digest-{_digest_of(voice.host)}-{day}",
        occasion=Occasion.DIGEST,
        level=Level.INFO,
        kind="digest",
        subject=f"daemon/{voice.host}",
        title=f"[drkeeper {voice.host}] {len(policies) - len(bad)} of {len(policies)} policies are well",
        text=_bounded(lines),
        at=overview.at,
        host=voice.host,
        hint=hint,
        facts={"policies": len(policies), "not_well": [each.policy for each in bad]},
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
        id=f"test-{_digest_of(voice.host + channel)}-{stamp}",
        occasion=Occasion.TEST,
        level=Level.INFO,
        kind="test",
        subject=f"channel/{channel}",
        title=f"[drkeeper {voice.host}] test of the channel {channel}",
        text=_bounded(lines),
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
            lines.append(f"Why: {_short(sign.why)}")
        lines += ["", f"What to do: {_ASK_STATUS.format(host=voice.host)}"]
    return Message(
        id=f"run-{sign.run}-{sign.beat}",
        thread=f"run-{sign.run}-{Beat.BEGAN}",
        occasion=Occasion.RUN,
        level=Level.INFO,
        kind="run",
        subject=f"policy/{sign.policy}",
        title=f"[drkeeper {voice.host}] policy {sign.policy}: run {word}",
        text=_bounded(lines),
        at=now,
        host=voice.host,
        facts={"run": sign.run, "policy": sign.policy, "exit_code": sign.exit_code},
        pulse=Pulse(sign.beat, sign.run, sign.exit_code),
    )


def about_daemon(voice: Voice, now: datetime, *, well: bool, alarms: int) -> Message:
    """Tell a heartbeat that the daemon looks after its policies, and whether all is well."""
    return Message(
        id=f"daemon-{_digest_of(voice.host)}-{int(now.timestamp())}",
        occasion=Occasion.RUN,
        level=Level.INFO,
        kind="daemon",
        subject=f"daemon/{voice.host}",
        title=f"[drkeeper {voice.host}] the daemon runs",
        text=_bounded(
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
    return f"alarm-{_digest_of('|'.join(words))}"


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _named(condition: Condition) -> str:
    """Write ``Policy shop``."""
    return f"{condition.subject.kind.capitalize()} {condition.subject.name}"


def _sentence(condition: Condition, voice: Voice) -> str:
    plain = _PLAIN.get(condition.kind)
    if plain is not None and not voice.details:
        return plain
    return _short(condition.message).rstrip(".")


def _hint(condition: Condition, voice: Voice) -> str:
    if condition.kind in _PLAIN and not voice.details:
        return _ASK_STATUS.format(host=voice.host)
    return _short(condition.hint) or _ASK_STATUS.format(host=voice.host)


def _title(condition: Condition, occasion: Occasion | None, voice: Voice) -> str:
    kind = condition.kind.value.replace("-", " ")
    what = f"{condition.subject.kind} {condition.subject.name}: {kind}"
    match occasion:
        case None:
            return f"{condition.level}: {what}"
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
        "affects": list(voice.affects[:_MOST_LINES]),
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


def _good(status: PolicyStatus) -> bool:
    return not status.conditions


def _row(status: PolicyStatus) -> str:
    zone = ZoneInfo(status.zone_name)
    last = status.last_success
    ended = (last.ended_at or last.started_at) if last is not None else None
    when = "never" if ended is None else local_text(ended, zone)
    due = "-" if status.next_due is None else local_text(status.next_due, zone)
    line = f"{status.policy}: {status.state}, last success {when}, next {due}"
    if status.rpo_target is not None:
        line += f", RPO {format_duration(status.rpo_target)}"
    return _short(line)


def _listed(policies: Sequence[str]) -> str:
    """Name policies, and count those beyond a few."""
    named = ", ".join(policies[:_MOST_NAMED])
    more = len(policies) - _MOST_NAMED
    kind = "policy" if len(policies) == 1 else "policies"
    return f"{kind} {named} and {more} more" if more > 0 else f"{kind} {named}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def _bounded(lines: Sequence[str]) -> str:
    text = "\n".join(lines) + "\n"
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 2]}…\n"
