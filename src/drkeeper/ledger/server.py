"""The shape of a ledger in PostgreSQL: made whole or not at all, recognised, brought up to date.

The server's data definition is transactional and the write lock lets one process at a time do this,
so nobody ever sees a half-made ledger. A ledger has a schema of the database to itself: the first
one of the connection's search path.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Engine, inspect

from drkeeper.errors import LedgerError
from drkeeper.faults import point
from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.form import SCHEMA_VERSION, refuse_newer
from drkeeper.ledger.steps import form_of, run_steps
from drkeeper.ledger.tables import event, head, schema_version

_MARKS = {event.name, head.name, schema_version.name}


def settle(
    engine: Engine,
    begin: Callable[[Connection], object],
    *,
    read_only: bool = False,
    target: str = SCHEMA_VERSION,
    steps: Sequence[str] = (),
) -> None:
    """See that there is a ledger of the shape this program knows, making it or bringing it there.

    Args:
        engine: Over the database.
        begin: Writes the first rows into the finished tables.
        read_only: Refuse instead of changing anything.
        target: The shape wanted.
        steps: Further directories of steps.

    Raises:
        LedgerError: The schema holds something else, a newer ledger, or cannot be changed.
    """
    with reading(engine) as connection:
        found = _form(connection)
    if found == target:
        return
    if read_only:
        _refuse(found, target)
    with writing(engine) as connection:
        found = _form(connection)
        refuse_newer(found or "", target)
        if found == target:
            return
        point("ledger.server.building")
        run_steps(connection, target, steps)
        if found is None:
            begin(connection)
        point("ledger.server.built")


def _form(connection: Connection) -> str | None:
    """Return the shape of the ledger, or ``None`` when there is nothing at all.

    Raises:
        LedgerError: There is something else.
    """
    names = set(inspect(connection).get_table_names())
    if not names:
        return None
    if not names >= _MARKS:
        raise LedgerError(
            f"schema of the database holds other tables ({min(names - _MARKS, default='')})",
            hint="Give the ledger a database, or a schema, of its own.",
        )
    return form_of(connection)


def _refuse(found: str | None, target: str) -> None:
    """Say why a ledger cannot be looked at as it is.

    Raises:
        LedgerError: Always.
    """
    if found is None:
        raise LedgerError("there is no ledger in the database", hint="Check the ledger's URL.")
    refuse_newer(found, target)
    raise LedgerError(
        f"ledger is of an older form ({found}) and may only be read",
        hint="The daemon brings it up to date when it starts; so does drkeeper ledger verify, run as "
        "a user who may write to the ledger.",
    )
