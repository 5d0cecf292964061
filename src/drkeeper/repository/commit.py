"""A commit: what makes a snapshot exist.

Source:
    docs/format.md 3.3.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec

from drkeeper.repository.journal_body import (
    CommitBody,
    PlaceBody,
    format_instant,
    parse_instant,
)
from drkeeper.repository.places import Codec, Place
from drkeeper.repository.state import JournalState


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers for people.

    Attributes:
        entries: Paths in the snapshot.
        plain_bytes: Bytes of content in the snapshot.
        new_bytes: Of these, bytes that no earlier snapshot held.
        stored_bytes: Bytes the session added to the store.
    """

    entries: int = 0
    plain_bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CommitDraft:
    """What a writer says about a snapshot; the journal adds the rest.

    Attributes:
        consistent_at: Instant the data describes, by the source's clock.
        finished_at: When everything the snapshot needs was durable.
        next_due: When the next commit of the lineage is promised.
        complete: Whether the whole source is in it.
        consistency: ``application``, ``crash`` or ``none``.
        root: Place of the snapshot root.
        refs: Place of the refs root.
        inventory_k: Number of the inventory that lists the new objects.
        inventory_digest: BLAKE3 of that inventory.
        counts: Numbers for people.
    """

    consistent_at: datetime
    finished_at: datetime
    next_due: datetime | None
    complete: bool
    consistency: str
    root: Place
    refs: Place
    inventory_k: int
    inventory_digest: bytes
    counts: Counts


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit in the journal.

    Attributes:
        n: Number of its entry.
        digest: Digest of its entry.
        session: Session that made it.
        lineage: Line of snapshots it belongs to.
        host: Host that owns the lineage.
        seq: 1, 2, … within the lineage.
        previous: Entry number of the commit before it in the lineage, or 0.
        consistent_at: Instant the data describes.
        finished_at: When everything it needs was durable.
        next_due: When the next one was promised.
        complete: Whether the whole source is in it.
        consistency: ``application``, ``crash`` or ``none``.
        root: Place of the snapshot root.
        refs: Place of the refs root.
        inventory_k: Number of the inventory that lists the session's new objects.
        inventory_digest: BLAKE3 of that inventory.
        counts: Numbers for people.
    """

    n: int
    digest: bytes
    session: bytes
    lineage: bytes
    host: bytes
    seq: int
    previous: int
    consistent_at: datetime
    finished_at: datetime
    next_due: datetime | None
    complete: bool
    consistency: str
    root: Place
    refs: Place
    inventory_k: int
    inventory_digest: bytes
    counts: Counts

    @classmethod
    def from_body(cls, n: int, digest: bytes, body: CommitBody) -> Self:
        """Read a verified `commit` entry."""
        return cls(
            n=n,
            digest=digest,
            session=bytes.fromhex(body.session),
            lineage=bytes.fromhex(body.lineage),
            host=bytes.fromhex(body.host),
            seq=body.seq,
            previous=body.previous,
            consistent_at=parse_instant(body.consistent_at),
            finished_at=parse_instant(body.finished_at),
            next_due=None if body.next_due is None else parse_instant(body.next_due),
            complete=body.complete,
            consistency=body.consistency,
            root=_place(body.root),
            refs=_place(body.refs),
            inventory_k=body.inventory.k,
            inventory_digest=bytes.fromhex(body.inventory.digest),
            counts=Counts(**msgspec.structs.asdict(body.counts)),
        )


def commit_body(
    draft: CommitDraft, *, session: bytes, lineage: bytes, host: bytes, seq: int, previous: int
) -> dict[str, Any]:
    """Return the body of a `commit` entry. Source: docs/format.md 3.3."""
    due = draft.next_due
    return {
        "session": session.hex(),
        "lineage": lineage.hex(),
        "host": host.hex(),
        "seq": seq,
        "previous": previous,
        "consistent_at": format_instant(draft.consistent_at),
        "finished_at": format_instant(draft.finished_at),
        "next_due": None if due is None else format_instant(due),
        "complete": draft.complete,
        "consistency": draft.consistency,
        "root": draft.root.to_json(),
        "refs": draft.refs.to_json(),
        "inventory": {"k": draft.inventory_k, "digest": draft.inventory_digest.hex()},
        "counts": asdict(draft.counts),
    }


@dataclass(frozen=True, slots=True)
class StaleLineage:
    """A lineage whose promised commit is not there.

    It is late, or the store presents an old state; a reader cannot tell which.

    Attributes:
        lineage: Its id.
        host: The host that owns it.
        last: Entry number of its newest commit.
        next_due: What that commit promised.
        late_by: How long ago that was.
    """

    lineage: bytes
    host: bytes
    last: int
    next_due: datetime
    late_by: timedelta


def stale_lineages(state: JournalState, now: datetime, grace: timedelta) -> list[StaleLineage]:
    """Return the lineages with ``now > next_due + grace``, the latest first.

    Source:
        docs/format.md 3.3.
    """
    found = []
    for lineage, facts in state.lineages.items():
        if facts.next_due is None:
            continue
        due = parse_instant(facts.next_due)
        if now > due + grace:
            found.append(
                StaleLineage(
                    lineage=bytes.fromhex(lineage),
                    host=bytes.fromhex(facts.host),
                    last=facts.last,
                    next_due=due,
                    late_by=now - due,
                )
            )
    return sorted(found, key=lambda stale: stale.late_by, reverse=True)


def _place(body: PlaceBody) -> Place:
    return Place(
        session=bytes.fromhex(body.session),
        id=bytes.fromhex(body.id),
        offset=body.offset,
        stored=body.stored,
        plain=body.plain,
        codec=Codec(body.codec),
        digest=bytes.fromhex(body.digest),
    )
