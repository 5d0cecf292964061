"""What a check found, as values."""

import threading
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    NOTE = "note"  # nothing is wrong; somebody may want to know
    WARNING = "warning"  # nothing is lost; somebody should look
    ERROR = "error"  # stored data, or the record of it, is not what was written


@dataclass(frozen=True, slots=True, order=True)
class CheckFinding:
    """One thing somebody should know.

    Attributes:
        severity: How bad it is.
        code: A stable word: ``missing``, ``altered``, ``void-entry``, ``stray``, ``late``...
        thing: The object, entry or lineage it is about.
        message: What is wrong with it, in one sentence.
    """

    severity: Severity
    code: str
    thing: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How a check ended.

    Attributes:
        findings: Worst first.
        entries: Journal entries read.
        snapshots: Live snapshots looked at.
        objects: Objects the store lists.
        stored_bytes: Their total length.
        read_objects: Objects whose every byte was read and compared.
        read_bytes: Their total length.
        unneeded_objects: Packs, meta and refs objects that no live snapshot needs.
        unneeded_bytes: Their total length.
        damaged_snapshots: Entry numbers of the snapshots that an error touches, ascending.
    """

    findings: tuple[CheckFinding, ...]
    entries: int
    snapshots: int
    objects: int
    stored_bytes: int
    read_objects: int
    read_bytes: int
    unneeded_objects: int
    unneeded_bytes: int
    damaged_snapshots: tuple[int, ...]

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


@dataclass(slots=True)
class Notes:
    """Collects findings, from any thread; each is kept once.

    Attributes:
        found: What was found so far.
        damaged: Snapshots that errors touch.
    """

    found: set[CheckFinding] = field(default_factory=set)
    damaged: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        severity: Severity,
        code: str,
        thing: str,
        message: str,
        *,
        snapshots: frozenset[int] = frozenset(),
    ) -> None:
        """Note a finding, and the snapshots it touches."""
        with self._lock:
            self.found.add(CheckFinding(severity, code, thing, message))
            self.damaged |= snapshots

    def sorted(self) -> tuple[CheckFinding, ...]:
        """Return the findings, worst first."""
        worst = [Severity.ERROR, Severity.WARNING, Severity.NOTE]
        return tuple(
            sorted(self.found, key=lambda f: (worst.index(f.severity), f.code, f.thing, f.message))
        )
