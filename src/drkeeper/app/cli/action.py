"""``drkeeper action``: what somebody undertakes to do about a drill or an incident."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import click

from drkeeper.app.cli.commands import group
from drkeeper.app.cli.completing import policy_names
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.text import safe, table
from drkeeper.app.config.environment import environment
from drkeeper.app.wiring.runs import ledger_place, open_run_ledger
from drkeeper.model.drill_record import CorrectiveAction, Incident, IncidentKind
from drkeeper.model.instants import local_text
from drkeeper.model.quantities import format_duration

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

_LONGEST_OWNER: Final = 200
_EVERY: Final = 1_000_000
"""Rows that are listed at most."""

_ABOUT: Final = {
    IncidentKind.RPO_VIOLATED: "RPO violated",
    IncidentKind.RTO_UNMET: "RTO not met",
    IncidentKind.NOT_PROVEN: "not proven",
}


@group()
def command() -> None:
    """Open, close and list corrective actions, beside the incidents they answer."""


@command.command("open")
@click.argument("title")
@click.option("--owner", help="Who does it; default: the user who calls.")
@click.option("--due", metavar="DATE", help="Until when, as 2026-12-31 or an instant.")
@click.option("--policy", shell_complete=policy_names, help="Whose data it concerns.")
@click.option("--drill", "drill_id", type=click.IntRange(1), help="The drill that showed the need.")
@click.option("--incident", "incident_id", type=click.IntRange(1), help="The incident it answers.")
def open_one(
    title: str,
    *,
    owner: str | None,
    due: str | None,
    policy: str | None,
    drill_id: int | None,
    incident_id: int | None,
) -> None:
    """Write down what somebody undertakes to do.

    It gets a number, stands in the next report, and stays there until it is closed.
    """
    called = this_invocation()
    _require(title, "an action says what is to be done")
    who = (owner or environment().get("SUDO_USER") or environment().get("USER") or "").strip()
    _require(who, "name who does it, with --owner")
    due_at = None if due is None else _instant(called, due)
    if policy is not None:
        called.configuration.policy(policy)
    with _ledger(called) as ledger:
        made = ledger.open_action(
            title.strip(),
            who[:_LONGEST_OWNER],
            due_at=due_at,
            policy=policy,
            drill_id=drill_id,
            incident_id=incident_id,
        )
    called.output.summary(_fields(made))
    called.output.say(f"action {made.id} is open: {safe(made.title)} ({safe(made.owner)})")


@command.command("close")
@click.argument("number", type=click.IntRange(1))
@click.argument("outcome")
def close_one(number: int, outcome: str) -> None:
    """Write down that an action is done, and what came of it."""
    called = this_invocation()
    _require(outcome, "say what came of it")
    with _ledger(called) as ledger:
        made = ledger.close_action(number, outcome.strip())
    called.output.summary(_fields(made))
    called.output.say(f"action {made.id} is closed: {safe(made.outcome)}")


@command.command("list")
@click.option("--all", "every", is_flag=True, help="Also what is closed or over.")
def list_them(*, every: bool) -> None:
    """List open actions, and the incidents that go on."""
    called = this_invocation()
    with _ledger(called, read_only=True) as ledger:
        actions = ledger.actions(limit=_EVERY)
        incidents = ledger.incidents(limit=_EVERY)
    now = called.clock.now()
    actions = [each for each in reversed(actions) if every or each.closed_at is None]
    incidents = [each for each in reversed(incidents) if every or each.ended_at is None]
    for incident in incidents:
        called.output.item({"incident": incident.id, **_incident_fields(incident)})
    for action in actions:
        called.output.item(_fields(action))
    late = [each for each in actions if _is_late(each, now)]
    called.output.summary({"actions": len(actions), "late": len(late), "incidents": len(incidents)})
    zone = ZoneInfo(called.configuration.zone_name)
    if incidents:
        rows = [_incident_row(each, zone, now) for each in incidents]
        for line in table([("incident", "policy", "what", "since", "until", "worst"), *rows]):
            called.output.result(line)
    if actions:
        shown = [_row(each, zone, now) for each in actions]
        for line in table([("action", "owner", "due", "about", "what"), *shown]):
            called.output.result(line)
    if not actions and not incidents:
        called.output.say("no action is open, and no incident goes on")


def _require(text: str, otherwise: str) -> None:
    if not text.strip():
        raise click.UsageError(otherwise)


def _instant(called: Invocation, text: str) -> datetime:
    zone = ZoneInfo(called.configuration.zone_name)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is neither a date nor an instant") from None
    if len(text) <= len("2026-12-31"):  # until the end of that day
        found = datetime.combine(found.date(), time(23, 59, 59))
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def _is_late(action: CorrectiveAction, now: datetime) -> bool:
    return action.closed_at is None and action.due_at is not None and action.due_at < now


def _row(action: CorrectiveAction, zone: ZoneInfo, now: datetime) -> tuple[str, ...]:
    due = "" if action.due_at is None else local_text(action.due_at, zone)
    if _is_late(action, now):
        due += " (late)"
    if action.closed_at is not None:
        due = f"closed {local_text(action.closed_at, zone)}"
    about = [
        *([action.policy] if action.policy else []),
        *([f"drill {action.drill}"] if action.drill else []),
        *([f"incident {action.incident}"] if action.incident else []),
    ]
    words = action.title + (f": {action.outcome}" if action.outcome else "")
    return str(action.id), safe(action.owner), due, safe(", ".join(about)), safe(words)


def _incident_row(incident: Incident, zone: ZoneInfo, now: datetime) -> tuple[str, ...]:
    ended = incident.ended_at
    lasted = format_duration((ended or now) - incident.began_at)
    until = f"goes on for {lasted}" if ended is None else f"{local_text(ended, zone)}, {lasted}"
    worst = "" if incident.worst is None else format_duration(incident.worst)
    began = local_text(incident.began_at, zone)
    return str(incident.id), safe(incident.policy), _ABOUT[incident.kind], began, until, worst


def _fields(action: CorrectiveAction) -> dict[str, object]:
    return {
        "action": action.id,
        "title": action.title,
        "owner": action.owner,
        "opened_at": action.opened_at,
        "due_at": action.due_at,
        "policy": action.policy,
        "drill": action.drill,
        "incident": action.incident,
        "closed_at": action.closed_at,
        "outcome": action.outcome or None,
    }


def _incident_fields(incident: Incident) -> dict[str, object]:
    return {
        "kind": incident.kind.value,
        "policy": incident.policy,
        "began_at": incident.began_at,
        "ended_at": incident.ended_at,
        "worst": incident.worst,
        "cause": incident.cause,
        "alarm": incident.alarm,
        "drill": incident.drill,
    }


def _ledger(called: Invocation, *, read_only: bool = False) -> AbstractContextManager["Ledger"]:
    configuration = called.configuration
    return open_run_ledger(
        ledger_place(configuration),
        host=configuration.host,
        clock=called.clock,
        read_only=read_only,
    )
