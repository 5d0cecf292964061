"""Colour for terminals, and for nothing else."""

import sys
from collections.abc import Callable

from drkeeper.app.config.environment import environment

Paint = Callable[[str, str], str]
"""Gives a text a colour by its name."""

_CODES = {"red": "31;1", "green": "32", "yellow": "33", "blue": "34"}


def paint_of() -> Paint:
    """Return how to colour standard output: not at all, unless a terminal is there that wants it.

    Source:
        no-color.org: any value of ``NO_COLOR`` but the empty one turns colours off.
    """
    variables = environment()
    plain = bool(variables.get("NO_COLOR")) or variables.get("TERM") in {None, "", "dumb"}
    return _plainly if plain or not sys.stdout.isatty() else _coloured


def _plainly(text: str, _colour: str) -> str:
    return text


def _coloured(text: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
