"""The ledger kept in a repository: stored part by part, compared, and brought back.

Each host has a series of its own, and stores the whole chain of the ledger that it writes to. A
series may hold parts of several ledgers, one after the other, when the first was lost and a new one
begun; parts belong together by the ledger's own name, which its checkpoints bear. Where hosts share
a ledger, what is missing in one's series is taken from another's.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count, pairwise
from typing import Final, Protocol

from drkeeper.crypto.merkle import Tree, leaf_hash
from drkeeper.crypto.notes import Checkpoint, open_checkpoint
from drkeeper.crypto.signing import SigningKey, VerifyKey
from drkeeper.errors import (
    FencedError,
    IntegrityError,
    KeyNotFoundError,
    ObjectExistsError,
    ObjectNotFoundError,
)
from drkeeper.faults import point
from drkeeper.ledger.checkpoints import KeepsCheckpoints, SignedCheckpoint
from drkeeper.ledger.entries import Known, Part, decode_part
from drkeeper.ledger.events import GENESIS, Event, hashed_bytes

_RACES: Final = 8
"""So many processes of one host that store at once are no accident."""
_THREADS: Final = 16
"""Requests in flight when much is read: hides the latency of a remote store."""
_WINDOW: Final = 64
"""Entries held while they wait for their turn; most have a few kilobytes."""


class Storable(Protocol):
    """The part of a ledger that this needs."""

    def origin(self) -> str:
        """Return the ledger's name in its checkpoints."""
        ...

    def sign(self, key: SigningKey) -> SignedCheckpoint:
        """Sign what the chain is now."""
        ...

    def part(self, known: Known, machine: str) -> Part | None:
        """Return the next events after those that are known elsewhere."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """How a repository stands after the ledger was stored in it.

    Attributes:
        number: Of the newest entry of this host's series.
        size: How many events are there.
        added: How many of them are new.
    """

    number: int
    size: int
    added: int


def store_ledger(
    ledger: Storable, series: KeepsCheckpoints, key: SigningKey, machine: str, *, seen: int = 0
) -> Stored:
    """Sign what the ledger is now, and store what the repository does not have yet.

    Args:
        ledger: Of this machine.
        series: Of this host.
        key: Of this host.
        machine: Name of this machine.
        seen: Highest number that this machine has seen in the series; fewer are a loss.

    Raises:
        IntegrityError: Entries are gone from the store, or are of another history of this ledger.
        LedgerError: The ledger cannot be read or written, or is damaged.
        StorageError: The store refused or did not answer; what was stored before is there.
        FencedError: Others store at the same time, again and again.
    """
    origin = ledger.origin()
    size = ledger.sign(key).size
    for _ in range(_RACES):
        newest = _newest(series, origin, seen)
        known, number, added = newest.known, newest.number, 0
        try:
            # Asked also when all is stored: what is there must be the beginning of what is here.
            while (part := ledger.part(known, machine)) is not None and known.size < size:
                number = next(n for n in count(number + 1) if n not in newest.taken)
                point("operations.keeping_ledgers.storing")
                series.put(number, part.encode())
                point("operations.keeping_ledgers.stored")
                added += len(part.events)
                known = Known(part.last, part.head)
        except ObjectExistsError:
            continue  # another process of this host was faster
        return Stored(number, known.size, added)
    raise FencedError(
        "others store the same ledger again and again", hint="Try again when they have ended."
    )


@dataclass(frozen=True, slots=True)
class _Newest:
    """Where a series stands.

    Attributes:
        known: How far it has the ledger.
        number: Of the newest entry that can be read, or was seen; 0 without any.
        taken: Numbers above it under which there is anything else: damage, or somebody's junk.
    """

    known: Known
    number: int
    taken: frozenset[int]


def _newest(series: KeepsCheckpoints, origin: str, seen: int) -> _Newest:
    """Find the newest entry of this ledger; what cannot be read is passed over, and stored again.

    Raises:
        IntegrityError: The newest entry that this machine has seen is gone.
    """
    taken = series.numbers(after=max(0, seen - 1))
    if seen and seen not in taken:
        raise IntegrityError(
            f"entry {seen} of the stored ledger is gone from the store",
            hint="Find out who can delete there; the ledger itself is on this machine.",
        )
    number = 0
    for each in (*reversed(taken), *range(max(0, seen - 1), 0, -1)):
        try:
            part = decode_part(series.get(each))
        except (IntegrityError, ObjectNotFoundError):
            continue
        number = number or each
        if part.origin == origin:
            return _Newest(Known(part.last, part.head), max(number, seen), frozenset(taken))
    return _Newest(Known(), max(number, seen), frozenset(taken))


@dataclass(frozen=True, slots=True)
class Entry:
    """A part, and where it is kept.

    Attributes:
        name: Of its object, for people.
        part: What it says.
    """

    name: str
    part: Part


class ReadsEntries(KeepsCheckpoints, Protocol):
    """The series of one host, for reading by several threads."""

    def name(self, number: int) -> str:
        """Name an entry."""
        ...


@dataclass(slots=True)
class Kept:
    """What is kept of ledgers.

    Attributes:
        entries: What can be read, series by series, in order.
        findings: What is missing or damaged, in words.
    """

    entries: list[Entry] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def origins(self) -> dict[str, Part]:
        """Return the newest part of each ledger, the one that was stored into last coming last."""
        found: dict[str, Part] = {}
        for entry in self.entries:
            before = found.get(entry.part.origin)
            if before is None or entry.part.last >= before.last:
                found[entry.part.origin] = entry.part
        return dict(sorted(found.items(), key=lambda item: item[1].events[-1].at))


def read_kept(series: Iterable[ReadsEntries]) -> Kept:
    """Read all that hosts have stored; what cannot be believed is told and left out.

    Raises:
        KeyNotFoundError: No identity at hand opens any entry.
        StorageError: The store refused or did not answer.
    """
    kept = Kept()
    closed: list[KeyNotFoundError] = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="ledger") as pool:
        for each in series:
            numbers = each.numbers()
            kept.findings += _holes(each, numbers)
            for at in range(0, len(numbers), _WINDOW):
                for read in pool.map(partial(_read, each), numbers[at : at + _WINDOW]):
                    if isinstance(read, Entry):
                        kept.entries.append(read)
                    elif isinstance(read, KeyNotFoundError):
                        closed.append(read)  # of another host, or of a time before this key
                    else:
                        kept.findings.append(read)
    if closed and not kept.entries:
        raise closed[0]
    return kept


def _holes(series: ReadsEntries, numbers: Sequence[int]) -> Iterator[str]:
    """Name the numbers that are missing below the highest one."""
    for before, after in pairwise([0, *numbers]):
        if after == before + 2:
            yield f"{series.name(before + 1)} is missing"
        elif after > before + 1:
            yield f"{series.name(before + 1)} to {series.name(after - 1)} are missing"


def _read(series: ReadsEntries, number: int) -> Entry | str | KeyNotFoundError:
    """Return an entry, or say what is wrong with it."""
    name = series.name(number)
    try:
        return Entry(name, decode_part(series.get(number)))
    except KeyNotFoundError as error:
        return error
    except ObjectNotFoundError:
        return f"{name} is missing"
    except IntegrityError as error:
        text = str(error)
        return text if name in text else f"{name}: {text}"


@dataclass(frozen=True, slots=True)
class Covered:
    """What stored checkpoints say of a ledger.

    Attributes:
        entries: How many entries of it are stored.
        size: How many of its first events the newest stored checkpoint covers.
        made_at: When that was signed; ``None`` without any.
        signed: All that were signed by a key of the repository.
        others: Other ledgers in the same series, with their number of events.
        findings: What is missing, damaged, or signed by nobody known, in words.
    """

    entries: int
    size: int
    made_at: datetime | None
    signed: tuple[Checkpoint, ...]
    others: dict[str, int]
    findings: tuple[str, ...]


def covered(kept: Kept, origin: str, keys: Sequence[VerifyKey]) -> Covered:
    """Return what stored checkpoints say of the ledger ``origin``.

    Also what each part says by itself counts: its last event is where it was.
    """
    findings = list(kept.findings)
    signed: list[Checkpoint] = []
    made_at: datetime | None = None
    mine = [entry for entry in kept.entries if entry.part.origin == origin]
    for entry in mine:
        for note in entry.part.notes:
            try:
                signed.append(open_checkpoint(note.note, origin, keys))
            except IntegrityError as error:
                findings.append(f"{entry.name}: {error}")
                continue
            if signed[-1].size == max(each.size for each in signed):
                made_at = note.made_at
    if not mine and kept.entries:
        findings.append("entries of another ledger are stored, and none of this one")
    size = max((each.size for each in signed), default=0)
    folders = {entry.name.rpartition("/")[0] for entry in mine}
    others: dict[str, int] = {}
    for entry in kept.entries:
        part = entry.part
        if part.origin != origin and entry.name.rpartition("/")[0] in folders:
            others[part.origin] = max(part.last, others.get(part.origin, 0))
    return Covered(len(mine), size, made_at, tuple(signed), others, tuple(findings))


@dataclass(frozen=True, slots=True)
class Gathered:
    """A ledger as it was put together from what is stored.

    Attributes:
        origin: Its name.
        machine: The machine that stored its newest part.
        events: The chain from its first event on.
        notes: Checkpoints of it, verified, smallest first.
        newer: How many events are stored that nothing sound leads to.
        findings: What is missing or damaged, in words.
    """

    origin: str
    machine: str
    events: list[Event]
    notes: list[SignedCheckpoint]
    newer: int
    findings: tuple[str, ...]


def gather(kept: Kept, origin: str, keys: Sequence[VerifyKey]) -> Gathered:
    """Put the ledger ``origin`` together, as far as it is whole.

    Raises:
        IntegrityError: Its beginning is missing, or parts of it tell different histories.
    """
    mine = [entry.part for entry in kept.entries if entry.part.origin == origin]
    chain: list[Event] = []
    for part in sorted(mine, key=lambda each: (each.first, -each.last)):
        if part.first > len(chain) + 1:
            break
        overlap = len(chain) + 1 - part.first
        before = chain[part.first - 2].hash if part.first > 1 else GENESIS
        told = chain[part.first - 1 :][: len(part.events)]
        if part.prev != before or list(part.events[:overlap]) != told:
            raise IntegrityError(
                f"stored parts of ledger {origin} tell different histories from event {part.first} on",
                hint="Keep the store as it is; take the parts of one host with --host.",
            )
        chain += part.events[overlap:]
    if not chain:
        raise IntegrityError(
            f"the beginning of ledger {origin} is not stored", hint="Look into another repository."
        )
    newest = max(mine, key=lambda part: part.last)
    notes = list(_proven_notes(mine, origin, keys, chain))
    return Gathered(
        origin, newest.machine, chain, notes, newest.last - len(chain), tuple(kept.findings)
    )


def _proven_notes(
    parts: Sequence[Part], origin: str, keys: Sequence[VerifyKey], chain: Sequence[Event]
) -> Iterator[SignedCheckpoint]:
    """Yield the checkpoints of a chain, each size once.

    Raises:
        IntegrityError: One was signed for another chain, or by nobody known.
    """
    by_size = {note.size: note for part in parts for note in part.notes if note.size <= len(chain)}
    tree = Tree()
    for event in chain:
        tree.add(leaf_hash(hashed_bytes(event)))
        note = by_size.get(tree.size)
        if note is None:
            continue
        said = open_checkpoint(note.note, origin, keys)
        if (said.size, said.root) != (tree.size, tree.root):
            raise IntegrityError(
                f"the first {tree.size} stored events are not those that a checkpoint was signed for",
                hint="Keep the store as it is, and find out who wrote them.",
            )
        yield note
