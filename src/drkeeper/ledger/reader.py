"""What a status asks of a ledger file, answered without SQLAlchemy, which takes 0.15 s to import.

The file is found, opened, recognised and complained about by the same code as for everything else,
and its rows are made into values by the same functions; only the questions are spelt out here. A
test asks both forms the same about random histories (docs/adr/0132-a-plain-reader.md).
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from operator import itemgetter
from typing import Any, Final, TypeVar

from drkeeper.clock import Clock
from drkeeper.ledger import place
from drkeeper.ledger.answers import CLOCK_ERROR
from drkeeper.ledger.connecting import PATIENCE, connect, ours
from drkeeper.ledger.form import (
    SCHEMA_VERSION,
    only_form,
    refuse_newer,
    refuse_older,
    refuse_stranger,
)
from drkeeper.ledger.rows import (
    POINT_COLUMNS,
    RUN_COLUMNS,
    Row,
    alarm_from_row,
    beat_from_row,
    checked,
    lease_from_row,
    point_from_values,
    run_from_values,
    seen_from_row,
    shown_from_row,
    verification_from_row,
)
from drkeeper.model.alarm import Alarm
from drkeeper.model.drill import Shown
from drkeeper.model.run import (
    DaemonBeat,
    Lease,
    Operation,
    RecoveryPoint,
    Run,
    RunState,
    SeenPolicy,
    Verification,
)

_T = TypeVar("_T")


@contextmanager
def open_reader(
    path: str | os.PathLike[str], *, clock: Clock, patience: timedelta = PATIENCE
) -> Iterator["Reader"]:
    """Hold a ledger file at one instant, to be read by this thread; writers wait meanwhile.

    Args:
        path: The file.
        clock: Tells which recovery points lie in the future.
        patience: Longest wait for another process's transaction.

    Raises:
        LedgerBusyError: Another process held the ledger for longer than ``patience``.
        LedgerError: The place is unfit, or what is there is damaged, not a ledger, or made by
            another version of drkeeper.
    """  # noqa: DOC501 - the rule does not see through ours()
    real = place.find(os.fspath(path))
    try:
        with closing(connect(real, patience=patience, read_only=True)) as connection:
            connection.execute("BEGIN")
            _recognise(connection, real)
            yield Reader(connection, clock)
    # SQLite quotes the damaged file in its messages, which the driver then cannot decode.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise ours(error) from error


def _recognise(connection: sqlite3.Connection, path: str) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    refuse_stranger(mark)
    said = connection.execute("SELECT version_num FROM schema_version").fetchall()
    found = only_form([value for (value,) in said])
    refuse_newer(found, SCHEMA_VERSION)
    refuse_older(found, SCHEMA_VERSION, path)


_POLICIES: Final = """
WITH RECURSIVE known (name) AS (
  SELECT min(policy) FROM {table}
  UNION ALL
  SELECT (SELECT min(policy) FROM {table} WHERE policy > known.name) FROM known
  WHERE known.name IS NOT NULL
)
"""
"""Policies, found by leaping in the index from one to the next."""
_RUN: Final = ", ".join(RUN_COLUMNS)
_POINT: Final = ", ".join(POINT_COLUMNS)
_RECENT_RUNS: Final = f"""
{_POLICIES.format(table="run")}
SELECT {_RUN} FROM known JOIN run ON run.rowid IN (
  SELECT its.rowid FROM run its WHERE its.policy = known.name
  ORDER BY its.begun_event DESC LIMIT ?
)
"""  # noqa: S608 - columns and tables of ours
_NEWEST_POINTS: Final = f"""
{_POLICIES.format(table="recovery_point")}
SELECT {_POINT} FROM known JOIN recovery_point ON policy = known.name AND consistent_at = (
  SELECT max(its.consistent_at) FROM recovery_point its WHERE its.policy = known.name
)
"""  # noqa: S608 - as above
_LAST_MADE: Final = (
    f"SELECT {_POINT} FROM recovery_point WHERE policy = ? ORDER BY event DESC LIMIT 1"  # noqa: S608 - as above
)
_BEGUN: Final = itemgetter(RUN_COLUMNS.index("begun_event"))


class Reader:
    """Answers from a ledger file, all of one instant; use :func:`open_reader`.

    Every method raises ``LedgerError`` when a row is damaged.

    Args:
        connection: In a transaction.
        clock: As for :func:`open_reader`.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def policies(self) -> dict[str, SeenPolicy]:
        """Return every policy that was ever seen."""
        rows = self._rows("SELECT * FROM policy ORDER BY name", seen_from_row)
        return {seen.name: seen for seen in rows}

    def runs(
        self,
        policy: str,
        /,
        *,
        limit: int,
        states: Collection[RunState] | None = None,
        operation: Operation | None = None,
    ) -> list[Run]:
        """Return runs of a policy, newest first; of an operation and in some states, if given."""
        words = [policy]
        where = "policy = ?"
        if states is not None:
            words += [state.value for state in states]
            where += f" AND state IN ({', '.join('?' * len(states))})"
        if operation is not None:
            words.append(operation.value)
            where += " AND operation = ?"
        question = f"SELECT {_RUN} FROM run WHERE {where} ORDER BY begun_event DESC LIMIT ?"  # noqa: S608 - our own words; theirs are bound
        return self._values(question, run_from_values, *words, limit)

    def recent_runs(self, per_policy: int, /) -> dict[str, list[Run]]:
        """Return the newest runs of every policy that has any, newest first."""
        rows = self._connection.execute(_RECENT_RUNS, (per_policy,)).fetchall()
        rows.sort(key=_BEGUN, reverse=True)
        found: dict[str, list[Run]] = {}
        for run in checked(_each(run_from_values), rows):
            found.setdefault(str(run.policy), []).append(run)
        return found

    def newest_points(self) -> dict[str, RecoveryPoint]:
        """Return the recovery point with the newest data of every policy that has one."""
        latest = self._clock.now() + CLOCK_ERROR
        found: dict[str, RecoveryPoint] = {}
        for each in self._values(_NEWEST_POINTS, point_from_values):
            there = found.get(each.policy)
            if there is None or there.event < each.event:
                found[each.policy] = each
        for policy in [name for name, each in found.items() if each.consistent_at > latest]:
            found[policy] = self._values(_LAST_MADE, point_from_values, policy)[0]
        return found

    def shown_by_drills(self) -> dict[str, Shown]:
        """Return what drills have shown of every policy that has any."""
        return dict(self._rows("SELECT * FROM shown ORDER BY policy", shown_from_row))

    def leases(self) -> list[Lease]:
        """Return who works on what, in the order of the runs' names."""
        return self._rows("SELECT * FROM lease ORDER BY run", lease_from_row)

    def verifications(self, *, limit: int) -> list[Verification]:
        """Return outcomes of checks, newest first."""
        question = "SELECT * FROM verification ORDER BY event DESC LIMIT ?"
        return self._rows(question, verification_from_row, limit)

    def open_alarms(self) -> list[Alarm]:
        """Return the alarms that hold now, oldest first."""
        return self._rows(
            "SELECT * FROM alarm WHERE cleared_at IS NULL ORDER BY id", alarm_from_row
        )

    def daemons(self) -> list[DaemonBeat]:
        """Return the daemons that have shown signs of life, the newest sign first."""
        return self._rows("SELECT * FROM daemon ORDER BY beat_at DESC", beat_from_row)

    def _rows(self, question: str, convert: Callable[[Row], _T], *words: object) -> list[_T]:
        cursor = self._connection.execute(question, words)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, values, strict=True)) for values in cursor]
        return checked(_each(convert), rows)

    def _values(
        self, question: str, convert: Callable[[tuple[Any, ...]], _T], *words: object
    ) -> list[_T]:
        return checked(_each(convert), self._connection.execute(question, words).fetchall())


_S = TypeVar("_S")


def _each(convert: Callable[[_S], _T]) -> Callable[[list[_S]], list[_T]]:
    def converted(rows: list[_S]) -> list[_T]:
        return [convert(row) for row in rows]

    return converted
