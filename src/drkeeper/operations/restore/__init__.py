"""Restoring a snapshot, or a part of it, onto a directory; see docs/restore.md."""

from drkeeper.operations.restore.planning import plan
from drkeeper.operations.restore.printable import printable
from drkeeper.operations.restore.report import (
    Problem,
    RestorePlan,
    RestoreReport,
    Severity,
)
from drkeeper.operations.restore.request import Overwrite, RestoreRequest
from drkeeper.operations.restore.run import restore

__all__ = [
    "Overwrite",
    "Problem",
    "RestorePlan",
    "RestoreReport",
    "RestoreRequest",
    "Severity",
    "plan",
    "printable",
    "restore",
]
