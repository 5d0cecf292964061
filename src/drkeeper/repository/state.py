"""What the journal says, as a state; :mod:`drkeeper.repository.steps` has its legal steps.

Legality depends on nothing but this state, and a checkpoint holds all of it, so reading on from a
checkpoint and reading everything end alike (docs/format.md 3.4).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Self

import msgspec

from drkeeper.errors import ConfigurationError, IntegrityError
from drkeeper.repository.journal_body import (
    Count,
    Epoch,
    HexDigest,
    HexId,
    Number,
    ObjectRef,
    Slots,
    parse_instant,
)
from drkeeper.repository.journal_entry import NO_DIGEST
from drkeeper.repository.keyring import Keyring
from drkeeper.repository.strict_json import MalformedError

CHECKPOINT_EVERY: Final = 256
"""Source: docs/format.md 3.4."""


class OpenSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session that may still commit.

    Attributes:
        lineage: Hex id of the lineage it writes.
        host: Hex id of its host.
        n: Number of its `open` entry.
        keyslots: Digests of its key slots.
        resumes: Number of the partial commit it continues.
        keyring: Version its key slots were made for.
    """

    lineage: HexId
    host: HexId
    n: Number
    keyslots: Slots
    resumes: Number | None
    keyring: Number


class Lineage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of snapshots.

    Attributes:
        host: Hex id of the host that owns it.
        seq: Sequence number of its newest commit; 0 before the first.
        last: Number of the entry of that commit; 0 before the first.
        next_due: When its host promised the next, as written.
    """

    host: HexId
    seq: Count
    last: Count
    next_due: str | None


class LiveCommit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A commit that has not expired.

    Attributes:
        n: Number of its entry.
        digest: Digest of that entry, hex.
        session: Hex id of the session that made it.
    """

    n: Number
    digest: HexDigest
    session: HexId


class SessionSlots(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to find the keys of a session that a live commit names."""

    keyring: Number
    slots: Slots


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the log of a lineage is known to reach."""

    epoch: Epoch
    seq: Count
    digest: HexDigest


_Decimal = Annotated[str, msgspec.Meta(pattern=r"\A[1-9][0-9]{0,15}\Z")]


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A state as a checkpoint spells it. Source: docs/format.md 3.4."""

    keyring: dict[str, Any]
    keyrings: list[tuple[Number, HexDigest]]
    sessions: dict[HexId, OpenSession]
    lineages: dict[HexId, Lineage]
    commits: list[LiveCommit]
    keyslots: dict[HexId, SessionSlots]
    holds: dict[_Decimal, str | None]
    condemned: list[tuple[Number, list[ObjectRef]]]
    marks: dict[HexId, Mark]


@dataclass(slots=True)
class JournalState:
    """The repository as of its newest valid entry.

    Attributes:
        repository: Id of the repository.
        n: Number of the newest valid entry; 0 before the first.
        digest: Digest of that entry.
        keyring: Keyring in force; ``None`` before entry 1.
        keyrings: (number, hex digest) of every entry that set a keyring.
        sessions: Open sessions, by hex id.
        lineages: By hex id.
        commits: Live commits by number, ascending.
        keyslots: Of sessions that live commits name, by hex id.
        holds: Commit number to the end of the hold, ``None`` for no end.
        condemned: `condemn` entry number to its objects, until swept.
        marks: By hex lineage.
    """

    repository: bytes
    n: int = 0
    digest: bytes = NO_DIGEST
    keyring: Keyring | None = None
    keyrings: list[tuple[int, str]] = field(default_factory=list)
    sessions: dict[str, OpenSession] = field(default_factory=dict)
    lineages: dict[str, Lineage] = field(default_factory=dict)
    commits: dict[int, LiveCommit] = field(default_factory=dict)
    keyslots: dict[str, SessionSlots] = field(default_factory=dict)
    holds: dict[int, str | None] = field(default_factory=dict)
    condemned: dict[int, tuple[str, ...]] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)

    def copy(self) -> Self:
        """Return a state that further steps of this one do not change."""
        return type(self)(
            repository=self.repository,
            n=self.n,
            digest=self.digest,
            keyring=self.keyring,
            keyrings=list(self.keyrings),
            sessions=dict(self.sessions),
            lineages=dict(self.lineages),
            commits=dict(self.commits),
            keyslots=dict(self.keyslots),
            holds=dict(self.holds),
            condemned=dict(self.condemned),
            marks=dict(self.marks),
        )

    def condemned_among(self, names: Collection[str]) -> set[str]:
        """Return which of these objects (``<kind>/<hex id>``) are condemned and not yet swept."""
        wanted = set(names)
        found: set[str] = set()
        for objects in self.condemned.values():
            found |= wanted.intersection(objects)
        return found

    def slots_of(self, session: str) -> SessionSlots | None:
        """Return the key slots of an open or live session, ``None`` for any other."""
        if (live := self.keyslots.get(session)) is not None:
            return live
        if (opened := self.sessions.get(session)) is not None:
            return SessionSlots(keyring=opened.keyring, slots=opened.keyslots)
        return None

    def to_checkpoint(self) -> dict[str, Any]:
        """Return the state as a checkpoint says it. Source: docs/format.md 3.4."""
        return {
            "keyring": None if self.keyring is None else self.keyring.to_json(),
            "keyrings": [list(item) for item in self.keyrings],
            "sessions": msgspec.to_builtins(self.sessions),
            "lineages": msgspec.to_builtins(self.lineages),
            "commits": msgspec.to_builtins(list(self.commits.values())),
            "keyslots": msgspec.to_builtins(self.keyslots),
            "holds": {str(n): until for n, until in self.holds.items()},
            "condemned": [[n, list(objects)] for n, objects in self.condemned.items()],
            "marks": msgspec.to_builtins(self.marks),
        }

    @classmethod
    def from_checkpoint(
        cls, value: dict[str, Any], *, repository: bytes, n: int, digest: bytes
    ) -> Self:
        """Continue from a checkpoint; ``n`` and ``digest`` are those of its own entry.

        Raises:
            IntegrityError: It is not a state.
        """
        try:
            raw = msgspec.convert(value, Checkpoint)
        except msgspec.ValidationError as error:
            raise IntegrityError(f"the state in checkpoint {n} is malformed", n=n) from error
        return cls.restored(raw, repository=repository, n=n, digest=digest)

    @classmethod
    def restored(cls, raw: Checkpoint, *, repository: bytes, n: int, digest: bytes) -> Self:
        """Continue from the parts of a checkpoint.

        Raises:
            IntegrityError: They contradict each other.
        """
        try:
            _refuse_contradictions(raw)
            keyring = Keyring.from_json(raw.keyring)
        except (MalformedError, ValueError, ConfigurationError) as error:
            raise IntegrityError(f"the state in checkpoint {n} is malformed", n=n) from error
        return cls(
            repository=repository,
            n=n,
            digest=digest,
            keyring=keyring,
            keyrings=list(raw.keyrings),
            sessions=raw.sessions,
            lineages=raw.lineages,
            commits={commit.n: commit for commit in raw.commits},
            keyslots=raw.keyslots,
            holds={int(number): until for number, until in raw.holds.items()},
            condemned={number: tuple(objects) for number, objects in raw.condemned},
            marks=raw.marks,
        )


def _refuse_contradictions(raw: Checkpoint) -> None:
    """Refuse what no sequence of entries can lead to, and later steps would stumble over.

    Raises:
        MalformedError: There is such a thing.
    """
    instants = [lineage.next_due for lineage in raw.lineages.values()]
    for instant in (*instants, *raw.holds.values()):
        if instant is not None:
            parse_instant(instant)
    if not all(session.lineage in raw.lineages for session in raw.sessions.values()):
        raise MalformedError("a session is of no lineage")
    if not all(commit.session in raw.keyslots for commit in raw.commits):
        raise MalformedError("a commit is of a session without key slots")
