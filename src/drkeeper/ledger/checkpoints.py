"""Signed checkpoints: what the chain was at a size, so that even a whole recomputed one is found.

The leaves of the tree are the events' hashed bytes (docs/ledger.md, "The chain"), in order. A
checkpoint is kept outside the chain, for it cannot be an event of what it signs, and it is worth
something only where whoever can change the ledger cannot reach it: in the repository.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection, insert, select

from drkeeper.crypto.merkle import Tree, leaf_hash
from drkeeper.crypto.notes import Checkpoint, open_checkpoint, sign_checkpoint
from drkeeper.crypto.signing import SigningKey, VerifyKey
from drkeeper.errors import LedgerError
from drkeeper.faults import point
from drkeeper.ledger.chain import DAMAGED_HINT, events, is_sound, last_event
from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.events import GENESIS, Kind, hashed_bytes, instant_from_text
from drkeeper.ledger.records import NEWEST, Records, rows_of
from drkeeper.ledger.rows import Row
from drkeeper.ledger.tables import checkpoint as table, event as event_table
from drkeeper.model.instants import exact_rfc3339

ORIGIN = "drkeeper/ledger/{}"
"""Names a ledger in its checkpoints. Source: docs/ledger.md, "Checkpoints"."""


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it was signed.

    Attributes:
        size: Number of events.
        note: The signed note.
        made_at: When, by the machine that signed it; not signed itself.
    """

    size: int
    note: str
    made_at: datetime


class KeepsCheckpoints(Protocol):
    """Where checkpoints and what they sign are kept out of this machine's reach.

    An entry is written once, numbered from 1 without gaps by each host, and never changed; reading
    gives back what was written or fails with ``IntegrityError``. The repository keeps entry n of a
    host as object ``ledger/<host>/<n:012d>`` (docs/format.md, section 11.1).
    """

    def put(self, number: int, content: bytes) -> None:
        """Store an entry durably.

        Raises:
            ObjectExistsError: There is another entry of this number.
            StorageError: It could not be stored.
        """
        ...

    def get(self, number: int) -> bytes:
        """Return an entry.

        Raises:
            ObjectNotFoundError: There is none of this number.
            IntegrityError: It is not what was stored.
        """
        ...

    def numbers(self, *, after: int = 0) -> list[int]:
        """Return the numbers above ``after`` under which anything is stored, ascending."""
        ...


class Checkpoints(Records):
    """What was signed of the chain."""

    def origin(self) -> str:
        """Return the name that this ledger bears in its checkpoints.

        Raises:
            LedgerError: The first event does not tell it; or as for the ledger.
        """
        with reading(self._engine) as connection:
            return origin_in(connection)

    def sign(self, key: SigningKey) -> SignedCheckpoint:
        """Sign what the chain is now; when nothing was added since the last time, what was signed then.

        Only what was added since is read: what was signed before is not signed otherwise now, whatever
        somebody has made of those events meanwhile.

        Raises:
            LedgerError: The chain is damaged where it is read; or as for the ledger.
        """
        with writing(self._engine) as connection:
            kept = _newest(connection)
            tree = _grown(connection, kept)
            if kept is not None and kept.size == tree.size:
                return kept.signed()
            made_at = self._clock.now()
            signed = Checkpoint(origin_in(connection), tree.size, tree.root)
            made = _Kept(tree.size, sign_checkpoint(signed, key), tree.state(), made_at)
            point("ledger.checkpoints.writing")
            connection.execute(insert(table).values(_row(made)))
            point("ledger.checkpoints.written")
            return made.signed()

    def checkpoints(self, *, limit: int = NEWEST) -> list[SignedCheckpoint]:
        """Return what was signed, newest first; not verified."""
        query = select(table).order_by(table.c.size.desc()).limit(limit)
        return [each.signed() for each in self._read(query, _kept_from_row)]

    def newest_checkpoint(self, keys: Sequence[VerifyKey]) -> Checkpoint | None:
        """Return the newest checkpoint, verified; ``None`` when there is none.

        Raises:
            IntegrityError: None of ``keys`` has signed it.
            LedgerError: As for the ledger.
        """
        found = self.checkpoints(limit=1)
        return open_checkpoint(found[0].note, self.origin(), keys) if found else None


@dataclass(frozen=True, slots=True)
class _Kept:
    size: int
    note: str
    tree: bytes
    made_at: datetime

    def signed(self) -> SignedCheckpoint:
        return SignedCheckpoint(self.size, self.note, self.made_at)


def _kept_from_row(row: Row) -> _Kept:
    size, note, tree, made_at = (row[name] for name in ("size", "note", "tree", "made_at"))
    if type(size) is not int or not isinstance(note, str) or not isinstance(tree, bytes):
        raise TypeError("checkpoint")
    return _Kept(size, note, tree, instant_from_text(str(made_at)))


def _row(kept: _Kept) -> dict[str, object]:
    return {
        "size": kept.size,
        "note": kept.note,
        "tree": kept.tree,
        "made_at": exact_rfc3339(kept.made_at),
    }


def origin_in(connection: Connection) -> str:
    """Return the name of the ledger in its checkpoints.

    Raises:
        LedgerError: The first event does not tell it.
    """
    first = next(events(connection, limit=1), None)
    if first is not None and first.seq == 1 and first.kind == Kind.LEDGER_CREATED:
        name = json.loads(first.body).get("ledger")
        if isinstance(name, str):
            return ORIGIN.format(name)
    raise LedgerError("first event of the ledger does not name it", hint=DAMAGED_HINT)


def kept_checkpoints(connection: Connection) -> list[SignedCheckpoint]:
    """Return all that was signed, oldest first; not verified."""
    found = rows_of(connection, select(table).order_by(table.c.size), _kept_from_row)
    return [each.signed() for each in found]


def _newest(connection: Connection) -> _Kept | None:
    query = select(table).order_by(table.c.size.desc()).limit(1)
    return next(iter(rows_of(connection, query, _kept_from_row)), None)


def _grown(connection: Connection, kept: _Kept | None) -> Tree:
    """Return the tree over the whole chain, reading what was added since ``kept``.

    Raises:
        LedgerError: What is read is no sound end of the chain.
    """
    tree = Tree() if kept is None else Tree.resumed(kept.size, kept.tree)
    prev = _hash_of(connection, tree.size)
    for each in events(connection, after=tree.size):
        if prev is None or not is_sound(each, tree.size + 1, prev):
            break
        tree.add(leaf_hash(hashed_bytes(each)))
        prev = each.hash
    last = last_event(connection)
    if last is None or prev is None or (last.seq, last.hash) != (tree.size, prev):
        raise LedgerError("chain of the ledger is damaged", hint=DAMAGED_HINT)
    return tree


def _hash_of(connection: Connection, seq: int) -> bytes | None:
    if seq == 0:
        return GENESIS
    found = connection.execute(select(event_table.c.hash).where(event_table.c.seq == seq))
    hashed: bytes | None = found.scalar_one_or_none()
    return hashed


def check_checkpoints(
    roots: Mapping[int, bytes], length: int, signed: Sequence[Checkpoint]
) -> Iterator[str]:
    """Compare checkpoints with the chain that was found.

    Args:
        roots: The root of the chain's first events, for each size that a checkpoint has.
        length: Number of events, as far as they are sound.
        signed: Checkpoints that are believed.
    """
    for each in sorted(signed, key=lambda checkpoint: checkpoint.size):
        if each.size > length:
            yield f"checkpoint of {each.size} events was signed, but only {length} are there"
        elif roots.get(each.size) != each.root:
            yield f"first {each.size} events are not those that a checkpoint was signed for"
