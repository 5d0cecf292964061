"""Where words go: results to standard output, everything else to standard error.

With ``--json``, standard output carries JSON lines only: each an object with a ``message_type`` of
``status``, ``error``, ``warning``, ``item`` or ``summary``.
"""

import json as jsonlib
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from drkeeper.app.cli.streams import ClosedPipeError, write_line
from drkeeper.app.cli.text import safe
from drkeeper.errors import DrkeeperError
from drkeeper.model.instants import rfc3339

_USUAL_HINTS = {
    1: "Run the command again with --debug and report what it prints.",
    10: "Correct the address, or run drkeeper init.",
    11: "Run the command again later.",
    12: "Give the key that opens this with --identity FILE.",
    13: "Correct the configuration, then run drkeeper policy check.",
    15: "Keep the target for analysis, and restore to another one.",
    16: "List what there is with drkeeper snapshots.",
    17: "Look whether the store works, then run the command again.",
    18: "Look at the source, then run the command again.",
    20: "Run drkeeper check to see what else is damaged.",
    21: "Free some space, then run the command again.",
    22: "Choose another target with --to.",
    23: "Run drkeeper ledger verify.",
}
"""What to do when an error itself does not know better; by exit code."""


class Output(msgspec.Struct):
    """What one command says.

    Attributes:
        json: Whether standard output is for programs.
        quiet: Whether only results and errors are said.
        verbose: Whether more is said.
        debug: Whether errors show their traceback.
        steadfast: Whether to go on when standard output cannot be written any more, because the
            work matters more than being told about it.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    steadfast: bool = False

    def say(self, text: str = "") -> None:
        """Say something to people; not with ``--json`` or ``--quiet``."""
        if not self.json and not self.quiet:
            self._stdout(text)

    def result(self, text: str) -> None:
        """Write a line of the result; not with ``--json``, whose results are objects."""
        if not self.json:
            self._stdout(text)

    def page(self, text: str, **fields: object) -> None:
        """Write a whole text as it is; with ``--json``, an object that has it among ``fields``."""
        if self.json:
            self.summary(fields)
        else:
            self._stdout(text.removesuffix("\n"))

    def note(self, text: str) -> None:
        """Say how things go, on standard error; not with ``--quiet``."""
        if not self.quiet:
            self.stderr(text)

    def detail(self, text: str) -> None:
        """Say more, on standard error, with ``--verbose``."""
        if self.verbose:
            self.stderr(text)

    def item(self, fields: Mapping[str, object]) -> None:
        """Write one object of a result; only with ``--json``."""
        self.message("item", fields)

    def summary(self, fields: Mapping[str, object]) -> None:
        """Write the object that ends a result; only with ``--json``."""
        self.message("summary", fields)

    def message(self, message_type: str, fields: Mapping[str, object]) -> None:
        """Write one JSON line; only with ``--json``."""
        if self.json:
            self._stdout(json_line({"message_type": message_type, **fields}))

    def warning(self, text: str, **fields: object) -> None:
        """Say that something is not as it should be, though the work goes on."""
        self.message("warning", {"message": text, **fields})
        if not self.json:
            self.stderr(f"warning: {safe_lines(text)}")

    def failure(self, error: DrkeeperError) -> None:
        """Say why a command failed."""
        problems = getattr(error, "problems", ())
        fields: dict[str, object] = {}
        if problems:
            fields["problems"] = [
                {
                    "file": problem.file,
                    "line": problem.mark.line if problem.mark else None,
                    "column": problem.mark.column if problem.mark else None,
                    "message": problem.message,
                }
                for problem in problems
            ]
            if not self.json:
                for problem in problems:
                    self.stderr(safe_lines(problem.render()))
        self.error(
            str(error),
            code=error.exit_code,
            kind=type(error).__name__,
            hint=error.hint or _USUAL_HINTS.get(error.exit_code),
            **fields,
        )

    def error(
        self, message: str, *, code: int, kind: str, hint: str | None = None, **fields: object
    ) -> None:
        """Say an error: what, which and why in one line, then what to do."""
        if self.json:
            try:
                self.message(
                    "error",
                    {"code": code, "error": kind, "message": message, "hint": hint, **fields},
                )
            except ClosedPipeError:
                return
            return
        self.stderr(f"error: {safe_lines(message)}")
        if hint:
            self.stderr(f"hint: {safe_lines(hint)}")

    def stderr(self, text: str) -> None:
        """Write a line to standard error; never fails."""
        try:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # nobody is left to be told

    def _stdout(self, text: str) -> None:
        try:
            write_line(text)
        except (ClosedPipeError, DrkeeperError) as error:
            if not self.steadfast:
                raise
            if isinstance(error, DrkeeperError):
                self.stderr(f"warning: {error}")


def safe_lines(text: str) -> str:
    """Make ``text`` harmless but for its line breaks, tabs and backslashes."""
    return "\n".join(
        "\t".join(safe(part).replace("\\\\", "\\") for part in line.split("\t"))
        for line in text.split("\n")
    )


def json_line(fields: Mapping[str, object]) -> str:
    """Write one JSON object on one line; instants as RFC 3339, durations as seconds."""
    return jsonlib.dumps(fields, ensure_ascii=True, default=_plain, separators=(",", ":"))


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON can say
    match value:
        case datetime():
            return rfc3339(value)
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case set() | frozenset():
            return sorted(value)
        case _:
            return str(value)
