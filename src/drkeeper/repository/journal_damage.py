"""What is wrong with a journal, as its reader meets it.

Whatever is wrong is either an error that ends the reading or, for those who must salvage what is left, a
value to look at.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from drkeeper.errors import IntegrityError
from drkeeper.repository.journal_entry import VoidEntry, VoidError

_MAX_VOIDS: Final = 1000
_MAX_FINDINGS: Final = 1000


class FindingKind(StrEnum):
    """What a finding is about."""

    ROLLBACK = "rollback"  # what was seen here before is gone, or something else
    MISSING = "missing"  # there is no entry of this number, and there was one
    ALTERED = "altered"  # the entry of a live commit is gone, or something else
    STRAY = "stray"  # objects that are no part of the journal


@dataclass(frozen=True, slots=True)
class JournalFinding:
    """Something about a journal that somebody should look at.

    Attributes:
        kind: What it is about.
        n: The entry it is about, if it is about one.
        message: What is wrong, in one sentence.
    """

    kind: FindingKind
    n: int | None
    message: str


class Damage:
    """Takes down what is wrong with the journal of one repository.

    Args:
        repository: Its id.
        salvage: Keep as a finding what would otherwise be raised.
    """

    def __init__(self, repository: bytes, *, salvage: bool) -> None:
        self.salvage = salvage
        self._repository = repository
        self._voids: list[VoidEntry] = []
        self._findings: dict[JournalFinding, None] = {}
        self._unsigned: int | None = None
        self._broken: int | None = None

    @property
    def voids(self) -> tuple[VoidEntry, ...]:
        """Void entries that were met, at most 1,000."""
        return tuple(self._voids)

    @property
    def findings(self) -> tuple[JournalFinding, ...]:
        """What somebody should look at, each once."""
        return tuple(self._findings)

    @property
    def broken_at(self) -> int | None:
        """Number of a signed entry after damage that does not link to what is sound, if any."""
        return self._broken

    def violation(self, kind: FindingKind, n: int | None, message: str, *, hint: str) -> None:
        """Note that the journal cannot be believed.

        Raises:
            IntegrityError: Nothing is to be salvaged.
        """
        if not self.salvage:
            raise IntegrityError(message, hint=hint, repository=self._repository.hex())
        self.note(kind, n, message)

    def rolled_back(self, n: int, how: str) -> None:
        """Note that the journal is not the one that was seen here before.

        Raises:
            IntegrityError: Nothing is to be salvaged.
        """
        self.violation(
            FindingKind.ROLLBACK,
            n,
            f"the journal was rolled back: {how}",
            hint="Find out who changed the store, and restore journal/ from a copy.",
        )

    def tolerate(self, error: IntegrityError) -> None:
        """Note that a live commit cannot be read.

        Raises:
            IntegrityError: Nothing is to be salvaged.
        """
        if not self.salvage:
            raise error
        n = error.context.get("n")
        self.note(FindingKind.ALTERED, n if isinstance(n, int) else None, str(error))

    def note(self, kind: FindingKind, n: int | None, message: str) -> None:
        """Note something that stops nobody."""
        if len(self._findings) < _MAX_FINDINGS:
            self._findings[JournalFinding(kind, n, message)] = None

    def accepted(self) -> None:
        """Take in that a valid entry has come: what was void before it was junk."""
        self._unsigned = self._broken = None

    def void(self, n: int, void: VoidError) -> None:
        """Take in a void entry.

        A signed one that links to something else, after one that nobody signed, means that the
        latter may be a damaged entry (docs/format.md 3.4).
        """
        if void.signer is None and self._unsigned is None:
            self._unsigned = n
        if void.unlinked and self._unsigned is not None and self._broken is None:
            self._broken = n
        if len(self._voids) < _MAX_VOIDS:
            self._voids.append(VoidEntry(n, str(void), void.signer))
