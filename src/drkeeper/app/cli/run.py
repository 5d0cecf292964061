"""``drkeeper run --due``: what the daemon does at a tick, once, for those who use timers."""

from collections.abc import Mapping, Sequence
from typing import Final

import click

from drkeeper.app.cli.backup import keep_ledger
from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.files import make_private
from drkeeper.app.config.reloading import in_force, refuse_nothing
from drkeeper.app.daemon.lock import only_daemon
from drkeeper.app.wiring.due import Begun, look, run_due
from drkeeper.app.wiring.ends import Ended
from drkeeper.app.wiring.telling import telling
from drkeeper.errors import RunningError
from drkeeper.model.instants import local_text
from drkeeper.model.planner import Decision
from drkeeper.model.policy import Policy

WARNINGS: Final = 3
_FAILED: Final = 1
_RESULTS: Final = {0: "succeeded", 3: "warnings"}


@make_command()
@click.option("--due", is_flag=True, required=True, help="Run every policy that is due now.")
@click.option("--dry-run", is_flag=True, help="Say what is due and run nothing.")
def command(*, due: bool, dry_run: bool) -> int:
    """Run what is due, once, and end: for timers instead of the daemon.

    Decides as the daemon does, from the ledger: what was missed is made up for exactly once, what
    failed is tried again when its time has come, and what runs already is left alone. Then the
    channels are told what is wrong, unless a daemon does it. Ends with the code of the first run that
    failed, else with 3 when there were warnings.
    """
    del due
    called = this_invocation()
    called.output.steadfast = True
    configuration = called.in_force
    refuse_nothing(configuration)
    if dry_run:
        for name, decision in look(configuration, called.clock).items():
            _tell_decision(called, configuration.policies[name], decision, dry_run=True)
        return 0

    configuration = _kept(called, configuration)

    def on_begin(begun: Begun) -> None:
        for name, decision in begun.decisions.items():
            _tell_decision(called, configuration.policies[name], decision, dry_run=False)
        for run, name in begun.runs.items():
            courier.run_began(name, run)
            called.output.message("status", {"name": name, "run": run, "phase": "queued"})

    def on_end(ended: Ended) -> None:
        if not ended.is_elsewhere:
            why = str((ended.error or {}).get("message", ""))
            courier.run_ended(ended.policy, ended.run, ended.code, figures=ended.summary, why=why)
        _tell_end(called, ended)

    def log(event: str, **fields: object) -> None:
        called.output.detail(" ".join([event, *(f"{key}={fields[key]}" for key in fields)]))

    with telling(configuration, called.clock, log) as courier:
        ended = run_due(configuration, called.clock, on_begin=on_begin, on_end=on_end, log=log)
    _keep(called, configuration, ended)
    codes = [_code(one) for one in ended]
    called.output.summary(
        {
            "policies": len(configuration.policies),
            "runs": len(ended),
            "failed": sum(code not in _RESULTS for code in codes),
        }
    )
    if not ended:
        called.output.say("nothing was due")
    failures = [code for code in codes if code not in _RESULTS]
    return failures[0] if failures else max(codes, default=0)


def _keep(called: Invocation, configuration: Configuration, ended: Sequence[Ended]) -> None:
    good = {each.policy for each in ended if _code(each) in _RESULTS}
    policies = configuration.policies.values()
    keep_ledger(called, {each.repository for each in policies if each.name in good})


def _kept(called: Invocation, configuration: Configuration) -> Configuration:
    """Keep a copy of the files that are right: a wrong one stands as it was, also for the next call.

    While a daemon lives it says which files are in force, and the copy is its own.
    """
    state = configuration.locations.state
    make_private(state)
    try:
        with only_daemon(state):
            return in_force(called.locations, clock=called.clock, keeps=True)
    except RunningError:
        return configuration


def _code(ended: Ended) -> int:
    """Return the exit code of a run; a signal has none, and is a failure."""
    if ended.is_elsewhere:
        return 0
    return _FAILED if ended.code is None else ended.code


def _tell_decision(
    called: Invocation, policy: Policy, decision: Decision, *, dry_run: bool
) -> None:
    output = called.output
    fields: Mapping[str, object] = {
        "policy": policy.name,
        "due": decision.slot is not None,
        "why": decision.why.value,
        "slot": decision.slot,
        "next_at": decision.next_at,
        "missed": decision.missed,
        "attempt": decision.attempt,
        "given_up": decision.given_up,
    }
    output.item(fields)
    name = policy.name
    if decision.slot is not None:
        missed = f", {decision.missed} missed before" if decision.missed else ""
        text = (
            f"{name}: due since {local_text(decision.slot, policy.zone)} ({decision.why}{missed})"
        )
    elif decision.given_up is not None:
        left_out = local_text(decision.given_up, policy.zone)
        text = f"{name}: what was due at {left_out} is left out, the next run is near"
    elif decision.next_at is not None:
        text = f"{name}: {decision.why} until {local_text(decision.next_at, policy.zone)}"
    else:
        text = f"{name}: {decision.why}"
    if dry_run:
        output.say(text)
    elif decision.slot is not None or decision.given_up is not None:
        output.note(text)
    else:
        output.detail(text)


def _tell_end(called: Invocation, ended: Ended) -> None:
    output, code = called.output, _code(ended)
    summary, error = ended.summary or {}, ended.error or {}
    result = _RESULTS.get(code, "failed")
    output.item(
        {
            "policy": ended.policy,
            "run": ended.run,
            "result": result,
            "code": code,
            "signal": ended.signal,
            "seconds": round(ended.seconds, 3),
            "snapshot": summary.get("snapshot"),
            "error": error.get("message"),
            "hint": error.get("hint"),
        }
    )
    if code in _RESULTS:
        snapshot = summary.get("snapshot")
        made = (
            f"snapshot {snapshot} in {ended.seconds:.1f} s" if snapshot else "done by another run"
        )
        output.say(f"{ended.policy}: {result}, {made}")
    elif not output.json:
        message = error.get("message") or f"the process {ended.how}"
        hint = str(error.get("hint") or f"Read {ended.run}.log in the state directory.")
        output.error(f"{ended.policy}: {message}", code=code, kind="RunFailed", hint=hint)
