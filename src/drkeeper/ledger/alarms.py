"""Alarms from when they were raised until they were cleared, and what was said of them."""

from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from drkeeper.errors import LedgerError
from drkeeper.ledger.chain import find_row
from drkeeper.ledger.engine import writing
from drkeeper.ledger.events import Kind
from drkeeper.ledger.records import NEWEST, Records, rows_of
from drkeeper.ledger.rows import alarm_from_row, checked, notification_from_row, shortened
from drkeeper.ledger.tables import alarm, notification
from drkeeper.model.alarm import Alarm, Condition
from drkeeper.model.instants import exact_rfc3339
from drkeeper.model.notification import Notification


class Alarms(Records):
    """What the ledger knows of alarms and notifications."""

    def raise_alarm(self, condition: Condition) -> Alarm:
        """Record that a condition holds from now on.

        Returns:
            The alarm; the one there is, when the same kind is open for the same subject already.
        """
        subject = condition.subject
        same = (
            alarm.c.cleared_at.is_(None),
            alarm.c.kind == condition.kind.value,
            alarm.c.subject_kind == subject.kind,
            alarm.c.subject_name == subject.name,
        )
        with writing(self._engine) as connection:
            found = rows_of(connection, select(alarm).where(*same), alarm_from_row)
            if found:
                return found[0]
            body = {
                "kind": condition.kind,
                "subject_kind": subject.kind,
                "subject_name": subject.name,
                "message": shortened(condition.message),
                "hint": shortened(condition.hint),
                "since": condition.since,
                "raised_at": self._clock.now(),
            }
            (event,) = self._append_in(connection, (Kind.ALARM_RAISED, body))
            return _alarm(connection, event.seq)

    def clear_alarm(self, alarm_id: int) -> Alarm:
        """Record that a condition holds no more; harmless when it is recorded already.

        Raises:
            LedgerError: There is no such alarm; or as for the ledger.
        """
        with writing(self._engine) as connection:
            found = _alarm(connection, alarm_id)
            if found.cleared_at is not None:
                return found
            body = {"alarm": alarm_id, "cleared_at": self._clock.now()}
            self._append_in(connection, (Kind.ALARM_CLEARED, body))
            return _alarm(connection, alarm_id)

    def open_alarms(self) -> list[Alarm]:
        """Return the alarms that hold now, oldest first."""
        query = select(alarm).where(alarm.c.cleared_at.is_(None)).order_by(alarm.c.id)
        return self._read(query, alarm_from_row)

    def alarms(self, *, limit: int = NEWEST) -> list[Alarm]:
        """Return alarms, open and cleared, newest first."""
        return self._read(select(alarm).order_by(alarm.c.id.desc()).limit(limit), alarm_from_row)

    def record_notification(
        self, channel: str, alarm_id: int | None, what: str, *, delivered: bool, detail: str = ""
    ) -> None:
        """Record an attempt to tell somebody something.

        Args:
            channel: Name of the channel.
            alarm_id: The alarm it was about, if any.
            what: What was said, as a word of at most 64 characters.
            delivered: Whether the receiver took it.
            detail: The receiver's answer, or why it was not delivered.

        Raises:
            LedgerError: There is no such alarm; or as for the ledger.
        """
        body = {
            "channel": channel,
            "alarm": alarm_id,
            "what": what,
            "delivered": delivered,
            "detail": shortened(detail),
            "sent_at": self._clock.now(),
        }
        self._append((Kind.NOTIFICATION_RECORDED, body))

    def last_notifications(
        self, *, cleared_since: datetime | None = None
    ) -> dict[tuple[str, int | None], Notification]:
        """Return the newest notification of each channel about each alarm.

        Args:
            cleared_since: Leave out alarms that were cleared before.
        """
        last = select(func.max(notification.c.event)).group_by(
            notification.c.channel, notification.c.alarm
        )
        if cleared_since is not None:
            last = last.select_from(
                notification.outerjoin(alarm, alarm.c.id == notification.c.alarm)
            ).where(
                or_(
                    alarm.c.cleared_at.is_(None), alarm.c.cleared_at >= exact_rfc3339(cleared_since)
                )
            )
        query = (
            select(notification)
            .where(notification.c.event.in_(last))
            .order_by(notification.c.event)
        )
        found = self._read(query, notification_from_row)
        return {(each.channel, each.alarm): each for each in found}

    def notifications(self, *, limit: int = NEWEST) -> list[Notification]:
        """Return notifications, newest first."""
        query = select(notification).order_by(notification.c.event.desc()).limit(limit)
        return self._read(query, notification_from_row)


def _alarm(connection: Connection, alarm_id: int) -> Alarm:
    """Find one alarm.

    Raises:
        LedgerError: There is none of this number.
    """
    row = find_row(connection, "alarm", alarm_id)
    if row is None:
        raise LedgerError(f"there is no alarm {alarm_id}", hint="Report this as a defect.")
    return checked(alarm_from_row, row)
