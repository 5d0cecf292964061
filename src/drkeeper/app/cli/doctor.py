"""``drkeeper doctor``: examine this installation, line by line."""

import click

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import Invocation, this_invocation
from drkeeper.app.cli.output import safe_lines
from drkeeper.app.wiring.parent import end_with_parent

FAILED = 1
WARNED = 3
UNREACHABLE = 17


@make_command()
@click.option("--probe/--no-probe", default=True, help="Also ask each store what it can do.")
@click.option("--reach", is_flag=True, help="Only ask each store whether it answers.")
@click.option("--parent", type=int, hidden=True, help="End when this process does; for daemons.")
def command(*, probe: bool, reach: bool, parent: int | None) -> int:
    """Examine this installation, line by line.

    Each line says ok, warn or fail, and what to do. Ends with 1 when a line fails and with 3 when one warns. The probe writes a few small objects
    below probe/ in each store and removes them again. With --reach, nothing is written, and the end
    is 17 when a store does not answer.
    """
    called = this_invocation()
    if parent is not None:
        end_with_parent(parent)
    return _reach(called) if reach else _examine(called, probe=probe)


def _examine(called: Invocation, *, probe: bool) -> int:
    from drkeeper.app.wiring.examine import Verdict, examine  # noqa: PLC0415 - not for --reach

    output = called.output
    seen = set()
    for line in examine(called.configuration, called.clock, called.passphrase, probe_stores=probe):
        seen.add(line.verdict)
        output.item(
            {
                "verdict": line.verdict.value,
                "thing": line.thing,
                "fact": line.fact,
                "hint": line.hint or None,
            }
        )
        output.result(safe_lines(f"{line.verdict:<5}{line.thing}: {line.fact}"))
        if line.hint:
            output.result(safe_lines(f"       hint: {line.hint}"))
    worst = max(seen, key=list(Verdict).index)
    output.summary({"verdict": worst.value})
    return {Verdict.OK: 0, Verdict.WARN: WARNED, Verdict.FAIL: FAILED}[worst]


def _reach(called: Invocation) -> int:
    from drkeeper.app.wiring.reachability import ask_stores  # noqa: PLC0415 - see the package

    output, reachable = called.output, True
    for answer in ask_stores(list(called.configuration.repositories.values()), called.clock):
        reachable &= answer.reachable
        output.item(
            {
                "repository": answer.repository,
                "reachable": answer.reachable,
                "why": answer.trouble,
            }
        )
        fact = answer.trouble or "answers"
        verdict = "ok" if answer.reachable else "fail"
        output.result(safe_lines(f"{verdict:<5}{answer.repository}: {fact}"))
    output.summary({"reachable": reachable})
    return 0 if reachable else UNREACHABLE
