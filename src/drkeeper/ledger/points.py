"""Recovery points, and the checks of what is stored."""

from collections.abc import Mapping

from sqlalchemy import select

from drkeeper.ledger.answers import CLOCK_ERROR
from drkeeper.ledger.events import Kind
from drkeeper.ledger.newest import newest_of_each
from drkeeper.ledger.records import NEWEST, Entry, Records
from drkeeper.ledger.rows import body_of, point_from_row, verification_from_row
from drkeeper.ledger.tables import recovery_point, verification
from drkeeper.model.run import RecoveryPoint, Verification


class Points(Records):
    """What the ledger knows of instants to come back to, and of how they were checked."""

    def record_recovery_point(self, made: RecoveryPoint) -> None:
        """Record an instant that a source can now be brought back to.

        Raises:
            LedgerError: It is recorded already, or its run never began; or as for the ledger.
        """
        self._append(made_entry(made))

    def record_verification(self, made: Verification) -> None:
        """Record the outcome of a check.

        Raises:
            LedgerError: Its run never began; or as for the ledger.
        """
        self._append(made_entry(made))

    def recovery_points(
        self, policy: str | None = None, *, limit: int = NEWEST
    ) -> list[RecoveryPoint]:
        """Return recovery points, newest data first; of one policy only, if given."""
        order = recovery_point.c.consistent_at.desc(), recovery_point.c.event.desc()
        query = select(recovery_point).order_by(*order).limit(limit)
        if policy is not None:
            query = query.where(recovery_point.c.policy == policy)
        return self._read(query, point_from_row)

    def last_points(self, policy: str, n: int) -> list[RecoveryPoint]:
        """Return the newest recovery points of one policy, newest data first."""
        return self.recovery_points(policy, limit=n)

    def recent_points(self, per_policy: int) -> dict[str, list[RecoveryPoint]]:
        """Return the newest recovery points of every policy that has any, in one query."""
        columns = recovery_point.c.policy, recovery_point.c.consistent_at
        query = newest_of_each(recovery_point, *columns, per_policy)
        found: dict[str, list[RecoveryPoint]] = {}
        for each in self._read(query.order_by(recovery_point.c.event.desc()), point_from_row):
            found.setdefault(each.policy, []).append(each)
        return {policy: points[:per_policy] for policy, points in found.items()}

    def newest_points(self) -> dict[str, RecoveryPoint]:
        """Return the recovery point with the newest data of every policy that has one."""
        found = {policy: points[0] for policy, points in self.recent_points(1).items()}
        latest = self._clock.now() + CLOCK_ERROR
        ahead = [policy for policy, point in found.items() if point.consistent_at > latest]
        return found | {policy: self._made_last(policy) for policy in ahead}

    def newest_point(self, policy: str) -> RecoveryPoint | None:
        """Return the recovery point with the newest data of one policy, if it has one."""
        found = next(iter(self.recovery_points(policy, limit=1)), None)
        if found is None or found.consistent_at <= self._clock.now() + CLOCK_ERROR:
            return found
        return self._made_last(policy)

    def _made_last(self, policy: str) -> RecoveryPoint:
        """Return the point that was recorded last.

        A clock that once was ahead has left points of the future. They are not the newest data
        until then: once the clock is set right, the order in which they were made tells.
        """
        query = select(recovery_point).where(recovery_point.c.policy == policy)
        order = recovery_point.c.event.desc()
        return self._read(query.order_by(order).limit(1), point_from_row)[0]

    def verifications(
        self, repository: str | None = None, *, limit: int = NEWEST
    ) -> list[Verification]:
        """Return outcomes of checks, newest first; of one repository only, if given."""
        query = select(verification).order_by(verification.c.event.desc()).limit(limit)
        if repository is not None:
            query = query.where(verification.c.repository == repository)
        return self._read(query, verification_from_row)


def made_entry(value: RecoveryPoint | Verification) -> Entry:
    """Spell what an operation made as an event."""
    kind = Kind.POINT_RECORDED if isinstance(value, RecoveryPoint) else Kind.VERIFICATION_RECORDED
    body: Mapping[str, object] = body_of(value)
    return kind, body
