"""The ledger as the rest of drkeeper sees it: what happened, in order, provably unchanged."""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, delete

from drkeeper.clock import Clock
from drkeeper.crypto.notes import Checkpoint
from drkeeper.faults import point
from drkeeper.ledger import place as files, postgresql, schema, server, sqlite
from drkeeper.ledger.actions import Actions
from drkeeper.ledger.alarms import Alarms
from drkeeper.ledger.chain import begin_chain, events, last_event
from drkeeper.ledger.checkpoints import Checkpoints
from drkeeper.ledger.claims import Claims
from drkeeper.ledger.connecting import PATIENCE
from drkeeper.ledger.daemons import Daemons
from drkeeper.ledger.drills import Drills
from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.events import Event
from drkeeper.ledger.exporting import Exports
from drkeeper.ledger.fold import Fold
from drkeeper.ledger.form import SCHEMA_VERSION
from drkeeper.ledger.points import Points
from drkeeper.ledger.policies import Policies
from drkeeper.ledger.queries import Queries
from drkeeper.ledger.reconciling import Reconciling
from drkeeper.ledger.records import NEWEST
from drkeeper.ledger.runs import Runs
from drkeeper.ledger.storing import Storing
from drkeeper.ledger.tables import PROJECTIONS
from drkeeper.ledger.verify import VerifyReport, fold_or_refuse, verify
from drkeeper.model.instants import exact_rfc3339
from drkeeper.model.run import Process


def open_ledger(
    place: str | os.PathLike[str],
    *,
    clock: Clock,
    me: Callable[[], Process],
    patience: timedelta = PATIENCE,
    read_only: bool = False,
) -> "Ledger":
    """Open the ledger at ``place``, making it first if there is none.

    Args:
        place: The ledger file, whose directory is made, private, if need be; or the URL of a
            PostgreSQL database, ``postgresql://...``, without a password.
        clock: Dates the events.
        me: Describes the calling process; asked at the beginning of every run.
        patience: Longest wait for another process's transaction.
        read_only: Open only what exists, and never write.

    Raises:
        LedgerBusyError: Another process held the ledger for longer than ``patience``.
        LedgerUnavailableError: The server does not answer.
        NoSpaceError: The file system is full; nothing was changed.
        LedgerError: The place is unfit (network file system, symbolic link, rights), or what is
            there is damaged, not a ledger, or made by a newer drkeeper.
    """
    name = os.fspath(place)
    born = {"ledger": secrets.token_hex(16), "form": SCHEMA_VERSION}

    def begin(connection: Connection) -> None:
        begin_chain(connection, exact_rfc3339(clock.now()), born)

    opened = _open_shared if postgresql.is_url(name) else _open_file
    return Ledger(opened(name, begin, patience, read_only), clock=clock, me=me)


_Begin = Callable[[Connection], None]


def _open_shared(url: str, begin: _Begin, patience: timedelta, read_only: bool) -> Engine:  # noqa: FBT001 - of two that are called alike
    engine = postgresql.open_engine(url, patience=patience, read_only=read_only)
    with _or_closed(engine):
        server.settle(engine, begin, read_only=read_only)
    return engine


def _open_file(name: str, begin: _Begin, patience: timedelta, read_only: bool) -> Engine:  # noqa: FBT001 - as above
    real = files.find(name) if read_only else files.prepare(name)
    if not read_only:
        if files.check(real):
            files.tighten(real)
        else:
            schema.create(real, begin, patience=patience)
    engine = sqlite.open_engine(real, patience=patience, read_only=read_only)
    with _or_closed(engine):
        schema.settle(engine, real, read_only=read_only)
    return engine


@contextmanager
def _or_closed(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


class Ledger(  # docs/adr/0045-the-ledger-is-the-sum-of-its-nouns.md
    Runs,
    Points,
    Policies,
    Alarms,
    Reconciling,
    Claims,
    Daemons,
    Drills,
    Actions,
    Checkpoints,
    Exports,
    Storing,
    Queries,
):
    """The record of what drkeeper did: an event chain and the tables computed from it.

    Every method is one transaction: when it returns, what it recorded survives a power cut; when
    it raises ``LedgerBusyError`` or ``NoSpaceError``, nothing was recorded. Any number of threads
    and processes may use one ledger; writers wait for each other. Use :func:`open_ledger`.

    Every method raises ``LedgerBusyError`` when it waited in vain, ``NoSpaceError`` when the file
    system is full, ``LedgerUnavailableError`` when the ledger's server does not answer, and
    ``LedgerError`` when the ledger cannot be read or written or is damaged.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; closing twice is harmless."""
        self._engine.dispose()

    def events(self, *, after: int = 0, limit: int = NEWEST) -> list[Event]:
        """Return links of the chain in order, as they are in the file, unchecked."""
        with reading(self._engine) as connection:
            return list(events(connection, after=after, limit=limit))

    def last_event(self) -> Event | None:
        """Return the newest link of the chain, unchecked; ``None`` when all were removed."""
        with reading(self._engine) as connection:
            return last_event(connection)

    def verify(self, signed: Sequence[Checkpoint] = ()) -> VerifyReport:
        """Look at the whole ledger; changes nothing, holds up writers meanwhile.

        Args:
            signed: Checkpoints of it that are believed (:func:`drkeeper.crypto.notes.open_checkpoint`),
                from where whoever can write the ledger could not change them.

        Damage is a finding of the report; an error is raised only for a ledger that cannot be
        looked at.
        """
        with reading(self._engine) as connection:
            return verify(connection, signed)

    def rebuild_projections(self) -> int:
        """Compute every table anew from the chain, and return the number of rows.

        Raises:
            LedgerError: The chain itself is damaged, so the tables are left as they are; or as
                for the class.
        """
        with writing(self._engine) as connection, Fold() as fold:
            fold_or_refuse(connection, fold)
            point("ledger.ledger.rebuilding")
            for table in reversed(PROJECTIONS.values()):
                connection.execute(delete(table))
            count = fold.write(connection)
            point("ledger.ledger.rebuilt")
            return count
