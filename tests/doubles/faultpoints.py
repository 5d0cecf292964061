"""Make things go wrong at named fault points, in a child process that may die of it."""

import ast
import json
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drkeeper import faults

CRASHED = 99
"""Exit status of a child that was made to crash."""
BROKEN = 98
"""Exit status of a child that ended with an exception; its report says which."""


_CUSTOMIZE = """
import os, sys

who, name, hit = os.environ["STRIKE"].split(":")
if who in sys.orig_argv:
    left = int(hit)

    def strike(point):
        global left
        if point == name:
            left -= 1
            if left == 0:
                os._exit(99)

    from drkeeper import faults

    faults.install(strike)
"""


def let_strike(folder: Path, who: str, name: str, hit: int = 1) -> dict[str, str]:
    """Let real processes of drkeeper die at a hit of a point: those with ``who`` as an argument.

    Returns:
        Variables for whoever is started, and for those whom that starts in turn.
    """
    (folder / "sitecustomize.py").write_text(_CUSTOMIZE)
    ours = Path(faults.__file__).parents[1]  # also where another drkeeper is installed
    return {"STRIKE": f"{who}:{name}:{hit}", "PYTHONPATH": f"{folder}{os.pathsep}{ours}"}


def registered_points() -> frozenset[str]:
    """Return every literal passed to ``faults.point`` anywhere in the package."""
    found: set[str] = set()
    for path in Path(faults.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _is_point(node.func):
                argument = node.args[0]
                assert isinstance(argument, ast.Constant), f"{path}: a point needs a literal name"
                assert isinstance(argument.value, str)
                found.add(argument.value)
    return frozenset(found)


def _is_point(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id == "point"
    return isinstance(function, ast.Attribute) and function.attr == "point"


class Recorder:
    """Counts how often each point is reached."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        """Count one hit."""
        self.hits[name] += 1


@dataclass
class CrashAt:
    """Ends the process, without any handler, at the n-th hit of one point."""

    name: str
    hit: int

    def __call__(self, name: str) -> None:
        """Count down, then leave as a power cut does."""
        if name != self.name:
            return
        self.hit -= 1
        if self.hit == 0:
            os._exit(CRASHED)


@dataclass
class RaiseAt:
    """Raises once, at the n-th hit of one point."""

    name: str
    hit: int
    error: Callable[[], BaseException]

    def __call__(self, name: str) -> None:
        """Count down, then raise."""
        if name != self.name:
            return
        self.hit -= 1
        if self.hit == 0:
            raise self.error()


@dataclass
class DelayAt:
    """Sleeps at every hit of one point, to widen a race."""

    name: str
    seconds: float

    def __call__(self, name: str) -> None:
        """Sleep when it is our point."""
        if name == self.name:
            time.sleep(self.seconds)


def in_child(
    work: Callable[[], object], report: Path, controller: Callable[[str], None] | None = None
) -> int:
    """Run ``work`` in a forked child with ``controller`` installed; return its exit status.

    The child writes what ``work`` returned (JSON), or the traceback it ended with, to ``report``.
    The calling process must have no threads of its own.
    """
    report.unlink(missing_ok=True)
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)
    code = BROKEN
    try:
        faults.install(controller)
        result = work()
        faults.install(None)
        report.write_text(json.dumps(result), encoding="utf-8")
        code = 0
    except BaseException:  # noqa: BLE001 - a child must end here, whatever happened
        report.write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(code)
