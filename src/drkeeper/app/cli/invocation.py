"""What every command starts from: options, clock, configuration, passphrase."""

import sys
from functools import cached_property
from pathlib import Path

import click

from drkeeper.app.cli.output import Output
from drkeeper.app.config.configuration import Configuration, load_configuration
from drkeeper.app.config.environment import environment
from drkeeper.app.config.locations import Locations, find_locations
from drkeeper.app.config.secrets import find_secret
from drkeeper.clock import Clock, SystemClock
from drkeeper.errors import KeyNotFoundError

PASSPHRASE = "PASSPHRASE"  # noqa: S105 - the name of the secret


class Invocation:
    """One call of the command line.

    Args:
        chosen: The shared options that were given.
        clock: Passed to everything that needs the time.
    """

    def __init__(self, chosen: dict[str, object], clock: Clock) -> None:
        self._config = chosen.get("config")
        self._passphrase: str | None = None
        self.clock = clock
        self.output = Output(
            json=bool(chosen.get("json")),
            quiet=bool(chosen.get("quiet")),
            verbose=bool(chosen.get("verbose")),
            debug=bool(chosen.get("debug")),
        )

    @cached_property
    def locations(self) -> Locations:
        """Where things are, before ``drkeeper.yaml`` is read."""
        config = self._config if isinstance(self._config, str) else None
        variables = environment()
        if config == variables.get("DRKEEPER_CONFIG"):
            config = None  # click took it from there
        return find_locations(variables, config=config)

    @cached_property
    def configuration(self) -> Configuration:
        """All files, checked; wrong policy files are warned about and left out."""
        loaded = load_configuration(self.locations)
        for file in dict.fromkeys(problem.file for problem in loaded.problems):
            self.output.warning(f"{file} is wrong and left out; run drkeeper policy check")
        return loaded

    @cached_property
    def in_force(self) -> Configuration:
        """What a daemon works by: wrong files are warned about, and stand as they last were right."""
        from drkeeper.app.config.reloading import in_force  # noqa: PLC0415 - few commands ask

        loaded = in_force(self.locations, clock=self.clock)
        for file in dict.fromkeys(problem.file for problem in loaded.problems):
            self.output.warning(f"{file} is wrong; run drkeeper policy check")
        return loaded

    @property
    def state(self) -> Path:
        """Folder of pins and ledger."""
        return self.configuration.locations.state

    def passphrase(self) -> str:
        """Return the passphrase of key files: from the environment, else asked for.

        Raises:
            KeyNotFoundError: There is none, and nobody to ask.
        """
        if self._passphrase is None:
            self._passphrase = self.given_passphrase() or self._ask()
        return self._passphrase

    def given_passphrase(self) -> str | None:
        """Return the passphrase that the environment gives, or ``None``."""
        return find_secret(PASSPHRASE, environment())

    def _ask(self) -> str:
        if not interactive():
            raise KeyNotFoundError(
                "a key file is protected by a passphrase, and there is none",
                hint="Set DRKEEPER_PASSPHRASE_FILE or DRKEEPER_PASSPHRASE_COMMAND.",
            )
        return str(click.prompt("Passphrase", hide_input=True, err=True))


def interactive() -> bool:
    """Whether a person can be asked: input and error output are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def this_invocation() -> Invocation:
    """Return the call that is being served, made from the shared options."""
    root = click.get_current_context().find_root()
    chosen = root.ensure_object(dict)
    served = chosen.get("invocation")
    if not isinstance(served, Invocation):
        clock = chosen.get("clock")
        known = clock if isinstance(clock, SystemClock) else SystemClock()
        served = chosen["invocation"] = Invocation(chosen, known)
    return served
