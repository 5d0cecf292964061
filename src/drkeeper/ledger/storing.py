"""The chain in parts, to be kept where this machine cannot change it; and a ledger made of them."""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, insert, select

from drkeeper.crypto.merkle import Tree, leaf_hash
from drkeeper.errors import IntegrityError, LedgerError
from drkeeper.faults import point
from drkeeper.ledger import place as files, postgresql, schema, server
from drkeeper.ledger.chain import HEAD_ID, event_from_row, events, is_sound
from drkeeper.ledger.change import IllegalEventError
from drkeeper.ledger.checkpoints import SignedCheckpoint, kept_checkpoints, origin_in
from drkeeper.ledger.connecting import PATIENCE
from drkeeper.ledger.engine import reading
from drkeeper.ledger.entries import MOST_TEXT_BYTES, Known, Part
from drkeeper.ledger.events import Event, hashed_bytes
from drkeeper.ledger.fold import Fold
from drkeeper.ledger.records import Records
from drkeeper.ledger.tables import (
    checkpoint as checkpoint_table,
    event as event_table,
    head as head_table,
)
from drkeeper.model.instants import exact_rfc3339

_ROWS = 500
"""Rows that are inserted at a time. Source: ours; some hundred kilobytes."""


class Storing(Records):
    """The chain for keeping elsewhere."""

    def part(self, known: Known, machine: str) -> Part | None:
        """Return the next events that are not kept elsewhere yet; ``None`` when all are.

        Args:
            known: What is kept.
            machine: Name of this machine.

        Raises:
            IntegrityError: What is kept are not the first events of this ledger.
            LedgerError: The chain is damaged where it is read; or as for the ledger.
        """
        with reading(self._engine) as connection:
            _require_continued(connection, known)
            taken = list(_some(connection, known))
            if not taken:
                return None
            origin, last = origin_in(connection), taken[-1].seq
            notes = [n for n in kept_checkpoints(connection) if known.size < n.size <= last]
        return Part(origin, machine, known.head, taken, notes)


def _require_continued(connection: Connection, known: Known) -> None:
    if not known.size:
        return
    query = select(event_table).where(event_table.c.seq == known.size)
    row = connection.execute(query).mappings().one_or_none()
    kept = None if row is None else event_from_row(row)
    if kept is None or kept.hash != known.head or not is_sound(kept, known.size, kept.prev):
        raise IntegrityError(
            f"the first {known.size} events of this ledger are not those that were stored",
            hint="Run drkeeper ledger verify --storage, and keep the file.",
        )


def _some(connection: Connection, known: Known) -> Iterator[Event]:
    seq, prev, taken = known.size, known.head, 0
    for event in events(connection, after=known.size):
        if not is_sound(event, seq + 1, prev):
            raise LedgerError(
                f"event {seq + 1} was changed, moved or removed",
                hint="Run drkeeper ledger verify, and keep the file.",
            )
        taken += len(event.body)
        if taken > MOST_TEXT_BYTES and seq > known.size:
            return
        yield event
        seq, prev = event.seq, event.hash


def make_ledger(
    place: str | os.PathLike[str], chain: Sequence[Event], notes: Sequence[SignedCheckpoint]
) -> None:
    """Make a ledger of a chain that was kept elsewhere.

    Args:
        place: The file, or the URL of a server; there must be no ledger yet.
        chain: All its events, in order.
        notes: Checkpoints that were signed of it and have been verified, smallest first.

    Raises:
        IntegrityError: The events are no history, or not the one that was signed.
        LedgerError: There is a ledger already, or none can be made there.
    """
    with Fold() as fold:
        _make_ledger(os.fspath(place), chain, fold, _fold_all(fold, chain, notes))


def _make_ledger(
    name: str, chain: Sequence[Event], fold: Fold, kept: Sequence[dict[str, object]]
) -> None:
    made: list[bool] = []

    def write(connection: Connection) -> None:
        made.append(True)
        point("ledger.storing.writing")
        for rows in _slices([_event_row(each) for each in chain]):
            connection.execute(insert(event_table), rows)
        last = chain[-1]
        connection.execute(insert(head_table).values(id=HEAD_ID, seq=last.seq, hash=last.hash))
        fold.write(connection)
        if kept:
            connection.execute(insert(checkpoint_table), kept)
        point("ledger.storing.written")

    if postgresql.is_url(name):
        engine = postgresql.open_engine(name, patience=PATIENCE, read_only=False)
        try:
            server.settle(engine, write)
        finally:
            engine.dispose()
    else:
        name = files.prepare(name)
        if not files.check(name):
            schema.create(name, write, patience=PATIENCE)
    if not made:
        raise LedgerError(
            f"there is a ledger already: {postgresql.shown(name)}", hint="Move it away first."
        )


def _fold_all(
    fold: Fold, chain: Sequence[Event], notes: Sequence[SignedCheckpoint]
) -> list[dict[str, object]]:
    """Compute what the events add up to, and return what goes with each checkpoint.

    Raises:
        IntegrityError: An event contradicts those before it.
    """
    tree = Tree()
    by_size = {note.size: note for note in notes}
    kept: list[dict[str, object]] = []
    for event in chain:
        try:
            fold.add(event)
        except IllegalEventError as error:
            raise IntegrityError(f"stored ledger is no history: {error}") from error
        tree.add(leaf_hash(hashed_bytes(event)))
        if (note := by_size.get(tree.size)) is not None:
            kept.append(_checkpoint_row(note, tree.state(), note.made_at))
    return kept


def _checkpoint_row(note: SignedCheckpoint, tree: bytes, made_at: datetime) -> dict[str, object]:
    return {
        "size": note.size,
        "note": note.note,
        "tree": tree,
        "made_at": exact_rfc3339(made_at),
    }


def _event_row(event: Event) -> dict[str, object]:
    return {
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        "body": event.body,
        "prev": event.prev,
        "hash": event.hash,
    }


def _slices(rows: list[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    remaining = iter(rows)
    while taken := list(islice(remaining, _ROWS)):
        yield taken
