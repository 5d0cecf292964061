"""``drkeeper doctor``: examine this installation, line by line."""

import click

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.cli.output import safe_lines
from drkeeper.app.wiring.examine import Verdict, examine

FAILED = 1
WARNED = 3


@make_command()
@click.option("--probe/--no-probe", default=True, help="Also ask each store what it can do.")
def command(*, probe: bool) -> int:
    """Examine this installation, line by line.

    Each line says ok, warn or fail, and what to do. Ends with 1 when a line fails and with 3 when one warns. The probe writes a few small objects
    below probe/ in each store and removes them again.
    """
    called = this_invocation()
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
