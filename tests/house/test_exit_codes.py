"""Exit codes: one meaning each, all documented."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import drkeeper
from drkeeper.app.cli import program
from drkeeper.errors import DrkeeperError

DOCUMENT = Path(__file__).parents[2] / "docs" / "exit-codes.md"


def error_classes():
    """Return every error class of the package."""
    for module in walk_packages(drkeeper.__path__, "drkeeper."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            import_module(module.name)
    found, todo = set(), [DrkeeperError]
    while todo:
        each = todo.pop()
        found.add(each)
        todo += each.__subclasses__()
    return found


def documented():
    """Return the codes of the table."""
    return {int(code) for code in re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE)}


def test_every_code_is_documented():
    """Whatever the process ends with can be looked up."""
    codes = {each.exit_code for each in error_classes()}
    codes |= {
        program.OK,
        program.USAGE,
        program.DEFECT,
        program.INTERRUPTED,
        program.TERMINATED,
        program.CLOSED_PIPE,
        3,
    }
    assert codes <= documented()


def test_a_code_belongs_to_one_branch_of_the_tree():
    """Two errors share a code only when one is a kind of the other's family."""
    owners = {}
    for each in error_classes():
        if "exit_code" in each.__dict__:
            owners.setdefault(each.exit_code, []).append(each)
    assert all(len(found) == 1 for found in owners.values()), owners


def test_no_code_is_documented_twice():
    """The table has one row a code."""
    rows = re.findall(r"^\| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
