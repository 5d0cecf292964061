"""The only way to write: events are appended, with what they make of the projections.

One transaction holds one or more events, their rows, and the new head; a crash leaves all or
none of it.
"""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, RowMapping, insert, select, update

from drkeeper.errors import LedgerError
from drkeeper.faults import point
from drkeeper.ledger.change import Change, IllegalEventError, Row
from drkeeper.ledger.events import GENESIS, Event, Kind, canonical, link
from drkeeper.ledger.projections import KEYS, changes
from drkeeper.ledger.tables import PROJECTIONS, event as event_table, head as head_table

HEAD_ID = 1
"""The head's only row."""

PARTS = {"yield_per": 1000}
"""How rows of a long table are read: so many at a time. Source: ours; some hundred kilobytes."""

DAMAGED_HINT = "Run drkeeper ledger verify, and keep the file."


def append(
    connection: Connection, at: str, entries: Sequence[tuple[Kind, Mapping[str, object]]]
) -> list[Event]:
    """Append events to the chain within the caller's write transaction.

    Raises:
        LedgerError: The chain's end is damaged, so nothing can follow it; or an event contradicts
            those before it.
    """
    seq, prev = _end(connection)
    events = []
    for kind, body in entries:
        event = link(seq + 1, prev, at, kind=kind.value, body=canonical(body))
        write_event(connection, event)
        _project(connection, event)
        seq, prev = event.seq, event.hash
        events.append(event)
    point("ledger.chain.moving_head")
    connection.execute(
        update(head_table).where(head_table.c.id == HEAD_ID).values(seq=seq, hash=prev)
    )
    point("ledger.chain.head_moved")
    return events


def begin_chain(connection: Connection, at: str, body: Mapping[str, object]) -> Event:
    """Write the first event and the head of a new ledger."""
    event = link(1, GENESIS, at, kind=Kind.LEDGER_CREATED.value, body=canonical(body))
    write_event(connection, event)
    connection.execute(insert(head_table).values(id=HEAD_ID, seq=event.seq, hash=event.hash))
    return event


def write_event(connection: Connection, event: Event) -> None:
    """Insert one row of the chain."""
    point("ledger.chain.writing_event")
    connection.execute(
        insert(event_table).values(
            seq=event.seq,
            at=event.at,
            kind=event.kind,
            body=event.body,
            prev=event.prev,
            hash=event.hash,
        )
    )
    point("ledger.chain.event_written")


def event_from_row(row: RowMapping) -> Event:
    """Take an event out of its row; types are as the database gives them."""
    return Event(row["seq"], row["at"], row["kind"], row["body"], row["prev"], row["hash"])


def events(connection: Connection, *, after: int = 0, limit: int | None = None) -> Iterator[Event]:
    """Yield the chain in order, a part at a time."""
    query = select(event_table).order_by(event_table.c.seq).limit(limit)
    if after:  # else also what a forger numbered below 1
        query = query.where(event_table.c.seq > after)
    # Whoever stops in the midst ends the query with it.
    with connection.execute(query, execution_options=PARTS) as rows:
        for row in rows.mappings():
            yield event_from_row(row)


def last_event(connection: Connection) -> Event | None:
    """Return the event with the highest number, if there is any."""
    query = select(event_table).order_by(event_table.c.seq.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return None if row is None else event_from_row(row)


def is_sound(event: Event, seq: int, prev: bytes) -> bool:
    """Whether an event read back is what was once linked at this place."""
    texts = (event.at, event.kind, event.body)
    hashes = (event.prev, event.hash)
    if type(event.seq) is not int or event.seq != seq:
        return False
    if any(type(text) is not str for text in texts) or any(type(h) is not bytes for h in hashes):
        return False
    return event == link(seq, prev, event.at, kind=event.kind, body=event.body)


def _end(connection: Connection) -> tuple[int, bytes]:
    """Read the end of the chain and see that head and last event agree.

    Raises:
        LedgerError: They do not.
    """
    # On a shared database this row is the lock that appenders queue at; SQLite has one already.
    head = connection.execute(
        select(head_table.c.seq, head_table.c.hash)
        .where(head_table.c.id == HEAD_ID)
        .with_for_update()
    ).one_or_none()
    if head is not None:
        row = connection.execute(
            select(event_table).where(event_table.c.seq == head.seq)
        ).one_or_none()
        if row is not None:
            last = event_from_row(row._mapping)  # noqa: SLF001 - public API of SQLAlchemy despite its name
            if last.hash == head.hash and is_sound(last, head.seq, last.prev):
                return last.seq, last.hash
    raise LedgerError("end of the ledger's chain is damaged", hint=DAMAGED_HINT)


def _project(connection: Connection, event: Event) -> None:
    def find(table: str, key: object) -> Row | None:
        return find_row(connection, table, key)

    try:
        made = changes(event, find)
    except IllegalEventError as error:
        hint = "Report this as a defect, with what drkeeper ledger verify says."
        raise LedgerError(str(error), hint=hint) from error
    point("ledger.chain.projecting")
    for change in made:
        _write_row(connection, change)
    point("ledger.chain.projected")


def find_row(connection: Connection, table: str, key: object) -> Row | None:
    """Return one row of a projection as it is now."""
    target = PROJECTIONS[table]
    found = connection.execute(select(target).where(target.c[KEYS[table]] == key)).one_or_none()
    return None if found is None else dict(found._mapping)  # noqa: SLF001 - public API of SQLAlchemy despite its name


def _write_row(connection: Connection, change: Change) -> None:
    table = PROJECTIONS[change.table]
    if change.new:
        connection.execute(insert(table).values(change.row))
    else:
        where = table.c[KEYS[change.table]] == change.key
        connection.execute(update(table).where(where).values(change.row))
