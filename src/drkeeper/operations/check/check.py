"""The check operation: structure, bytes, or both, with keys or without."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from drkeeper.errors import ConfigurationError
from drkeeper.faults import point
from drkeeper.operations.check.data import DataCheck, Slice
from drkeeper.operations.check.findings import CheckReport, Notes
from drkeeper.operations.check.journal import (
    check_inventories,
    check_journal,
    check_key_slots,
    live_commits,
)
from drkeeper.operations.check.listing import Listing, list_objects
from drkeeper.operations.check.structure import Structure
from drkeeper.repository.repository import Repository

WHOLE = Slice(0, 1)
"""Everything there is."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to check.

    Attributes:
        blind: Use public keys only: the journal, the presence and length of everything, and with
            ``read`` the bytes against their digests. Needs no identity.
        read: Which packs to read; ``None`` reads none of them. Everything else is always read.
        grace: How late a promised snapshot may be.
    """

    blind: bool = False
    read: Slice | None = None
    grace: timedelta = timedelta(hours=1)


def check(
    repository: Repository,
    request: CheckRequest,
    on_read: Callable[[int, int, int], None] = lambda _objects, _bytes, _total: None,
) -> CheckReport:
    """Check a repository, and say all that is wrong instead of stopping at the first thing.

    Args:
        repository: Opened with ``salvage``, having read its whole journal.
        request: What to check.
        on_read: Called with objects and bytes read so far, and the bytes to read in all.

    Raises:
        KeyNotFoundError: Metadata or data are to be checked, and no identity opens them.
        ConfigurationError: The request makes no sense.
        StorageError: The store cannot be listed.
    """
    if request.read is not None and not 0 <= request.read.number < request.read.of:
        raise ConfigurationError("there is no such slice of the repository")
    notes = Notes()
    check_journal(repository, notes, request.grace)
    point("operations.check.list")
    listing = list_objects(repository.store.entries(), notes)
    commits = live_commits(repository, notes)
    known = check_inventories(repository, commits, listing, notes)
    check_key_slots(repository, listing, notes)
    structure = Structure(repository, listing, notes)
    if not request.blind:
        structure.check(commits)
    names = _names_to_read(request, listing)
    total = sum(listing.lengths[name] for name in names)
    data = DataCheck(
        repository,
        listing,
        notes,
        structure.needs,
        known,
        lambda objects, count: on_read(objects, count, total),
    )
    data.check(names, blind=request.blind)
    unneeded = [] if request.blind else _unneeded(listing, structure)
    return CheckReport(
        findings=notes.sorted(),
        entries=repository.journal.read_to,
        snapshots=len(commits),
        objects=len(listing.lengths),
        stored_bytes=listing.stored_bytes,
        read_objects=data.read_objects,
        read_bytes=data.read_bytes,
        unneeded_objects=len(unneeded),
        unneeded_bytes=sum(listing.lengths[name] for name in unneeded),
        damaged_snapshots=tuple(sorted(notes.damaged)),
    )


def _names_to_read(request: CheckRequest, listing: Listing) -> list[str]:
    """Return what is read whole: metadata unless blind, and the wanted slice of the packs."""
    chosen = request.read
    return [
        name
        for name in listing.sealed()
        if (chosen is not None and chosen.holds(name))
        or (not request.blind and not name.startswith("packs/"))
    ]


def _unneeded(listing: Listing, structure: Structure) -> list[str]:
    """Return the sealed objects that no live snapshot needs; collecting them is another verb."""
    return [name for name in listing.sealed() if name not in structure.needs.snapshots]
