"""``drkeeper completion``: the script that a shell loads."""

import click
from click.shell_completion import get_completion_class

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import this_invocation

SHELLS = ("bash", "zsh", "fish")


@make_command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the completion script for a shell.

    For bash: drkeeper completion bash > /etc/bash_completion.d/drkeeper
    """
    program = click.get_current_context().find_root().command
    found = get_completion_class(shell)
    assert found is not None, "the choices are what click knows"  # noqa: S101 - for the types
    script = found(program, {}, "drkeeper", "_DRKEEPER_COMPLETE").source()
    this_invocation().output.page(script, shell=shell, script=script)
