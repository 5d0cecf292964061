"""A commit: what makes a snapshot exist.

Source:
    docs/format.md 3.3.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec

from drkeeper.errors import IntegrityError
from drkeeper.repository.journal_body import (
    CommitBody,
    PlaceBody,
    format_instant,
    parse_body,
    parse_instant,
)
from drkeeper.repository.places import Place
from drkeeper.repository.state import JournalState
from drkeeper.repository.strict_json import MalformedError


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
            counts=Counts(
                entries=body.counts.entries,
                plain_bytes=body.counts.plain_bytes,
                new_bytes=body.counts.new_bytes,
                stored_bytes=body.counts.stored_bytes,
            ),
        )

    @classmethod
    def from_json(cls, n: int, digest: bytes, value: object) -> Self:
        """Read what :meth:`to_json` wrote, from a local copy of the journal's state.

        Raises:
            IntegrityError: It is not a commit.
        """
        try:
            body = parse_body("commit", value)
        except MalformedError as error:
            raise IntegrityError("malformed local copy of a commit") from error
        if not isinstance(body, CommitBody):
            raise IntegrityError("malformed local copy of a commit")
        return cls.from_body(n, digest, body)

    def to_json(self) -> dict[str, Any]:
        """Return the body of its entry."""
        return commit_body(
            _draft(self),
            session=self.session,
            lineage=self.lineage,
            host=self.host,
            seq=self.seq,
            previous=self.previous,
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
        "counts": {
            "entries": draft.counts.entries,
            "plain_bytes": draft.counts.plain_bytes,
            "new_bytes": draft.counts.new_bytes,
            "stored_bytes": draft.counts.stored_bytes,
        },
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


def newest(commits: Iterable[Commit]) -> Commit | None:
    """Return the commit with the highest entry number, ``None`` when there is none."""
    return max(commits, key=lambda commit: commit.n, default=None)


def _place(body: PlaceBody) -> Place:
    return Place.from_json(msgspec.to_builtins(body))


def _draft(commit: Commit) -> CommitDraft:
    return CommitDraft(
        consistent_at=commit.consistent_at,
        finished_at=commit.finished_at,
        next_due=commit.next_due,
        complete=commit.complete,
        consistency=commit.consistency,
        root=commit.root,
        refs=commit.refs,
        inventory_k=commit.inventory_k,
        inventory_digest=commit.inventory_digest,
        counts=commit.counts,
    )
