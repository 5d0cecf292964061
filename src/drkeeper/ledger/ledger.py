"""The ledger as the rest of drkeeper sees it: what happened, in order, provably unchanged."""

import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, Select, delete, insert, select

from drkeeper.clock import Clock
from drkeeper.errors import LedgerError
from drkeeper.faults import point
from drkeeper.ledger import place, schema
from drkeeper.ledger.chain import append, begin_chain, events
from drkeeper.ledger.engine import PATIENCE, open_engine, reading, writing
from drkeeper.ledger.events import Event, Kind
from drkeeper.ledger.process import is_alive
from drkeeper.ledger.rows import (
    body_of,
    checked,
    failure_body,
    point_from_row,
    process_from_row,
    run_from_row,
    seen_from_row,
    verification_from_row,
)
from drkeeper.ledger.tables import (
    PROJECTIONS,
    SCHEMA_VERSION,
    policy as policy_table,
    recovery_point,
    run,
    verification,
)
from drkeeper.ledger.verify import VerifyReport, fold_or_refuse, verify
from drkeeper.model.instants import exact_rfc3339
from drkeeper.model.run import (
    Operation,
    Process,
    RecoveryPoint,
    Run,
    RunFailure,
    RunId,
    RunState,
    SeenPolicy,
    Verification,
)

NEWEST = 1000
"""How many rows a query returns unless told. Source: ours."""

_T = TypeVar("_T")


def open_ledger(
    path: str | os.PathLike[str],
    *,
    clock: Clock,
    me: Callable[[], Process],
    patience: timedelta = PATIENCE,
    read_only: bool = False,
) -> "Ledger":
    """Open the ledger at ``path``, making it first if there is none.

    Args:
        path: The ledger file; its directory is made, private, if need be.
        clock: Dates the events.
        me: Describes the calling process; asked at the beginning of every run.
        patience: Longest wait for another process's transaction.
        read_only: Open only what exists, and never write.

    Raises:
        LedgerBusyError: Another process held the ledger for longer than ``patience``.
        NoSpaceError: The file system is full; nothing was changed.
        LedgerError: The place is unfit (network file system, symbolic link, rights), or the file
            is damaged, not a ledger, or made by a newer drkeeper.
    """
    name = os.fspath(path)
    real = place.prepare(name, make=not read_only)
    there = place.check(real)
    if not there and read_only:
        raise LedgerError(f"there is no ledger: {real}", hint="Check the state directory's path.")
    if not there:
        born = {"ledger": secrets.token_hex(16), "form": SCHEMA_VERSION}
        at = exact_rfc3339(clock.now())
        schema.create(real, lambda c: begin_chain(c, at, born), patience=patience)
    elif not read_only:
        place.tighten(real)
    engine = open_engine(real, patience=patience, read_only=read_only)
    try:
        schema.settle(engine, real, read_only=read_only)
    except BaseException:
        engine.dispose()
        raise
    return Ledger(engine, clock=clock, me=me)


class Ledger:  # noqa: PLR0904 - twelve, and what a context manager needs
    """The record of one machine: an event chain and the tables computed from it.

    Every method is one transaction: when it returns, what it recorded survives a power cut; when
    it raises ``LedgerBusyError`` or ``NoSpaceError``, nothing was recorded. Any number of threads
    and processes may use one ledger; writers wait for each other. Use :func:`open_ledger`.

    Every method raises ``LedgerBusyError`` when it waited in vain, ``NoSpaceError`` when the file
    system is full, and ``LedgerError`` when the file cannot be read or written or is damaged.
    """

    def __init__(self, engine: Engine, *, clock: Clock, me: Callable[[], Process]) -> None:
        self._engine = engine
        self._clock = clock
        self._me = me

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

    def begin_run(self, policy: str | None, operation: Operation) -> RunId:
        """Record that a run of ``operation`` has begun in this process, and name it."""
        run_id = RunId(secrets.token_hex(8))
        body = _begun(run_id, policy, operation, RunState.RUNNING, self._clock.now(), self._me())
        self._append((Kind.RUN_BEGUN, body))
        return run_id

    def end_run(
        self,
        run_id: RunId,
        state: RunState,
        *,
        result: Mapping[str, object] | None = None,
        failure: RunFailure | None = None,
        made: Iterable[RecoveryPoint | Verification] = (),
    ) -> None:
        """Record how a run ended, together with what it made, in one transaction.

        A run that was called interrupted may still end: it knows best. What looks like a secret
        in ``result`` or ``failure`` is not recorded (docs/ledger.md, "Secrets").

        Raises:
            LedgerError: The run never began, or has ended already; or as for the class.
            ValueError: ``state`` is not an end; a defect of the caller.
        """
        if not state.ended:
            raise ValueError(f"{state} is not an end")
        body = {
            "run": run_id,
            "state": state,
            "ended_at": self._clock.now(),
            "result": dict(result or {}),
            "failure": failure_body(failure),
        }
        self._append(*map(_made, made), (Kind.RUN_ENDED, body))

    def record_recovery_point(self, made: RecoveryPoint) -> None:
        """Record an instant that a source can now be brought back to.

        Raises:
            LedgerError: It is recorded already, or its run never began; or as for the class.
        """
        self._append(_made(made))

    def record_verification(self, made: Verification) -> None:
        """Record the outcome of a check.

        Raises:
            LedgerError: Its run never began; or as for the class.
        """
        self._append(_made(made))

    def skip_run(self, policy: str, operation: Operation, why: RunFailure) -> RunId:
        """Record a run that does not take place, and why: what is left out is never silent."""
        now = self._clock.now()
        run_id = RunId(secrets.token_hex(8))
        begun = _begun(run_id, policy, operation, RunState.QUEUED, now, self._me())
        ended = {
            "run": run_id,
            "state": RunState.SKIPPED,
            "ended_at": now,
            "result": {},
            "failure": failure_body(why),
        }
        self._append((Kind.RUN_BEGUN, begun), (Kind.RUN_ENDED, ended))
        return run_id

    def see_policies(self, definitions: Mapping[str, str]) -> dict[str, SeenPolicy]:
        """Record policies that are new or say something new, and return all that were ever seen.

        Args:
            definitions: Digest of what each policy says, by its name.
        """
        with writing(self._engine) as connection:
            known = _seen(connection)
            now = self._clock.now()
            entries = [
                (Kind.POLICY_SEEN, {"policy": name, "definition": definition, "seen_at": now})
                for name, definition in sorted(definitions.items())
                if name not in known or known[name].definition != definition
            ]
            if not entries:
                return known
            append(connection, exact_rfc3339(now), entries)
            return _seen(connection)

    def interrupt_dead_runs(self, alive: Callable[[Process], bool] = is_alive) -> list[RunId]:
        """Call interrupted every run of this host whose process is no more.

        Runs of other hosts are left alone: only a lease can tell about those.

        Args:
            alive: Says whether exactly this process still runs.

        Returns:
            The runs that were running until now, oldest first.
        """
        query = (
            select(run)
            .where(run.c.state == RunState.RUNNING.value, run.c.host == self._me().host)
            .order_by(run.c.begun_event)
        )
        with writing(self._engine) as connection:
            found = connection.execute(query).mappings().all()
            dead = [
                RunId(str(row["id"]))
                for row in found
                if not alive(checked(process_from_row, dict(row)))
            ]
            now = self._clock.now()
            bodies = [_interrupted(run_id, now) for run_id in dead]
            if dead:
                append(connection, exact_rfc3339(now), bodies)
        return dead

    def runs(self, policy: str | None = None, *, limit: int = NEWEST) -> list[Run]:
        """Return runs, newest first; of one policy only, if given."""
        query = select(run).order_by(run.c.begun_event.desc()).limit(limit)
        if policy is not None:
            query = query.where(run.c.policy == policy)
        return self._read(query, run_from_row)

    def recovery_points(
        self, policy: str | None = None, *, limit: int = NEWEST
    ) -> list[RecoveryPoint]:
        """Return recovery points, newest data first; of one policy only, if given."""
        order = recovery_point.c.consistent_at.desc(), recovery_point.c.event.desc()
        query = select(recovery_point).order_by(*order).limit(limit)
        if policy is not None:
            query = query.where(recovery_point.c.policy == policy)
        return self._read(query, point_from_row)

    def verifications(
        self, repository: str | None = None, *, limit: int = NEWEST
    ) -> list[Verification]:
        """Return outcomes of checks, newest first; of one repository only, if given."""
        query = select(verification).order_by(verification.c.event.desc()).limit(limit)
        if repository is not None:
            query = query.where(verification.c.repository == repository)
        return self._read(query, verification_from_row)

    def events(self, *, after: int = 0, limit: int = NEWEST) -> list[Event]:
        """Return links of the chain in order, as they are in the file, unchecked."""
        with reading(self._engine) as connection:
            return list(events(connection, after=after, limit=limit))

    def verify(self) -> VerifyReport:
        """Look at the whole ledger; changes nothing, holds up writers meanwhile.

        Damage is a finding of the report; an error is raised only for a ledger that cannot be
        looked at.
        """
        with reading(self._engine) as connection:
            return verify(connection)

    def rebuild_projections(self) -> int:
        """Compute every table anew from the chain, and return the number of rows.

        Raises:
            LedgerError: The chain itself is damaged, so the tables are left as they are; or as
                for the class.
        """
        with writing(self._engine) as connection:
            fold = fold_or_refuse(connection)
            point("ledger.ledger.rebuilding")
            for table in reversed(PROJECTIONS.values()):
                connection.execute(delete(table))
            for name, table in PROJECTIONS.items():
                if rows := list(fold.rows[name].values()):
                    connection.execute(insert(table), rows)
            point("ledger.ledger.rebuilt")
            return sum(map(len, fold.rows.values()))

    def _append(self, *entries: tuple[Kind, Mapping[str, object]]) -> None:
        with writing(self._engine) as connection:
            append(connection, exact_rfc3339(self._clock.now()), entries)

    def _read(self, query: Select[Any], convert: Callable[[Mapping[str, object]], _T]) -> list[_T]:
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return [checked(convert, dict(row)) for row in rows]


def _made(value: RecoveryPoint | Verification) -> tuple[Kind, Mapping[str, object]]:
    """Spell what an operation made as an event."""
    kind = Kind.POINT_RECORDED if isinstance(value, RecoveryPoint) else Kind.VERIFICATION_RECORDED
    return kind, body_of(value)


def _begun(  # noqa: PLR0917 - the columns, in their order
    run_id: RunId,
    policy: str | None,
    operation: Operation,
    state: RunState,
    at: datetime,
    me: Process,
) -> Mapping[str, object]:
    return {
        "run": run_id,
        "policy": policy,
        "operation": operation,
        "state": state,
        "started_at": at,
        "process": {
            "host": me.host,
            "boot_id": me.boot_id,
            "pid": me.pid,
            "started": me.started,
        },
    }


def _seen(connection: Connection) -> dict[str, SeenPolicy]:
    rows = connection.execute(select(policy_table)).mappings().all()
    found = [checked(seen_from_row, dict(row)) for row in rows]
    return {seen.name: seen for seen in found}


def _interrupted(run_id: RunId, at: datetime) -> tuple[Kind, Mapping[str, object]]:
    body = {
        "run": run_id,
        "state": RunState.INTERRUPTED,
        "ended_at": at,
        "result": {},
        "failure": None,
    }
    return Kind.RUN_INTERRUPTED, body
