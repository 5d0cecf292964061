"""The command line: one module per verb."""

import sys


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    from drkeeper.app.cli.program import run  # noqa: PLC0415 - importing the package costs nothing

    sys.exit(run(sys.argv[1:]))
