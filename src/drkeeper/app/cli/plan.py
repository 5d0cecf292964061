"""``drkeeper plan``: what runs next, and what a calendar with outages would bring."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import click

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.paint import paint_of
from drkeeper.app.cli.text import moment, paragraph, safe, table
from drkeeper.app.wiring.overview import known_policies
from drkeeper.errors import InstantNotReachableError
from drkeeper.model.foresight import Foreseen, foresee, reasons
from drkeeper.model.instants import local_instant
from drkeeper.model.quantities import format_duration, parse_duration
from drkeeper.model.schedule import in_words
from drkeeper.model.simulation import Outage, SimulatedRun

SHOWN: Final = 10
"""Runs of a policy that are shown one by one."""
LONGEST: Final = timedelta(days=3660)
"""Longest stretch that is simulated. Source: ours; ten years."""


@make_command()
@click.argument("policies", nargs=-1, shell_complete=policy_names)
@click.option("--simulate", metavar="DURATION", help="Count over such a stretch from now: 90d.")
@click.option(
    "--outage",
    "outages",
    multiple=True,
    metavar="FROM..TO",
    help="With the machine off then: +2d..+5d, or 2026-12-24..2026-12-27T08:00; may be repeated.",
)
def command(policies: tuple[str, ...], simulate: str | None, outages: tuple[str, ...]) -> None:
    """Show what runs next, why then, and the RPO it achieves.

    Without --simulate, the runs of the next day, one by one. With it, what the planner would do over
    a longer time: how many runs, what is made up for after outages, what is missed, and the worst
    age that the newest recovery point reaches, beside what is promised. A run is taken to last as
    long as its policy's runs did, at worst as usual. Nothing is run or recorded.
    """
    called = this_invocation()
    now = called.clock.now()
    zone = ZoneInfo(called.in_force.zone_name)
    off = [_outage(text, zone, now) for text in outages]
    length = timedelta(days=1) if simulate is None else _length(simulate)
    names = policies or tuple(sorted(called.in_force.policies))
    for name in names:
        called.in_force.policy(name)
    known = known_policies(called.in_force, called.clock)
    found = [foresee(known[name], now + length, outages=off) for name in names]
    for foreseen in found:
        called.output.item(_fields(foreseen, each_run=simulate is None))
    called.output.summary({"from": now, "to": now + length, "policies": len(found)})
    if not found:
        called.output.say("there is no policy; run drkeeper policy new NAME PATH")
    elif simulate is None:
        _tell_runs(called, found)
    else:
        _tell_counts(called, found)


def _length(text: str) -> timedelta:
    """Read the stretch to simulate.

    Raises:
        click.BadParameter: It is none.
    """
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--simulate") from error
    if not timedelta() < length <= LONGEST:
        raise click.BadParameter("give a duration up to ten years", param_hint="--simulate")
    return length


def _outage(text: str, zone: ZoneInfo, now: datetime) -> Outage:
    """Read an outage.

    Raises:
        click.BadParameter: It is none.
    """
    begin, dots, end = text.partition("..")
    try:
        outage = Outage(_instant(begin, zone, now), _instant(end, zone, now))
    except (ValueError, OverflowError, InstantNotReachableError) as error:
        told = str(error) if dots else f"{text!r} is not FROM..TO"
        raise click.BadParameter(told, param_hint="--outage") from error
    if outage.end <= outage.begin:
        raise click.BadParameter(f"{text!r} ends before it begins", param_hint="--outage")
    return outage


def _instant(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    words = text.strip()
    if words.startswith("+"):
        return now + parse_duration(words[1:])
    instant = datetime.fromisoformat(words)
    if instant.tzinfo is not None:
        return instant
    return local_instant(instant, zone)


# ---------------------------------------------------------------- the next day


def _tell_runs(called: Invocation, found: Sequence[Foreseen]) -> None:
    output = called.output
    for number, foreseen in enumerate(found):
        policy = foreseen.policy
        if number:
            output.result("")
        schedule = in_words(policy.schedule) if policy.schedule else _unscheduled(foreseen)
        for line in paragraph(safe(f"{policy.name}: {schedule} ({policy.zone_name})")):
            output.result(line)
        rows = [
            (
                f"  {moment(run.began, policy.zone)}",
                f"in {format_duration(run.began - foreseen.begin)}",
                safe("; ".join(reasons(policy, run))),
            )
            for run in foreseen.runs[:SHOWN]
        ]
        for line in table(rows):
            output.result(line)
        more = len(foreseen.runs) - SHOWN
        if more > 0:
            output.result(f"  and {more} more until {moment(foreseen.end, policy.zone)}")
        elif not rows:
            output.result(f"  nothing until {moment(foreseen.end, policy.zone)}")
        if policy.pause is not None and policy.pause.until > foreseen.begin:
            until = moment(policy.pause.until, policy.zone)
            for line in paragraph(safe(f"paused until {until}: {policy.pause.reason}"), first="  "):
                output.result(line)
        for each in foreseen.left_out[:SHOWN]:
            before = f" and {each.missed - 1} before" if each.missed > 1 else ""
            output.result(
                f"  no run for {moment(each.slot, policy.zone)}{before}: the next is near"
            )
        output.result(f"  {_promise(foreseen)}")


def _unscheduled(foreseen: Foreseen) -> str:
    if foreseen.policy.objectives.rpo is None:
        return "by hand only"
    return "without a schedule: whenever the RPO demands it"


def _promise(foreseen: Foreseen) -> str:
    took = "an unknown time"
    if foreseen.duration:
        took = format_duration(max(foreseen.duration, timedelta(seconds=1)))
    rpo = foreseen.policy.objectives.rpo
    promised = "nothing promised" if rpo is None else f"{format_duration(rpo)} promised"
    if foreseen.achieved is None:
        return f"RPO: no recovery point is to come; {promised}"
    worst = format_duration(foreseen.achieved.worst)
    kept = "" if foreseen.keeps_promise is not False else paint_of()(", NOT KEPT", "red")
    return f"RPO: at worst {worst}; {promised}{kept}; a run takes {took}"


# ---------------------------------------------------------------- a longer time


def _tell_counts(called: Invocation, found: Sequence[Foreseen]) -> None:
    paint = paint_of()
    head = ("policy", "runs", "made up", "missed", "cut off", "worst RPO", "on", "promised", "")
    rows = [head, *(_row(foreseen) for foreseen in found)]
    for line, foreseen in zip(
        table(rows, right=frozenset({1, 2, 3, 4})), [None, *found], strict=True
    ):
        is_broken = foreseen is not None and foreseen.keeps_promise is False
        called.output.result(paint(line, "red") if is_broken else line)


def _row(foreseen: Foreseen) -> tuple[str, ...]:
    policy, achieved = foreseen.policy, foreseen.achieved
    rpo = policy.objectives.rpo
    return (
        safe(policy.name),
        str(len(foreseen.runs)),
        str(foreseen.made_up),
        str(foreseen.missed),
        str(foreseen.cut_off),
        format_duration(achieved.worst) if achieved else "-",
        f"{achieved.at.astimezone(policy.zone):%Y-%m-%d %H:%M}" if achieved else "-",
        format_duration(rpo) if rpo else "-",
        {True: "kept", False: "BROKEN", None: ""}[foreseen.keeps_promise],
    )


def _fields(foreseen: Foreseen, *, each_run: bool) -> dict[str, object]:
    policy, achieved = foreseen.policy, foreseen.achieved
    fields: dict[str, object] = {
        "policy": policy.name,
        "time_zone": policy.zone_name,
        "schedule": str(policy.schedule) if policy.schedule else None,
        "runs": len(foreseen.runs),
        "made_up": foreseen.made_up,
        "missed": foreseen.missed,
        "cut_off": foreseen.cut_off,
        "worst_rpo_seconds": achieved.worst if achieved else None,
        "worst_rpo_at": achieved.at if achieved else None,
        "rpo_target_seconds": policy.objectives.rpo,
        "kept": foreseen.keeps_promise,
        "duration_seconds": foreseen.duration,
    }
    if each_run:
        fields["next_runs"] = [_run_fields(foreseen, run) for run in foreseen.runs]
    return fields


def _run_fields(foreseen: Foreseen, run: SimulatedRun) -> dict[str, object]:
    return {
        "begins_at": run.began,
        "slot": run.slot,
        "why": run.why.value,
        "missed": run.missed,
        "reasons": list(reasons(foreseen.policy, run)),
    }
