"""``drkeeper daemon``: keep every policy, until told to end."""

from drkeeper.app.cli.commands import command as make_command
from drkeeper.app.cli.invocation import this_invocation
from drkeeper.app.config.environment import environment


@make_command()
def command() -> int:
    """Keep every policy: back up when it is due, and say what is wrong.

    Runs in the foreground, for systemd or a terminal; the log goes to standard error. SIGHUP reads
    the configuration again. SIGTERM and SIGINT let runs bring their work to safety and end with
    143 and 130; a second one ends them at once. Ends with 11 when another daemon uses the same
    state directory.
    """
    from drkeeper.app.daemon.daemon import Circumstances, run_daemon  # noqa: PLC0415 - slow to import

    called = this_invocation()
    return run_daemon(Circumstances(called.locations, environment(), called.clock))
