"""The command line: one module per verb."""


def main() -> None:
    """Run the command that the arguments name."""
