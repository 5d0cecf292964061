"""Who works on what, and whether they still live.

A run of this machine is alive as long as its process is. A process elsewhere is believed dead when
it has not renewed its lease for twice the lease's length, by the one clock that all share; so is,
on a server, one of this machine's earlier boots, for it may be of another machine of the same name. A lease
is a sign of life and no evidence: it is no part of the chain and goes when its run ends.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace
from sqlalchemy import Connection, delete, insert, select, update

from drkeeper.faults import point
from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.events import Kind, canonical, instant_from_text
from drkeeper.ledger.process import is_alive
from drkeeper.ledger.records import Entry, Records
from drkeeper.ledger.rows import checked, lease_from_row, process_from_row
from drkeeper.ledger.tables import lease as lease_table, run
from drkeeper.model.instants import exact_rfc3339
from drkeeper.model.run import Lease, Process, RunId, RunState

Alive = Callable[[Process], bool]
"""Says whether exactly this process still runs on this machine."""


class Leases(Records):
    """What the ledger knows of those who work."""

    def now(self) -> datetime:
        """Return the instant by the clock that leases and daemons' signs of life are dated with."""
        with reading(self._engine) as connection:
            return self._now_in(connection)

    def leases(self) -> list[Lease]:
        """Return who works on what, in the order of the runs' names."""
        return self._read(select(lease_table).order_by(lease_table.c.run), lease_from_row)

    def renew_lease(
        self, run_id: RunId, *, lease: timedelta, progress: Mapping[str, object]
    ) -> bool:
        """Say that this process still works on a run, and how far it is.

        Returns:
            Whether the run is still this process's: ``False`` when it has ended, or others took
            this process for dead.
        """
        with writing(self._engine) as connection:
            found = connection.execute(select(run).where(run.c.id == run_id)).mappings().first()
            if found is None or found["state"] != RunState.RUNNING.value:
                return False
            if checked(process_from_row, dict(found)) != self._me():
                return False
            grant(connection, run_id, self._now_in(connection), lease, progress=progress)
            return True

    def interrupt_dead_runs(self, alive: Alive = is_alive) -> list[RunId]:
        """Call interrupted every run whose process is no more.

        On this host and in this boot the processes tell; a run of another host is dead when its
        lease ended longer ago than it lasted. A run of another host without a lease is left alone: nothing tells
        about it.

        Returns:
            The runs that were running until now, oldest first.
        """
        with writing(self._engine) as connection:
            dead = self._dead_in(connection, alive)
            if dead:
                self._append_in(connection, *self._interruptions(dead))
                revoke(connection, dead)
        return dead

    def _dead_in(self, connection: Connection, alive: Alive) -> list[RunId]:
        query = (
            select(run, lease_table.c.renewed_at, lease_table.c.expires_at)
            .select_from(run.outerjoin(lease_table, lease_table.c.run == run.c.id))
            .where(run.c.state == RunState.RUNNING.value)
            .order_by(run.c.begun_event)
        )
        rows = [dict(row) for row in connection.execute(query).mappings()]
        if not rows:
            return []
        me, now = self._me(), self._now_in(connection)
        if connection.dialect.name == "sqlite":  # all who use a file are of this machine's boots
            me = replace(me, boot_id="")
        return [RunId(str(row["id"])) for row in rows if _is_dead(row, me, now, alive)]

    def _interruptions(self, dead: Sequence[RunId]) -> list[Entry]:
        now = self._clock.now()
        return [(Kind.RUN_INTERRUPTED, _interrupted(run_id, now)) for run_id in dead]


def grant(
    connection: Connection,
    run_id: RunId,
    now: datetime,
    lease: timedelta,
    *,
    progress: Mapping[str, object],
) -> None:
    """Write when a run's process last showed that it lives, and whether it moved."""
    said = canonical(progress)
    row = {
        "renewed_at": exact_rfc3339(now),
        "expires_at": exact_rfc3339(now + lease),
        "progress": said,
    }
    moved = {"moved_at": row["renewed_at"]}
    mine = lease_table.c.run == run_id
    before = connection.execute(select(lease_table.c.progress).where(mine)).scalar_one_or_none()
    point("ledger.leases.granting")
    if before is None:
        connection.execute(insert(lease_table).values(run=run_id, **row, **moved))
    else:
        fresh = row if said == before else row | moved
        connection.execute(update(lease_table).where(mine).values(fresh))
    point("ledger.leases.granted")


def revoke(connection: Connection, run_ids: Iterable[RunId]) -> None:
    """Forget the leases of runs that have ended."""
    point("ledger.leases.revoking")
    connection.execute(delete(lease_table).where(lease_table.c.run.in_(list(run_ids))))
    point("ledger.leases.revoked")


def _is_dead(row: Mapping[str, object], me: Process, now: datetime, alive: Alive) -> bool:
    process = checked(process_from_row, row)
    if process.host == me.host:
        # Of another boot it is either dead, or of another machine that was given our name.
        same = process.boot_id == me.boot_id or not (process.boot_id and me.boot_id)
        if same or row["expires_at"] is None or alive(process):
            return not alive(process)
    if row["expires_at"] is None:
        return False
    renewed_at, expires_at = checked(_term, row)
    return now - expires_at > expires_at - renewed_at


def _term(row: Mapping[str, object]) -> tuple[datetime, datetime]:
    return instant_from_text(str(row["renewed_at"])), instant_from_text(str(row["expires_at"]))


def _interrupted(run_id: RunId, at: datetime) -> Mapping[str, object]:
    return {
        "run": run_id,
        "state": RunState.INTERRUPTED,
        "ended_at": at,
        "result": {},
        "failure": None,
    }
