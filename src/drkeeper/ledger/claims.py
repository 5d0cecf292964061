"""Claims: of all that share a ledger, one tells. And what came of it, many at a time."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from drkeeper.faults import point
from drkeeper.ledger.engine import writing
from drkeeper.ledger.events import Kind
from drkeeper.ledger.records import Records
from drkeeper.ledger.rows import shortened
from drkeeper.ledger.tables import notification
from drkeeper.model.notification import Saying


class Claims(Records):
    """Who tells what to a channel, and whether it arrived."""

    def claim_notifications(
        self, channel: str, sayings: Sequence[Saying], *, detail: str
    ) -> list[Saying]:
        """Record that the caller is going to say something, where nobody was quicker.

        Somebody was quicker if there is a newer notification than the one that is named.

        Args:
            channel: Name of the channel.
            sayings: What is going to be said.
            detail: Tells these notifications from those that were tried.

        Returns:
            What the caller is to say.
        """
        newest = (
            select(notification.c.alarm, func.max(notification.c.event))
            .where(notification.c.channel == channel)
            .group_by(notification.c.alarm)
        )
        with writing(self._engine) as connection:
            known = {row[0]: row[1] for row in connection.execute(newest)}
            mine = [each for each in sayings if known.get(each.alarm, 0) == each.after]
            point("ledger.claims.claiming")
            self._said(channel, mine, connection, delivered=False, detail=detail)
            return mine

    def record_notifications(
        self, channel: str, sayings: Sequence[Saying], *, delivered: bool, detail: str = ""
    ) -> None:
        """Record what was said, all at once, and whether it arrived.

        Raises:
            LedgerError: There is no such alarm; or as for the ledger.
        """
        with writing(self._engine) as connection:
            point("ledger.claims.recording")
            self._said(channel, sayings, connection, delivered=delivered, detail=detail)

    def _said(
        self,
        channel: str,
        sayings: Sequence[Saying],
        connection: Connection,
        *,
        delivered: bool,
        detail: str,
    ) -> None:
        now = self._clock.now()
        entries = [
            (
                Kind.NOTIFICATION_RECORDED,
                {
                    "channel": channel,
                    "alarm": each.alarm,
                    "what": each.what,
                    "delivered": delivered,
                    "detail": shortened(detail),
                    "sent_at": now,
                },
            )
            for each in sayings
        ]
        if entries:
            self._append_in(connection, *entries)
