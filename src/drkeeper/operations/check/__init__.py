"""Check a repository: that everything its snapshots need is there, and is what was written."""

from drkeeper.operations.check.check import CheckRequest, check
from drkeeper.operations.check.findings import CheckFinding, CheckReport, Severity

__all__ = ["CheckFinding", "CheckReport", "CheckRequest", "Severity", "check"]
