"""How ``drkeeper demo`` speaks, and how it does what a user does: by the command line."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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

    def drkeeper(self, *words: str, lines: int | None = None) -> None:
        """Show a command, run it as a process of its own, and show what it says.

        Args:
            words: What comes after the name of the program.
            lines: How many lines are shown; ``None`` for all.

        Raises:
            DrkeeperError: It ended otherwise than with 0.
        """
        argv = [sys.executable, "-P", "-m", "drkeeper", *words]
        self.program(argv, shown=["drkeeper", *words], lines=lines)

    def program(
        self, argv: Sequence[str], *, shown: Sequence[str], lines: int | None = None
    ) -> None:
        """Do the same with any program.

        Args:
            argv: The program and its arguments.
            shown: The same as a user types it.
            lines: As above.

        Raises:
            DrkeeperError: As above.
        """
        self.command(shlex.join(shown))
        left = 0
        with subprocess.Popen(  # noqa: S603 - our own program
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self._variables),
            encoding="utf-8",
            errors="backslashreplace",
        ) as child:
            try:
                for number, line in enumerate(child.stdout or ()):
                    if lines is None or number < lines:
                        self.fact(line.rstrip("\n"))
                    else:
                        left += 1
            except BaseException:
                child.terminate()
                raise
        if left:
            self.fact(f"  ({left} more lines)")
        if child.returncode:
            raise DrkeeperError(
                f"{shlex.join(shown)} ended with {child.returncode}",
                hint="Read what it says above.",
            )

    def asked(self, *words: str) -> list[dict[str, object]]:
        """Ask drkeeper something in passing, without showing it; return the objects it answers.

        Raises:
            DrkeeperError: It does not answer.
        """
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "drkeeper", *words, "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=dict(self._variables),
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise DrkeeperError(f"drkeeper {words[0]} ended with {done.returncode}")
        return [json.loads(line) for line in done.stdout.splitlines()]
