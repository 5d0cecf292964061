"""What is wrong with configuration files, said so that it can be mended: file, line, column."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from drkeeper.errors import ConfigurationError

MOST_PROBLEMS = 50
"""As many problems are kept of one file; more would only scroll the first ones away."""

_EXCERPT_CHARACTERS = 160


class Mark(NamedTuple):
    """A place in a file, both numbers counted from 1.

    Attributes:
        line: Line.
        column: Column in characters.
    """

    line: int
    column: int


class Problem(msgspec.Struct, frozen=True):
    """One thing to mend.

    Attributes:
        file: Path of the file, as it was opened.
        mark: Where; ``None`` when the file as a whole is meant.
        message: What is wrong; lower case, no full stop.
        excerpt: The line, safe to show; empty when it must not be shown.
    """

    file: str
    mark: Mark | None
    message: str
    excerpt: str = ""

    def render(self) -> str:
        """Write ``file:line:col: message``, then the line and a caret under the place."""
        if self.mark is None:
            return f"{self.file}: {self.message}"
        head = f"{self.file}:{self.mark.line}:{self.mark.column}: {self.message}"
        if not self.excerpt:
            return head
        before = self.excerpt[: self.mark.column - 1]
        pad = "".join("\t" if char == "\t" else " " for char in before)
        return f"{head}\n    {self.excerpt}\n    {pad}^"


class InvalidFilesError(ConfigurationError):
    """Configuration files are wrong; every problem found is in ``problems``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        files = {problem.file for problem in problems}
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        where = next(iter(files)) if len(files) == 1 else f"{len(files)} files"
        super().__init__(
            f"{count} in {where}",
            hint="Correct the places shown, then run drkeeper policy check.",
        )
        self.problems = tuple(problems)


def excerpt_of(text: str, mark: Mark | None) -> str:
    """Return the line of ``text`` that ``mark`` is on, clipped; empty when there is none."""
    if mark is None:
        return ""
    lines = text.split("\n")
    if not 1 <= mark.line <= len(lines):
        return ""
    line = lines[mark.line - 1].rstrip("\r")
    if mark.column > _EXCERPT_CHARACTERS:
        return ""
    return line if len(line) <= _EXCERPT_CHARACTERS else line[:_EXCERPT_CHARACTERS] + "…"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?`` when one of ``known`` is close to ``word``, else nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    by_lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""
