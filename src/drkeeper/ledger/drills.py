"""Drills from their plan to their verdict."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select

from drkeeper.errors import LedgerError
from drkeeper.ledger.drill_rows import (
    drill_from_rows,
    end_body,
    key_drill_body,
    key_drill_from_row,
    plan_body,
)
from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.events import Kind, instant_from_text
from drkeeper.ledger.records import NEWEST, Records, rows_of
from drkeeper.ledger.rows import (
    SOUND,
    Row,
    shown_from_row,
)
from drkeeper.ledger.tables import drill, key_drill, phase, probe, shown
from drkeeper.model.drill import DrillKind, Shown
from drkeeper.model.drill_record import Drill, DrillEnd, DrillPlan, KeyDrill
from drkeeper.model.judging import verdict_of


class Drills(Records):
    """What the ledger knows of drills."""

    def plan_drill(self, plan: DrillPlan) -> Drill:
        """Write a plan down, which also names the drill: by the number of this event.

        Raises:
            LedgerError: Its run, or the drill it is a part of, is not there, or it names a
                checkpoint larger than the ledger; or as for the ledger.
        """
        with writing(self._engine) as connection:
            body = plan_body(plan, self._clock.now())
            (event,) = self._append_in(connection, (Kind.DRILL_PLANNED, body))
            return _drill(connection, event.seq)

    def declare_drill(self, drill_id: int, declared_at: datetime) -> Drill:
        """Record when the disaster was declared, before anything is done about it.

        Raises:
            LedgerError: There is no such drill, it was declared before, or has ended; or as for the
                ledger.
        """
        with writing(self._engine) as connection:
            body = {"drill": drill_id, "declared_at": declared_at}
            self._append_in(connection, (Kind.DRILL_DECLARED, body))
            return _drill(connection, drill_id)

    def end_drill(self, drill_id: int, end: DrillEnd) -> Drill:
        """Record what came of a drill, and judge it by what it was held to.

        A sound one proves its recovery point, if this ledger knows that.

        Raises:
            LedgerError: There is no such drill, it has ended, or it tells phases though it was never
                declared; or as for the ledger.
        """
        with writing(self._engine) as connection:
            before = _drill(connection, drill_id)
            judgement = verdict_of(end.evidence(before.plan.promised))
            body = end_body(drill_id, end, judgement)
            self._append_in(connection, (Kind.DRILL_ENDED, body))
            return _drill(connection, drill_id)

    def drill(self, drill_id: int) -> Drill:
        """Return one drill.

        Raises:
            LedgerError: There is none of this number; or as for the ledger.
        """
        with reading(self._engine) as connection:
            return _drill(connection, drill_id)

    def drills(
        self, policy: str | None = None, *, limit: int = NEWEST, ended: bool | None = None
    ) -> list[Drill]:
        """Return drills, newest first; of one policy, and only ended or unended ones, if given."""
        query = select(drill).order_by(drill.c.id.desc()).limit(limit)
        if policy is not None:
            query = query.where(drill.c.policy == policy)
        if ended is not None:
            query = query.where(
                drill.c.ended_at.is_not(None) if ended else drill.c.ended_at.is_(None)
            )
        with reading(self._engine) as connection:
            return _with_parts(connection, query)

    def proven_through(self) -> dict[str, datetime]:
        """Return, by policy, the newest instant that a sound drill has shown to be recoverable."""
        instant = func.coalesce(drill.c.recoverable_through, drill.c.consistent_at)
        query = (
            select(drill.c.policy, func.max(instant).label("through"))
            .where(
                drill.c.policy.is_not(None),
                drill.c.consistent_at.is_not(None),  # a key drill restores nothing
                drill.c.verdict.in_(SOUND),
            )
            .group_by(drill.c.policy)
        )
        return dict(self._read(query, _proven))

    def shown_by_drills(self) -> dict[str, Shown]:
        """Return what drills have shown of every policy that has any."""
        return dict(self._read(select(shown).order_by(shown.c.policy), shown_from_row))

    def newest_drills(self, kind: DrillKind | None = None) -> dict[str, datetime]:
        """Return, by policy, when its newest drill was planned that was its own; of a kind, if given."""
        query = (
            select(drill.c.policy, func.max(drill.c.planned_at).label("planned_at"))
            .where(drill.c.policy.is_not(None))
            .group_by(drill.c.policy)
        )
        if kind is not None:
            query = query.where(drill.c.kind == kind.value)
        return dict(self._read(query, _planned))

    def record_key_drill(self, made: KeyDrill) -> None:
        """Record whether a recovery key opened what it must.

        Raises:
            LedgerError: Its drill is not there; or as for the ledger.
        """
        self._append((Kind.KEY_DRILL_RECORDED, key_drill_body(made)))

    def key_drills(self, *, limit: int = NEWEST) -> list[KeyDrill]:
        """Return key drills, newest first."""
        query = select(key_drill).order_by(key_drill.c.event.desc()).limit(limit)
        return self._read(query, key_drill_from_row)


def _proven(row: Mapping[str, object]) -> tuple[str, datetime]:
    return str(row["policy"]), instant_from_text(str(row["through"]))


def _planned(row: Mapping[str, object]) -> tuple[str, datetime]:
    return str(row["policy"]), instant_from_text(str(row["planned_at"]))


def _drill(connection: Connection, drill_id: int) -> Drill:
    """Find one drill.

    Raises:
        LedgerError: There is none of this number.
    """
    found = _with_parts(connection, select(drill).where(drill.c.id == drill_id))
    if not found:
        raise LedgerError(
            f"there is no drill {drill_id}", hint="Run drkeeper ledger query to look."
        )
    return found[0]


def _with_parts(connection: Connection, query: Select[tuple[Any, ...]]) -> list[Drill]:
    ids = query.with_only_columns(drill.c.id)
    phases, probes = (_by_drill(connection, table, ids) for table in (phase, probe))

    def convert(row: Row) -> Drill:
        return drill_from_rows(row, phases.get(row["id"], []), probes.get(row["id"], []))

    return rows_of(connection, query, convert)


def _by_drill(
    connection: Connection, table: Table, ids: Select[tuple[Any, ...]]
) -> dict[object, list[Row]]:
    query = select(table).where(table.c.drill.in_(ids)).order_by(table.c.drill, table.c.position)
    found: dict[object, list[Row]] = {}
    for row in rows_of(connection, query, dict):
        found.setdefault(row["drill"], []).append(row)
    return found
