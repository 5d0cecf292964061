"""The part of a check that needs no key at all: the journal, the inventories, the lengths."""

from datetime import timedelta

from drkeeper.crypto.digests import digest
from drkeeper.errors import IntegrityError, ObjectNotFoundError, StorageError
from drkeeper.faults import point
from drkeeper.operations.check.findings import Notes, Severity
from drkeeper.operations.check.listing import Listing
from drkeeper.repository import inventory
from drkeeper.repository.commit import Commit, stale_lineages
from drkeeper.repository.inventory import StoredObject
from drkeeper.repository.places import KeyClass, inventory_name, keyslot_name
from drkeeper.repository.repository import Repository

_MAX_INVENTORY_BYTES = 1 << 30


def check_journal(repository: Repository, notes: Notes, grace: timedelta) -> None:
    """Say what reading the whole journal has shown, and which lineages are late."""
    journal = repository.journal
    for void in journal.voids:
        notes.add(
            Severity.ERROR,
            "void-entry",
            f"journal/{void.n:016d}",
            f"is void: {void.reason}; somebody wrote junk, or the entry was damaged",
        )
    for message in journal.findings:
        severity = Severity.WARNING if "stray" in message else Severity.ERROR
        notes.add(severity, "journal", "journal", message)
    if journal.broken_at is not None:
        notes.add(
            Severity.ERROR,
            "journal",
            f"journal/{journal.broken_at:016d}",
            "is signed, but does not follow what is sound before it; what came after is not read",
        )
    for late in stale_lineages(journal.state, repository.clock.now(), grace):
        notes.add(
            Severity.WARNING,
            "late",
            f"lineage {late.lineage.hex()}",
            f"was promised a snapshot by {late.next_due:%Y-%m-%d %H:%M} UTC: no backup has run "
            "since, or the store shows an old state",
        )


def live_commits(repository: Repository, notes: Notes) -> list[Commit]:
    """Return the live commits; one whose entry is damaged is noted and left out."""
    found = []
    for n in sorted(repository.journal.state.commits):
        try:
            found.append(repository.journal.commit(n))
        except IntegrityError as error:
            notes.add(
                Severity.ERROR,
                "commit",
                f"journal/{n:016d}",
                str(error),
                snapshots=frozenset({n}),
            )
    return found


def check_inventories(
    repository: Repository, commits: list[Commit], listing: Listing, notes: Notes
) -> dict[str, StoredObject]:
    """Compare what the sessions of live snapshots say they stored with what is listed.

    Returns:
        Every object of these inventories, by name.
    """
    known: dict[str, StoredObject] = {}
    condemned = {
        name for objects in repository.journal.state.condemned.values() for name in objects
    }
    for commit in commits:
        name = inventory_name(commit.session, commit.inventory_k)
        try:
            objects = _read_inventory(repository, commit, name, listing)
        except (IntegrityError, StorageError) as error:
            notes.add(
                Severity.ERROR, "inventory", name, str(error), snapshots=frozenset({commit.n})
            )
            continue
        for stored in objects:
            known[stored.name] = stored
            kind, _, rest = stored.name.partition("/")
            if f"{kind}/{rest.rpartition('/')[2]}" not in condemned:
                _compare(stored, commit, listing, notes)
    return known


def _read_inventory(
    repository: Repository, commit: Commit, name: str, listing: Listing
) -> list[StoredObject]:
    length = listing.lengths.get(name)
    if length is None:
        raise ObjectNotFoundError("is missing")
    if length > _MAX_INVENTORY_BYTES:
        raise IntegrityError("is too large to be an inventory")
    point("operations.check.inventory")
    data = repository.store.get(name, length=length)
    if digest(data) != commit.inventory_digest:
        raise IntegrityError("is not the one its commit names")
    return inventory.decode(data)


def _compare(stored: StoredObject, commit: Commit, listing: Listing, notes: Notes) -> None:
    touched = frozenset({commit.n})
    length = listing.lengths.get(stored.name)
    if length is None:
        notes.add(Severity.ERROR, "missing", stored.name, "is missing", snapshots=touched)
    elif length != stored.stored_bytes:
        notes.add(
            Severity.ERROR,
            "length",
            stored.name,
            f"has {length} bytes; {stored.stored_bytes} were stored",
            snapshots=touched,
        )


def check_key_slots(repository: Repository, listing: Listing, notes: Notes) -> dict[str, bytes]:
    """Compare the key slots of live and open sessions with the digests they signed.

    Returns:
        Name to digest of every key slot that must be there.
    """
    expected: dict[str, bytes] = {}
    state = repository.journal.state
    touched = {
        session: frozenset(n for n, live in state.commits.items() if live.session == session)
        for session in {*state.keyslots, *state.sessions}
    }
    for session, snapshots in touched.items():
        slots = state.slots_of(session)
        if slots is None:
            continue
        for key_class in KeyClass:
            name = keyslot_name(bytes.fromhex(session), slots.keyring, key_class)
            expected[name] = bytes.fromhex(getattr(slots.slots, key_class.value))
            try:
                point("operations.check.slot")
                length = listing.lengths.get(name)
                data = None if length is None else repository.store.get(name)
            except StorageError as error:
                notes.add(Severity.ERROR, "unreadable", name, str(error), snapshots=snapshots)
                continue
            if data is None:
                notes.add(Severity.ERROR, "missing", name, "is missing", snapshots=snapshots)
            elif digest(data) != expected[name]:
                notes.add(
                    Severity.ERROR,
                    "altered",
                    name,
                    "is not the key slot its session signed",
                    snapshots=snapshots,
                )
    return expected
