"""Check a repository: that everything its snapshots need is there, and is what was written."""

from drkeeper.operations.check.check import CheckRequest, check, open_for_check
from drkeeper.operations.check.data import Slice
from drkeeper.operations.check.findings import CheckFinding, CheckReport, Severity

__all__ = [
    "CheckFinding",
    "CheckReport",
    "CheckRequest",
    "Severity",
    "Slice",
    "check",
    "open_for_check",
]
