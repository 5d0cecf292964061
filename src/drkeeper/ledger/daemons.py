"""Daemons' signs of life: written at every tick, forgotten after a week."""

from datetime import datetime, timedelta

from sqlalchemy import delete, insert, or_, select

from drkeeper.faults import point
from drkeeper.ledger.engine import writing
from drkeeper.ledger.records import Records
from drkeeper.ledger.rows import beat_from_row
from drkeeper.ledger.tables import daemon
from drkeeper.model.instants import exact_rfc3339
from drkeeper.model.run import DaemonBeat

FORGOTTEN_AFTER = timedelta(days=7)
"""How long a silent daemon is remembered. Source: ours; longer than a long weekend."""

CLOCK_ERROR = timedelta(minutes=1)
"""How far ahead a sign of life may be. Source: ours; there is one clock, which may be set back."""


class Daemons(Records):
    """What the ledger knows of those who share it."""

    def beat(self, version: str, started_at: datetime) -> None:
        """Say that this process, a daemon, lives.

        Args:
            version: Of drkeeper.
            started_at: When the daemon began.
        """
        me = self._me()
        mine = (
            daemon.c.host == me.host,
            daemon.c.boot_id == me.boot_id,
            daemon.c.pid == me.pid,
            daemon.c.process_started == me.started,
        )
        with writing(self._engine) as connection:
            now = self._now_in(connection)
            silent = or_(
                daemon.c.beat_at < exact_rfc3339(now - FORGOTTEN_AFTER),
                # Of a clock that was ahead; who lives will be back with the next beat.
                daemon.c.beat_at > exact_rfc3339(now + CLOCK_ERROR),
            )
            point("ledger.daemons.beating")
            connection.execute(delete(daemon).where(silent))
            connection.execute(delete(daemon).where(*mine))
            connection.execute(
                insert(daemon).values(
                    host=me.host,
                    boot_id=me.boot_id,
                    pid=me.pid,
                    process_started=me.started,
                    version=version,
                    started_at=exact_rfc3339(started_at),
                    beat_at=exact_rfc3339(now),
                )
            )
            point("ledger.daemons.beaten")

    def daemons(self) -> list[DaemonBeat]:
        """Return the daemons that have shown signs of life within a week, the newest sign first."""
        return self._read(select(daemon).order_by(daemon.c.beat_at.desc()), beat_from_row)
