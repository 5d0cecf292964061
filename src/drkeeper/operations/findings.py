"""What an operator should know of a backup, as it comes."""

from drkeeper.repository.snapshot_root import MAX_FINDINGS
from drkeeper.sources.base import Finding, Level


class Findings:
    """Collects findings, counting all and keeping the first of each level.

    Attributes:
        warnings: How many of them are warnings.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.warnings = 0
        self._kept: dict[Level, list[Finding]] = {Level.WARNING: [], Level.NOTE: []}

    def add(self, finding: Finding) -> None:
        """Take one."""
        self.warnings += finding.level is Level.WARNING
        kept = self._kept[finding.level]
        if len(kept) < MAX_FINDINGS:
            kept.append(finding)

    def all(self) -> tuple[Finding, ...]:
        """Return those that were kept, warnings first."""
        warnings, notes = self._kept[Level.WARNING], self._kept[Level.NOTE]
        return tuple([*warnings, *notes][:MAX_FINDINGS])
