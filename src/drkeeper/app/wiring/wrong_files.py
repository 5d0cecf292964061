"""Configuration files that are wrong, as a condition: for the alarm and whoever is told of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from drkeeper.app.config.problems import Problem
from drkeeper.model.alarm import AlarmKind, Condition, Subject

_SHOWN: Final = 3
"""Problems that an alarm names; ``drkeeper policy check`` shows all."""


def wrong_files(
    problems: Sequence[Problem], daemon: Subject, now: datetime, *, then: str = ""
) -> Condition:
    """Say which files are wrong.

    Args:
        problems: What is wrong with them; at least one thing.
        daemon: Who works by what they said before, or would.
        now: When they were read.
        then: What to do when they are right again, if anything; goes on from "correct the files".
    """
    files = list(dict.fromkeys(problem.file for problem in problems))
    named = "; ".join(_line(problem) for problem in problems[:_SHOWN])
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    is_one = len(files) == 1
    wrong = "1 file is wrong" if is_one else f"{len(files)} files are wrong"
    kept = "it said when it was" if is_one else "they said when they were"
    return Condition(
        AlarmKind.CONFIGURATION_INVALID,
        daemon,
        f"{wrong} on {daemon.name}, and only what {kept} last right goes on: {named}{more}",
        f"Run drkeeper policy check, and correct the files{then}.",
        now,
    )


def _line(problem: Problem) -> str:
    where = f":{problem.mark.line}:{problem.mark.column}" if problem.mark else ""
    return f"{problem.file}{where}: {problem.message}"
