"""Incidents, from when a promise was broken until it was kept again, and what was done about them."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from drkeeper.errors import LedgerError
from drkeeper.ledger.chain import find_row
from drkeeper.ledger.drill_rows import action_from_row, incident_from_row, us
from drkeeper.ledger.engine import writing
from drkeeper.ledger.events import Kind
from drkeeper.ledger.records import NEWEST, Records, rows_of
from drkeeper.ledger.rows import checked, shortened
from drkeeper.ledger.tables import corrective_action, incident
from drkeeper.model.drill_record import CorrectiveAction, Incident, IncidentKind


class Actions(Records):
    """What the ledger knows of incidents and corrective actions."""

    def open_incident(  # noqa: PLR0913 - each is a column
        self,
        kind: IncidentKind,
        policy: str,
        began_at: datetime,
        *,
        cause: str = "",
        worst: timedelta | None = None,
        alarm_id: int | None = None,
        drill_id: int | None = None,
    ) -> Incident:
        """Record that a promise is not kept since ``began_at``.

        Returns:
            The incident; the one there is, when the same kind is open for the same policy already.

        Raises:
            LedgerError: The alarm or the drill is not there; or as for the ledger.
        """
        same = (
            incident.c.ended_at.is_(None),
            incident.c.kind == kind.value,
            incident.c.policy == policy,
        )
        with writing(self._engine) as connection:
            found = rows_of(connection, select(incident).where(*same), incident_from_row)
            if found:
                return found[0]
            body = {
                "kind": kind,
                "policy": policy,
                "began_at": began_at,
                "cause": shortened(cause),
                "alarm": alarm_id,
                "drill": drill_id,
                "worst_us": us(worst),
            }
            (event,) = self._append_in(connection, (Kind.INCIDENT_OPENED, body))
            return _incident(connection, event.seq)

    def close_incident(
        self, incident_id: int, ended_at: datetime, *, worst: timedelta | None = None
    ) -> Incident:
        """Record that a promise is kept again; harmless when it is recorded already.

        Args:
            incident_id: Which.
            ended_at: Since when.
            worst: The worst that was measured; what was known before stays if this is less.

        Raises:
            LedgerError: There is no such incident; or as for the ledger.
        """
        with writing(self._engine) as connection:
            found = _incident(connection, incident_id)
            if found.ended_at is not None:
                return found
            known = [each for each in (found.worst, worst) if each is not None]
            body = {
                "incident": incident_id,
                "ended_at": ended_at,
                "worst_us": us(max(known, default=None)),
            }
            self._append_in(connection, (Kind.INCIDENT_CLOSED, body))
            return _incident(connection, incident_id)

    def incidents(self, *, limit: int = NEWEST) -> list[Incident]:
        """Return incidents, open and closed, newest first."""
        query = select(incident).order_by(incident.c.id.desc()).limit(limit)
        return self._read(query, incident_from_row)

    def open_incidents(self) -> list[Incident]:
        """Return the incidents that go on, oldest first."""
        query = select(incident).where(incident.c.ended_at.is_(None)).order_by(incident.c.id)
        return self._read(query, incident_from_row)

    def open_action(
        self,
        title: str,
        owner: str,
        *,
        due_at: datetime | None = None,
        policy: str | None = None,
        drill_id: int | None = None,
        incident_id: int | None = None,
    ) -> CorrectiveAction:
        """Record what somebody undertakes to do.

        Raises:
            LedgerError: The drill or the incident is not there; or as for the ledger.
        """
        body = {
            "title": shortened(title),
            "owner": owner,
            "opened_at": self._clock.now(),
            "due_at": due_at,
            "policy": policy,
            "drill": drill_id,
            "incident": incident_id,
        }
        with writing(self._engine) as connection:
            (event,) = self._append_in(connection, (Kind.ACTION_OPENED, body))
            return _action(connection, event.seq)

    def close_action(self, action_id: int, outcome: str) -> CorrectiveAction:
        """Record that it is done, and what came of it.

        Raises:
            LedgerError: There is no such action, or it is closed already; or as for the ledger.
        """
        with writing(self._engine) as connection:
            found = _action(connection, action_id)
            if found.closed_at is not None:
                raise LedgerError(
                    f"corrective action {action_id} is closed already",
                    hint="Open another one for what is still to be done.",
                )
            body = {
                "action": action_id,
                "closed_at": self._clock.now(),
                "outcome": shortened(outcome),
            }
            self._append_in(connection, (Kind.ACTION_CLOSED, body))
            return _action(connection, action_id)

    def actions(self, *, limit: int = NEWEST) -> list[CorrectiveAction]:
        """Return corrective actions, open and closed, newest first."""
        query = select(corrective_action).order_by(corrective_action.c.id.desc()).limit(limit)
        return self._read(query, action_from_row)


def _incident(connection: Connection, incident_id: int) -> Incident:
    """Find one incident.

    Raises:
        LedgerError: There is none of this number.
    """
    row = find_row(connection, "incident", incident_id)
    if row is None:
        raise LedgerError(f"there is no incident {incident_id}", hint="Report this as a defect.")
    return checked(incident_from_row, row)


def _action(connection: Connection, action_id: int) -> CorrectiveAction:
    """Find one corrective action.

    Raises:
        LedgerError: There is none of this number.
    """
    row = find_row(connection, "corrective_action", action_id)
    if row is None:
        raise LedgerError(
            f"there is no corrective action {action_id}",
            hint="Use the number that was shown when it was opened.",
        )
    return checked(action_from_row, row)
