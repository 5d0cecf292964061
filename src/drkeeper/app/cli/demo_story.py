"""How ``drkeeper demo`` speaks, and how it does what a user does: by the command line."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from drkeeper.app.cli.output import Output
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError

_T = TypeVar("_T")


class Story:
    """Steps with a number, commands as a user types them, and what came of them.

    Args:
        output: Speaks.
        clock: Measures.
        variables: The environment of every command.
    """

    def __init__(self, output: Output, clock: Clock, variables: Mapping[str, str]) -> None:
        self.output = output
        self.clock = clock
        self.begun = clock.monotonic()
        self._variables = variables
        self._step = 0

    def step(self, title: str, command_line: str | None = None) -> None:
        """Begin a step."""
        self._step += 1
        self.output.say("")
        self.output.say(f"{self._step}. {title}")
        if command_line:
            self.command(command_line)

    def command(self, command_line: str) -> None:
        """Show a command."""
        self.fact(f"$ {command_line}")

    def fact(self, text: str) -> None:
        """Say what is so."""
        self.output.say(f"   {text}")

    def timed(self, work: Callable[[], _T]) -> tuple[_T, float]:
        """Do something; return what came of it and the seconds it took."""
        begun = self.clock.monotonic()
        return work(), self.clock.monotonic() - begun

    def drkeeper(self, *words: str) -> list[str]:
        """Show a command, run it as a process of its own, and show what it says; return that.

        Raises:
            DrkeeperError: It ended otherwise than with 0.
        """
        shown = shlex.join(["drkeeper", *words])
        self.command(shown)
        said: list[str] = []
        with subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "drkeeper", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self._variables),
            encoding="utf-8",
            errors="backslashreplace",
        ) as child:
            try:
                for line in child.stdout or ():
                    said.append(line.rstrip("\n"))
                    self.fact(said[-1])
            except BaseException:
                child.terminate()
                raise
        if child.returncode:
            raise DrkeeperError(
                f"{shown} ended with {child.returncode}", hint="Read what it says above."
            )
        return said
