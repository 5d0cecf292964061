"""The part of a check that judges the journal; it needs no key."""

from datetime import timedelta
from typing import Final

from drkeeper.errors import IntegrityError
from drkeeper.operations.check.findings import Notes, Severity
from drkeeper.repository.commit import Commit, stale_lineages
from drkeeper.repository.journal import Journal
from drkeeper.repository.journal_damage import FindingKind
from drkeeper.repository.journal_entry import entry_name
from drkeeper.repository.repository import Repository

_FINDINGS: Final = {
    FindingKind.ROLLBACK: (Severity.ERROR, "rollback"),
    FindingKind.MISSING: (Severity.ERROR, "missing"),
    FindingKind.ALTERED: (Severity.ERROR, "commit"),
    FindingKind.STRAY: (Severity.WARNING, "stray"),
}
"""How bad the journal's own findings are, and the code of each."""


def check_journal(repository: Repository, notes: Notes, grace: timedelta) -> None:
    """Say what reading the whole journal has shown, and which lineages are late."""
    journal = repository.journal
    _voids(journal, notes)
    for finding in journal.findings:
        severity, code = _FINDINGS[finding.kind]
        # A rollback concerns the journal, and not the one entry by which it was noticed.
        about = None if finding.kind is FindingKind.ROLLBACK else finding.n
        thing = "journal" if about is None else entry_name(about)
        notes.add(severity, code, thing, finding.message)
    if journal.broken_at is not None:
        notes.error(
            "commit",
            entry_name(journal.broken_at),
            "is signed, but does not follow what is sound before it; neither it nor what comes "
            "after it is known to this check",
        )
    for late in stale_lineages(journal.state, repository.clock.now(), grace):
        notes.add(
            Severity.WARNING,
            "late",
            f"lineage {late.lineage.hex()}",
            f"was promised a snapshot by {late.next_due:%Y-%m-%d %H:%M} UTC: no backup has run "
            "since, or the store shows an old state",
            snapshots=[late.last],
        )


def _voids(journal: Journal, notes: Notes) -> None:
    """Tell junk from damage.

    What a later entry has passed over was void when that entry was written: nobody's data. At the end
    of the journal nobody can tell, so the worse is assumed.
    """
    for void in journal.voids:
        if journal.broken_at is not None and void.n >= journal.broken_at:
            return
        passed = void.n < journal.state.n
        notes.add(
            Severity.WARNING if passed else Severity.ERROR,
            "void-entry",
            entry_name(void.n),
            f"is void: {void.reason}; "
            + ("later entries pass over it" if passed else "it is junk, or was damaged"),
        )


def live_commits(repository: Repository, notes: Notes) -> list[Commit]:
    """Return the live commits; one whose entry is damaged is noted and left out."""
    found = []
    for n in sorted(repository.journal.state.commits):
        try:
            found.append(repository.journal.commit(n))
        except IntegrityError as error:
            notes.error("commit", entry_name(n), str(error), snapshots=[n])
    return found
