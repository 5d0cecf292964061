"""``drkeeper status``: one screen that says whether today's promises hold."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

import click
from msgspec.structs import asdict

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.output import Output
from drkeeper.app.cli.paint import Paint, paint_of
from drkeeper.app.cli.text import WIDTH, brief, moment, paragraph, safe, sentences, table
from drkeeper.app.wiring.overview import all_conditions, read_overview
from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Level
from drkeeper.model.assessment import misses_objective
from drkeeper.model.exposure import age_at
from drkeeper.model.prediction import Prediction
from drkeeper.model.quantities import format_duration
from drkeeper.model.run import Run
from drkeeper.model.status import Overview, PolicyState, PolicyStatus, RepositoryStatus

WARNED: Final = 3
MISSED: Final = 14
NO_DAEMON: Final = 19
NO_LEDGER: Final = 23

_COLOURS = {
    PolicyState.OK: "green",
    PolicyState.RUNNING: "green",
    PolicyState.QUEUED: "green",
    PolicyState.PAUSED: "yellow",
    PolicyState.WARNING: "yellow",
    PolicyState.AT_RISK: "yellow",
    PolicyState.FAILING: "red",
    PolicyState.OVERDUE: "red",
    PolicyState.VIOLATED: "red",
}
_ONLY_ALARMS = frozenset(
    {
        AlarmKind.STORAGE_UNREACHABLE,
        AlarmKind.CONFIGURATION_INVALID,
        AlarmKind.LEDGER_TROUBLE,
        AlarmKind.LEDGER_UNSTORED,
        AlarmKind.NOTIFIER_FAILING,
        AlarmKind.CLOCK_JUMPED,
        AlarmKind.SCHEDULER_STALLED,
    }
)
"""What only a daemon finds out: believed from the ledger, also when none runs any more."""


@make_command()
@click.argument("policies", nargs=-1, shell_complete=policy_names)
@click.option(
    "--check",
    is_flag=True,
    help="Say by the exit code whether all is well: 0, 3, 13, 14, 19 or 23.",
)
@click.option(
    "--no-daemon", is_flag=True, help="Expect no daemon: a timer runs drkeeper run --due."
)
@click.option("--metrics", is_flag=True, help="Write metrics for Prometheus instead.")
def command(policies: tuple[str, ...], *, check: bool, no_daemon: bool, metrics: bool) -> int:
    """Show how every policy stands: last success, next run, RPO, RTO, alarms.

    Nothing is asked but the ledger of this machine. With --check the exit code says whether all is
    well, for monitoring; the first of these that holds: 13 there is no drkeeper.yaml, 23 the ledger
    cannot be read, 14 a promise is not kept, 19 no daemon runs, 3 something is to be looked at, 0 all
    is well.
    """
    called = this_invocation()
    configuration = called.in_force
    if check:
        from drkeeper.app.config.reloading import refuse_nothing  # noqa: PLC0415 - few ask

        refuse_nothing(configuration)
    for name in policies:
        configuration.policy(name)
    seen = read_overview(configuration, called.clock)
    if metrics:
        from drkeeper.app.web.metrics import metrics_text  # noqa: PLC0415 - only asked for here

        called.output.result(metrics_text(seen).decode().rstrip("\n"))
        return 0
    report = Report(seen, policies, zone_name=configuration.zone_name, needs_daemon=not no_daemon)
    if called.output.json:
        _tell_programs(called.output, report)
    else:
        _tell_people(called, report)
    return report.code if check else 0


class Report:
    """What is shown of an overview.

    Args:
        seen: All there is.
        names: Policies that are asked for; none for all.
        zone_name: Zone of times that belong to no policy.
        needs_daemon: Whether a daemon is expected.
    """

    def __init__(
        self, seen: Overview, names: Sequence[str], *, zone_name: str, needs_daemon: bool
    ) -> None:
        self.seen = seen
        self.zone = ZoneInfo(zone_name)
        self.policies = [each for each in seen.policies if not names or each.policy in names]
        repositories = {each.repository for each in self.policies}
        self.repositories = [
            each for each in seen.repositories if not names or each.name in repositories
        ]
        self.wrong = [each for each in _wrong(seen) if self._belongs(each, names)]
        self.is_known = all(each.kind is not AlarmKind.LEDGER_TROUBLE for each in seen.conditions)
        scheduled = any(each.why != "by hand" for each in self.policies)
        self.lacks_daemon = needs_daemon and scheduled and not seen.daemon_alive

    def _belongs(self, condition: Condition, names: Sequence[str]) -> bool:
        subject = condition.subject
        if not names or subject.kind not in {"policy", "repository"}:
            return True
        shown = {each.policy for each in self.policies}
        stores = {each.name for each in self.repositories}
        return subject.name in (shown if subject.kind == "policy" else stores)

    @property
    def code(self) -> int:
        """What ``--check`` ends with."""
        if not self.is_known:
            return NO_LEDGER
        failing = any(each.level is Level.FAILURE for each in self.wrong)
        if failing or any(map(misses_objective, self.policies)):
            return MISSED
        if self.lacks_daemon:
            return NO_DAEMON
        return WARNED if self.wrong else 0


def _wrong(seen: Overview) -> list[Condition]:
    """Return what is wrong: what is seen now, and what only a daemon can have seen."""
    found = all_conditions(seen)
    known = {(each.kind, each.subject) for each in found}
    for alarm in seen.own_alarms:
        condition = alarm.condition
        is_new = (condition.kind, condition.subject) not in known
        if is_new and (seen.daemon_alive or condition.kind in _ONLY_ALARMS):
            found.append(condition)
    return sorted(found, key=lambda each: -each.level.rank)


# ---------------------------------------------------------------- for people


def _tell_people(called: Invocation, report: Report) -> None:
    output, paint = called.output, paint_of()
    output.result(_head(report))
    if report.lacks_daemon and report.is_known:
        output.result(paint("no daemon runs: nothing begins by itself, and nobody is told", "red"))
        output.result("  Run systemctl start drkeeper, or drkeeper run --due by a timer.")
    if report.policies:
        output.result("")
        for line in _rows(report.policies, report.seen.at, paint):
            output.result(line)
    elif report.is_known:
        output.result("there is no policy; run drkeeper policy new NAME PATH")
    for status in report.policies:
        for line in _asides(status, report.seen.host):
            output.result(line)
    for condition in report.wrong:
        output.result("")
        word = paint(f"{condition.kind.value}:", _LEVEL_COLOURS[condition.level])
        for line in paragraph(safe(condition.message), first=f"{condition.kind.value}: "):
            output.result(line.replace(f"{condition.kind.value}:", word, 1))
        for line in sentences(safe(condition.hint)):
            output.result(line)


_LEVEL_COLOURS = {Level.INFO: "blue", Level.WARNING: "yellow", Level.FAILURE: "red"}


def _head(report: Report) -> str:
    seen = report.seen
    words = [safe(seen.host), moment(seen.at, report.zone)]
    if seen.daemon_alive:
        beat = seen.daemons[0]
        elsewhere = f" on {safe(beat.process.host)}" if beat.process.host != seen.host else ""
        since = format_duration(age_at(beat.started_at, seen.at))
        words.append(f"daemon {safe(beat.version)}{elsewhere} runs for {since}")
    if seen.queue_depth:
        words.append(f"{seen.queue_depth} wait for room")
    return ", ".join(words)


def _rows(policies: Sequence[PolicyStatus], now: datetime, paint: Paint) -> list[str]:
    with_rto = any(status.rto_target or status.rto_achieved for status in policies)
    head = ["policy", "state", "last success", "next run", "age/proven/RPO"]
    rows = [head + (["took/next/RTO"] if with_rto else [])]
    for status in policies:
        zone = ZoneInfo(status.zone_name)
        row = [
            safe(status.policy),
            status.state.value,
            _last_success(status, now, zone),
            _next(status, now, zone),
            _points(status, now),
        ]
        rows.append(row + ([_rto(status)] if with_rto else []))
    lines = table(rows)
    if max(map(len, lines)) > WIDTH:
        # Long names get lines of their own, so that the columns stay on the screen.
        lines = [
            line
            for row, cells in zip(rows, table([["  ", *row[1:]] for row in rows]), strict=True)
            for line in (row[0], cells)
        ]
    states = {status.state for status in policies}
    return [lines[0], *(_painted(line, states, paint) for line in lines[1:])]


def _painted(line: str, states: Collection[PolicyState], paint: Paint) -> str:
    for state in states:
        marked = f"  {state.value}  "
        if marked in line and state in _COLOURS:
            return line.replace(marked, f"  {paint(state.value, _COLOURS[state])}  ", 1)
    return line


def _last_success(status: PolicyStatus, now: datetime, zone: tzinfo) -> str:
    if status.last_success is not None:
        return brief(status.last_success.ended_at or status.last_success.started_at, now, zone)
    return brief(status.points.durable, now, zone) if status.points.durable else "never"


def _next(status: PolicyStatus, now: datetime, zone: tzinfo) -> str:
    if status.running is not None:
        return "runs now" if status.state is not PolicyState.QUEUED else "queued"
    if status.next_due is None:
        return "by hand"
    return "due now" if status.next_due <= now else brief(status.next_due, now, zone)


def _points(status: PolicyStatus, now: datetime) -> str:
    def age(instant: datetime | None) -> str:
        return "-" if instant is None else short(age_at(instant, now))

    target = short(status.rpo_target) if status.rpo_target else "-"
    return f"{age(status.points.durable)}/{age(status.points.proven)}/{target}"


def _rto(status: PolicyStatus) -> str:
    foretold = status.rto_predicted.expected if status.rto_predicted else None
    parts = (status.rto_achieved, foretold, status.rto_target)
    return "/".join("-" if part is None else short(part) for part in parts)


def short(duration: timedelta) -> str:
    """Write a duration without blanks, with its two largest units: ``16h30m``, ``2d``."""
    return format_duration(duration).replace("min", "m").replace(" ", "")


def _asides(status: PolicyStatus, host: str) -> list[str]:
    """Say what a row cannot: since when something runs, why nothing does, or who did it."""
    zone, last = ZoneInfo(status.zone_name), status.last_success
    if last is not None and last.process.host != host:
        # Right for a pair of machines that see the same data, and otherwise two policies of one name.
        there, began = safe(last.process.host), moment(last.started_at, zone)
        text = f"{safe(status.policy)} was last backed up by {there}, not by this machine: {began}"
        return ["", *paragraph(text)]
    if status.paused_until is not None:
        until = moment(status.paused_until, zone)
        text = f"{status.policy} is paused until {until}: {status.paused_because}"
        return ["", *paragraph(safe(text))]
    if status.running is not None and status.state is not PolicyState.QUEUED:
        began = moment(status.running.started_at, zone)
        return [
            "",
            f"{safe(status.policy)} runs since {began}, process {status.running.process.pid}",
        ]
    return []


# ---------------------------------------------------------------- for programs


def _tell_programs(output: Output, report: Report) -> None:
    for status in report.policies:
        output.item({"kind": "policy", **_policy_fields(status, report.seen.at)})
    for repository in report.repositories:
        output.item({"kind": "repository", **_repository_fields(repository)})
    for condition in report.wrong:
        output.item({"kind": "condition", **_condition_fields(condition)})
    for alarm in report.seen.alarms:
        output.item({"kind": "alarm", **_alarm_fields(alarm)})
    seen = report.seen
    output.summary(
        {
            "host": seen.host,
            "at": seen.at,
            "code": report.code,
            "daemon_alive": seen.daemon_alive,
            "daemons": [
                {
                    **asdict(beat.process),
                    "version": beat.version,
                    "started_at": beat.started_at,
                    "beat_at": beat.beat_at,
                }
                for beat in seen.daemons
            ],
            "queue_depth": seen.queue_depth,
            "policies": len(report.policies),
            "conditions": len(report.wrong),
        }
    )


def _policy_fields(status: PolicyStatus, now: datetime) -> dict[str, object]:
    points = status.points
    return {
        "policy": status.policy,
        "source_kind": status.source_kind,
        "repository": status.repository,
        "time_zone": status.zone_name,
        "state": status.state.value,
        "why": status.why,
        "next_due": status.next_due,
        "last_success": _run_fields(status.last_success),
        "last_attempt": _run_fields(status.last_attempt),
        "running": _run_fields(status.running),
        "captured_at": points.captured,
        "durable_at": points.durable,
        "proven_at": points.proven,
        "durable_age_seconds": age_at(points.durable, now) if points.durable else None,
        "proven_age_seconds": age_at(points.proven, now) if points.proven else None,
        "rpo_target_seconds": status.rpo_target,
        "rto_target_seconds": status.rto_target,
        "rto_achieved_seconds": status.rto_achieved,
        "rto_predicted": _prediction_fields(status.rto_predicted),
        "drills_ended": {name.value: at for name, at in status.drills_ended.items()},
        "control_caught_at": status.control_caught_at,
        "expected_interval_seconds": status.expected_interval,
        "source_bytes": status.source_bytes,
        "stored_bytes": status.stored_bytes,
        "paused_until": status.paused_until,
        "paused_because": status.paused_because,
        "conditions": [each.kind.value for each in status.conditions],
        "objective_missed": misses_objective(status),
    }


def _prediction_fields(foretold: Prediction | None) -> dict[str, object] | None:
    if foretold is None:
        return None
    return {
        "low_seconds": foretold.low,
        "expected_seconds": foretold.expected,
        "high_seconds": foretold.high,
        "plain_bytes": foretold.plain_bytes,
        "drills": foretold.drills,
    }


def _run_fields(run: Run | None) -> dict[str, object] | None:
    if run is None:
        return None
    return {
        "run": run.id,
        "state": run.state.value,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "pid": run.process.pid,
        "host": run.process.host,
    }


def _repository_fields(status: RepositoryStatus) -> dict[str, object]:
    return {
        "repository": status.name,
        "store": status.store,
        "reachable": status.reachable,
        "asked_at": status.asked_at,
        "checked_at": status.checked_at,
        "conditions": [each.kind.value for each in status.conditions],
    }


def _condition_fields(condition: Condition) -> dict[str, object]:
    return {
        "condition": condition.kind.value,
        "level": condition.level.value,
        "subject": str(condition.subject),
        "message": condition.message,
        "hint": condition.hint,
        "since": condition.since,
    }


def _alarm_fields(alarm: Alarm) -> dict[str, object]:
    return {"alarm": alarm.id, "raised_at": alarm.raised_at, **_condition_fields(alarm.condition)}
