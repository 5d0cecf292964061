"""Proving that what was backed up comes back, and measuring how long that takes; see docs/drills.md."""

from drkeeper.operations.drills.conducting import (
    Asked,
    Planned,
    chooser,
    conduct,
    plan_drill,
    settle,
)
from drkeeper.operations.drills.request import DrillRequest

__all__ = ["Asked", "DrillRequest", "Planned", "chooser", "conduct", "plan_drill", "settle"]
