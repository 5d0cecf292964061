"""What a restore says about itself: before and afterwards."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from drkeeper.errors import IntegrityError, TargetError, VerificationError
from drkeeper.operations.restore.printable import printable

MAX_PROBLEMS = 10_000
"""How many problems are kept; the rest is counted. A hostile snapshot must not fill the memory."""


class Severity(StrEnum):
    """How much a problem matters."""

    NOTE = "note"  # worth knowing
    WARNING = "warning"  # something was left out on purpose or could not be kept
    FAILED = "failed"  # this path is not what it should be, for a reason on this machine
    DIFFERS = "differs"  # read back, and not what the snapshot says
    DAMAGED = "damaged"  # the repository no longer has it


@dataclass(frozen=True, slots=True)
class Problem:
    """Something an operator should know about one path.

    Attributes:
        severity: How much it matters.
        code: A stable word: ``owner``, ``setuid``, ``xattr``, ``damaged``...
        path: As in ``Entry.path``; empty when it is about the whole restore.
        message: One sentence without the path.
    """

    severity: Severity
    code: str
    path: bytes
    message: str


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would do.

    Attributes:
        files: Paths to restore, directories included.
        plain_bytes: Content of the files among them, holes left out.
        fetch_bytes: Plain bytes that have to be fetched.
        requests: Reads of packs, and of pieces of the manifest.
        space_bytes: Room that the target needs.
        free_bytes: Room that the target has.
        unchanged: Files that are there already.
        damaged: Pieces of the manifest that cannot be read.
    """

    files: int = 0
    plain_bytes: int = 0
    fetch_bytes: int = 0
    requests: int = 0
    space_bytes: int = 0
    free_bytes: int = 0
    unchanged: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did.

    Attributes:
        plan: What it set out to do.
        files: Regular files that are now as the snapshot says, the unchanged included.
        directories: The same for directories.
        others: The same for links, FIFOs and devices.
        unchanged: Files that were there already.
        skipped: Paths left alone on request, or that cannot be restored (sockets).
        removed: Paths deleted on request.
        plain_bytes: Content written.
        kept_bytes: Content that was there already.
        fetched_bytes: Bytes read from the store.
        verified: Everything was read back and compared.
        resumed: An unfinished restore was continued.
        seconds: Duration of each phase.
        problems: At most ``MAX_PROBLEMS``, the first ones.
        counts: Number of problems of each severity.
    """

    plan: RestorePlan
    files: int
    directories: int
    others: int
    unchanged: int
    skipped: int
    removed: int
    plain_bytes: int
    kept_bytes: int
    fetched_bytes: int
    verified: bool
    resumed: bool
    seconds: dict[str, float]
    problems: tuple[Problem, ...]
    counts: dict[Severity, int]

    @property
    def warnings(self) -> int:
        """Number of things that were left out or could not be kept."""
        return self.counts.get(Severity.WARNING, 0)


@dataclass(slots=True)
class Tally:
    """Counts while a restore runs; problems may come from any thread."""

    files: int = 0
    directories: int = 0
    others: int = 0
    unchanged: int = 0
    skipped: int = 0
    removed: int = 0
    plain_bytes: int = 0
    kept_bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    counts: Counter[Severity] = field(default_factory=Counter)
    _once: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, severity: Severity, code: str, path: bytes, message: str) -> None:
        """Take one problem."""
        with self._lock:
            self.counts[severity] += 1
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(Problem(severity, code, path, message))

    def once(self, severity: Severity, code: str, message: str) -> None:
        """Take a problem that would otherwise be told for every file."""
        with self._lock:
            if code in self._once:
                return
            self._once.add(code)
        self.add(severity, code, b"", message)


def raise_for(report: RestoreReport) -> None:
    """Raise what the worst problem of a restore deserves.

    Raises:
        IntegrityError: Something is damaged in the repository.
        VerificationError: Something read back differs.
        TargetError: Something could not be restored here.
    """
    counts = report.counts
    first = {
        severity: next((p for p in report.problems if p.severity == severity), None)
        for severity in (Severity.DAMAGED, Severity.DIFFERS, Severity.FAILED)
    }
    for severity, error, what in (
        (Severity.DAMAGED, IntegrityError, "could not be restored from a damaged repository"),
        (Severity.DIFFERS, VerificationError, "differ from the snapshot after the restore"),
        (Severity.FAILED, TargetError, "could not be restored here"),
    ):
        problem = first[severity]
        if problem is not None:
            raise error(
                f"{counts[severity]} paths {what}, first {printable(problem.path)}: "
                f"{problem.message}",
                hint="See the list of paths; everything else was restored.",
                report=report,
            )
