"""What a check found, as values."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_FINDINGS: Final = 10_000
"""Most findings kept of each severity: a store that lost everything must not fill the memory."""


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
        thing: The object, snapshot or lineage it is about.
        message: What is wrong with it, in one sentence.
        action: What to do about it, one imperative sentence with a full stop.
        snapshots: Entry numbers of the snapshots it touches, as far as that is known; ascending.
    """

    severity: Severity
    code: str
    thing: str
    message: str
    action: str = ""
    snapshots: tuple[int, ...] = ()


ACTIONS: Final = {
    "altered": "Restore the object from a copy of the store.",
    "chunks": "Restore the pack from a copy of the store, or back up again what it held.",
    "commit": "Restore the journal entry from a copy of the store.",
    "condemned": "Stop pruning, and report this with the journal.",
    "inventory": "Restore the object from a copy of the store.",
    "late": "Run the backup, or find out whether the store shows an old state.",
    "left-over": "Nothing; it costs a few KiB until it is removed.",
    "length": "Restore the object from a copy of the store.",
    "manifest": "Restore the object from a copy of the store.",
    "missing": "Restore the object from a copy of the store.",
    "probe": "Delete it.",
    "refs": "Restore the object from a copy of the store.",
    "rollback": "Find out who changed the store, and restore journal/ from a copy.",
    "stray": "Find out who wrote it; drkeeper ignores it.",
    "unchecked": "Check again with a recovery or verifier identity.",
    "unreadable": "Check again when the store answers.",
    "void-entry": "Find out who wrote it; when nobody did, restore it from a copy of the store.",
}
"""What to do about a finding, by its code."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How a check ended.

    Attributes:
        findings: Worst first; at most 10,000 of each severity.
        findings_left_out: How many more there were.
        entries: Journal entries read.
        snapshots: Live snapshots looked at.
        objects: Objects the store lists.
        stored_bytes: Their total length.
        read_objects: Objects whose every byte was read and compared.
        read_bytes: Their total length.
        unneeded_objects: Packs, meta and refs objects that no live snapshot needs; 0 when that is
            unknown, because a snapshot could not be read.
        unneeded_bytes: Their total length.
        damaged_snapshots: Entry numbers of the snapshots that an error touches, ascending.
    """

    findings: tuple[CheckFinding, ...]
    findings_left_out: int
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
        left_out: How many were not kept.
    """

    left_out: int = 0
    _found: dict[Severity, set[CheckFinding]] = field(
        default_factory=lambda: {severity: set() for severity in Severity}
    )
    _damaged: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        severity: Severity,
        code: str,
        thing: str,
        message: str,
        *,
        snapshots: Sequence[int] = (),
    ) -> None:
        """Note a finding, and the snapshots it touches."""
        finding = CheckFinding(severity, code, thing, message, ACTIONS[code], tuple(snapshots))
        with self._lock:
            if severity is Severity.ERROR:
                self._damaged.update(snapshots)
            found = self._found[severity]
            if len(found) < MAX_FINDINGS:
                found.add(finding)
            elif finding not in found:
                self.left_out += 1

    def error(self, code: str, thing: str, message: str, *, snapshots: Sequence[int] = ()) -> None:
        """Note an error."""
        self.add(Severity.ERROR, code, thing, message, snapshots=snapshots)

    def damaged(self) -> tuple[int, ...]:
        """Return the snapshots that errors touch, ascending."""
        with self._lock:
            return tuple(sorted(self._damaged))

    def sorted(self) -> tuple[CheckFinding, ...]:
        """Return the findings, worst first."""
        with self._lock:
            worst = [Severity.ERROR, Severity.WARNING, Severity.NOTE]
            return tuple(
                finding
                for severity in worst
                for finding in sorted(
                    self._found[severity], key=lambda f: (f.code, f.thing, f.message)
                )
            )
