"""Alarms raised and cleared many at a time: when a store is down, a thousand policies know it."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from drkeeper.faults import point
from drkeeper.ledger.engine import writing
from drkeeper.ledger.events import Kind
from drkeeper.ledger.records import Entry, Records, rows_of
from drkeeper.ledger.rows import alarm_from_row, shortened
from drkeeper.ledger.tables import alarm
from drkeeper.model.alarm import Alarm, AlarmKind, Condition, Subject


class Reconciling(Records):
    """What changes of alarms, in one transaction."""

    def change_alarms(
        self, *, begun: Sequence[Condition] = (), over: Sequence[int] = ()
    ) -> tuple[list[Alarm], list[Alarm]]:
        """Record conditions that hold from now on, and alarms that hold no more.

        Args:
            begun: What is wrong; an open alarm of the same kind and subject is left as it is.
            over: Numbers of alarms; those that are cleared already, or unknown, are left out.

        Returns:
            The alarms that are new, and those that are cleared now.
        """
        with writing(self._engine) as connection:
            known = {_key(each.condition): each for each in _open(connection)}
            numbers = {each.id for each in known.values()}
            now = self._clock.now()
            raised = {_key(each): _raised(each) for each in begun if _key(each) not in known}
            cleared = [number for number in dict.fromkeys(over) if number in numbers]
            entries: list[Entry] = [
                (Kind.ALARM_RAISED, {**body, "raised_at": now}) for body in raised.values()
            ]
            entries += [
                (Kind.ALARM_CLEARED, {"alarm": number, "cleared_at": now}) for number in cleared
            ]
            if not entries:
                return [], []
            point("ledger.reconciling.changing")
            events = self._append_in(connection, *entries)
            ids = [each.seq for each in events[: len(raised)]]
            return _of(connection, ids), _of(connection, cleared)


def _key(condition: Condition) -> tuple[AlarmKind, Subject]:
    return condition.kind, condition.subject


def _raised(condition: Condition) -> dict[str, object]:
    return {
        "kind": condition.kind,
        "subject_kind": condition.subject.kind,
        "subject_name": condition.subject.name,
        "message": shortened(condition.message),
        "hint": shortened(condition.hint),
        "since": condition.since,
    }


def _open(connection: Connection) -> list[Alarm]:
    return rows_of(connection, select(alarm).where(alarm.c.cleared_at.is_(None)), alarm_from_row)


def _of(connection: Connection, ids: Sequence[int]) -> list[Alarm]:
    if not ids:
        return []
    query = select(alarm).where(alarm.c.id >= min(ids), alarm.c.id <= max(ids)).order_by(alarm.c.id)
    wanted = set(ids)
    return [each for each in rows_of(connection, query, alarm_from_row) if each.id in wanted]
