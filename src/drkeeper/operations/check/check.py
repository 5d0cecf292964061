"""The check operation: structure, bytes, or both, with keys or without."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from drkeeper.clock import Clock
from drkeeper.crypto.age import Identity
from drkeeper.errors import ConfigurationError
from drkeeper.faults import point
from drkeeper.operations.check.data import DataCheck, ObjectCheck, Slice
from drkeeper.operations.check.findings import CheckReport, Notes
from drkeeper.operations.check.journal import check_journal, live_commits
from drkeeper.operations.check.listing import Listing, list_objects
from drkeeper.operations.check.needs import Needs
from drkeeper.operations.check.stored import Stored
from drkeeper.operations.check.structure import Structure
from drkeeper.operations.progress import OnProgress, Progress, ignore
from drkeeper.repository.repository import Repository, open_repository
from drkeeper.storage.base import ObjectStore

WHOLE = Slice(0, 1)
"""Everything there is."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to check.

    Attributes:
        blind: Use public keys only: the journal, the presence and length of everything, and with
            ``read`` the bytes against their digests. Needs no identity.
        read: Which packs to read; ``None`` reads none of them. Everything else is always read,
            unless blind: then it is the slice of all sealed objects that is read.
        grace: How late a promised snapshot may be.
    """

    blind: bool = False
    read: Slice | None = None
    grace: timedelta = timedelta(hours=1)


def open_for_check(
    store: ObjectStore,
    *,
    clock: Clock,
    identities: Sequence[Identity] = (),
    state_dir: str | None = None,
    repository_id: bytes | None = None,
    admins: Collection[str] = (),
) -> Repository:
    """Open a repository as a check wants it: everything read from entry 1, damage told later.

    Takes what ``open_repository`` takes. With ``state_dir`` the journal is compared with the newest
    entry this machine has seen, and nothing is written there.

    Raises:
        RepositoryNotFoundError: There is none.
        ConfigurationError: No admin key is known, or the pin is damaged.
        IntegrityError: It is another repository, or entry 1 or the hint is damaged.
        StorageError: The store refused or did not answer.
    """
    return open_repository(
        store,
        clock=clock,
        identities=identities,
        state_dir=state_dir,
        repository_id=repository_id,
        admins=admins,
        salvage=True,
        full=True,
    )


def check(
    repository: Repository,
    request: CheckRequest,
    on_progress: OnProgress = ignore,
) -> CheckReport:
    """Check a repository, and say all that is wrong instead of stopping at the first thing.

    Args:
        repository: From :func:`open_for_check`.
        request: What to check.
        on_progress: Told of the objects read so far and of their bytes; from any thread, one call at
            a time.

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
    structure = Structure(repository, listing, notes)
    if not request.blind:
        structure.check(commits)
    stored = Stored(
        repository,
        listing,
        notes,
        structure.needs,
        blind=request.blind,
        wanted=lambda name: _is_read(request, name),
    )
    stored.check_inventories(commits)
    stored.check_key_slots()
    names = [name for name in listing.sealed() if _is_read(request, name)]
    total = sum(listing.lengths[name] for name in names)
    data = DataCheck(
        ObjectCheck(repository, structure.needs, stored.digests, request.blind),
        listing,
        notes,
        lambda objects, count: on_progress(Progress("read", objects, None, count, total, count)),
    )
    data.check(names)
    known = structure.complete and not request.blind
    unneeded = _unneeded(listing, structure.needs) if known else []
    return CheckReport(
        findings=notes.sorted(),
        findings_left_out=notes.left_out,
        entries=repository.journal.read_to,
        snapshots=len(commits),
        objects=len(listing.lengths),
        stored_bytes=listing.stored_bytes,
        read_objects=data.read_objects,
        read_bytes=data.read_bytes,
        unneeded_objects=len(unneeded),
        unneeded_bytes=sum(listing.lengths[name] for name in unneeded),
        damaged_snapshots=notes.damaged(),
    )


def _is_read(request: CheckRequest, name: str) -> bool:
    """Whether a sealed object is read whole: metadata unless blind, and the wanted slice."""
    if not request.blind and not name.startswith("packs/"):
        return True
    return request.read is not None and request.read.holds(name)


def _unneeded(listing: Listing, needs: Needs) -> list[str]:
    """Return the sealed objects that no live snapshot needs; collecting them is another verb."""
    return [name for name in listing.sealed() if name not in needs]
