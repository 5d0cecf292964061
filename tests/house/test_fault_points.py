"""The names of fault points."""

import ast
import re
from collections import Counter
from pathlib import Path

import drkeeper
from doubles.faultpoints import registered_points

PACKAGE = Path(drkeeper.__file__).parent
NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_-]+){2,}")


def places() -> Counter[str]:
    """Return every name that is passed to ``point``, with how often it stands in the source."""
    found: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"point", "faults.point"}:
                found[ast.literal_eval(node.args[0])] += 1
    return found


def test_there_are_at_least_a_hundred() -> None:
    """A crash is tried at no fewer than a hundred named places."""
    assert len(registered_points()) >= 100


def test_a_name_says_where_it_is() -> None:
    """A point is called after the package it is in and what happens there."""
    for name in registered_points():
        assert NAME.fullmatch(name), name
        assert (PACKAGE / name.split(".")[0]).is_dir(), name


def test_a_name_stands_in_one_place() -> None:
    """Striking at the n-th hit of a name means one line of the source, or a few of one purpose."""
    several = {name: count for name, count in places().items() if count > 1}
    assert not several
