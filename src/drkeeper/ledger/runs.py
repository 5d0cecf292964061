"""Runs: queued, claimed, begun, ended, left out; and what they made."""

import secrets
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from drkeeper.errors import RunningError
from drkeeper.ledger.engine import reading, writing
from drkeeper.ledger.events import Kind
from drkeeper.ledger.leases import Leases, grant, revoke
from drkeeper.ledger.newest import newest_of_each
from drkeeper.ledger.points import made_entry
from drkeeper.ledger.process import is_alive
from drkeeper.ledger.records import NEWEST, Entry, rows_of
from drkeeper.ledger.rows import failure_body, run_from_row
from drkeeper.ledger.tables import run
from drkeeper.model.instants import rfc3339
from drkeeper.model.run import (
    Operation,
    Process,
    RecoveryPoint,
    Run,
    RunFailure,
    RunId,
    RunState,
    Verification,
)

_OPEN = (RunState.QUEUED.value, RunState.RUNNING.value)


class Runs(Leases):
    """What the ledger knows of runs."""

    def begin_run(
        self,
        policy: str | None,
        operation: Operation,
        *,
        lease: timedelta | None = None,
        alone: bool = False,
        run_id: RunId | None = None,
    ) -> RunId:
        """Record that a run of ``operation`` has begun in this process, and name it.

        Args:
            policy: Whose run; ``None`` for one about a whole repository.
            operation: What it does.
            lease: How long others wait for a sign of life; ``None`` for a run without one.
            alone: Refuse when a living run of the policy does the same; dead ones are interrupted.
            run_id: Name of a run that nobody could queue; the ledger must not know it.

        Raises:
            RunningError: There is such a run; nothing was recorded.
        """
        run_id = run_id or _new_id()
        with writing(self._engine) as connection:
            if alone:
                self._refuse_second(connection, policy, operation)
            body = _begun(
                run_id, policy, operation, RunState.RUNNING, self._clock.now(), self._me()
            )
            self._append_in(connection, (Kind.RUN_BEGUN, body))
            if lease is not None:
                grant(connection, run_id, self._now_in(connection), lease, progress={})
        return run_id

    def queue_run(self, policy: str, operation: Operation) -> RunId | None:
        """Record that a run is due and waits for somebody to claim it.

        Returns:
            Its name; ``None`` when the policy has a queued or running run of this operation.
        """
        mine = (run.c.policy == policy, run.c.operation == operation.value)
        query = select(run.c.id).where(*mine, run.c.state.in_(_OPEN)).limit(1)
        with writing(self._engine) as connection:
            if connection.execute(query).first() is not None:
                return None
            run_id = _new_id()
            body = _begun(run_id, policy, operation, RunState.QUEUED, self._clock.now(), self._me())
            self._append_in(connection, (Kind.RUN_BEGUN, body))
            return run_id

    def claim_run(self, run_id: RunId, *, lease: timedelta) -> bool:
        """Make a queued run this process's own: it runs from now on.

        Returns:
            ``False`` when it is not queued any more: somebody else has it, or it was cancelled.

        Raises:
            RunningError: Another living run of its policy does the same; this one stays queued.
        """
        with writing(self._engine) as connection:
            found = self._queued_in(connection, run_id)
            if found is None:
                return False
            self._refuse_second(connection, found.policy, found.operation)
            me = self._me()
            body = {"run": run_id, "started_at": self._clock.now(), "process": _process(me)}
            self._append_in(connection, (Kind.RUN_CLAIMED, body))
            grant(connection, run_id, self._now_in(connection), lease, progress={})
            return True

    def cancel_run(self, run_id: RunId, why: RunFailure) -> bool:
        """Take a run out of the queue, and record why.

        Returns:
            ``False`` when it was not queued any more; nothing was recorded.
        """
        with writing(self._engine) as connection:
            if self._queued_in(connection, run_id) is None:
                return False
            ended = _ended(run_id, RunState.SKIPPED, self._clock.now(), failure=why)
            self._append_in(connection, ended)
            return True

    def skip_run(self, policy: str, operation: Operation, why: RunFailure) -> RunId:
        """Record a run that does not take place, and why: what is left out is never silent."""
        now = self._clock.now()
        run_id = _new_id()
        begun = _begun(run_id, policy, operation, RunState.QUEUED, now, self._me())
        self._append((Kind.RUN_BEGUN, begun), _ended(run_id, RunState.SKIPPED, now, failure=why))
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
            LedgerError: The run never began, or has ended already; or as for the ledger.
            ValueError: ``state`` is not an end; a defect of the caller.
        """
        if not state.ended:
            raise ValueError(f"{state} is not an end")
        ended = _ended(run_id, state, self._clock.now(), result=result, failure=failure)
        with writing(self._engine) as connection:
            self._append_in(connection, *map(made_entry, made), ended)
            revoke(connection, [run_id])

    def runs(
        self,
        policy: str | None = None,
        *,
        limit: int = NEWEST,
        states: Collection[RunState] | None = None,
        operation: Operation | None = None,
    ) -> list[Run]:
        """Return runs, newest first; of one policy, operation and in some states only, if given."""
        query = select(run).order_by(run.c.begun_event.desc()).limit(limit)
        if policy is not None:
            query = query.where(run.c.policy == policy)
        if states is not None:
            query = query.where(run.c.state.in_([state.value for state in states]))
        if operation is not None:
            query = query.where(run.c.operation == operation.value)
        return self._read(query, run_from_row)

    def run(self, run_id: RunId) -> Run | None:
        """Return one run, or ``None`` if there is none of this name."""
        found = self._read(select(run).where(run.c.id == run_id), run_from_row)
        return found[0] if found else None

    def count_runs(self) -> dict[RunState, int]:
        """Return how many runs are in each state, since the ledger began."""
        query = select(run.c.state, func.count()).group_by(run.c.state)
        with reading(self._engine) as connection:
            return {RunState(state): int(count) for state, count in connection.execute(query)}

    def recent_runs(
        self, per_policy: int, policies: Collection[str] | None = None
    ) -> dict[str, list[Run]]:
        """Return the newest runs of every policy that has any, newest first, in one query.

        Args:
            per_policy: How many of each.
            policies: Only of these; to bound the memory that it takes.
        """
        query = newest_of_each(run, run.c.policy, run.c.begun_event, per_policy)
        if policies is not None:
            query = query.where(run.c.policy.in_(policies))
        found: dict[str, list[Run]] = {}
        for each in self._read(query, run_from_row):
            found.setdefault(str(each.policy), []).append(each)
        return found

    def _queued_in(self, connection: Connection, run_id: RunId) -> Run | None:
        query = select(run).where(run.c.id == run_id, run.c.state == RunState.QUEUED.value)
        found = rows_of(connection, query, run_from_row)
        return found[0] if found else None

    def _refuse_second(
        self, connection: Connection, policy: str | None, operation: Operation
    ) -> None:
        """See that no living run of the policy does the same; interrupt the dead ones.

        Raises:
            RunningError: One does.
        """
        running = select(run).where(
            run.c.policy == policy,
            run.c.operation == operation.value,
            run.c.state == RunState.RUNNING.value,
        )
        found = rows_of(connection, running, run_from_row)
        if not found:
            return
        dead = set(self._dead_in(connection, is_alive))
        for each in found:
            if each.id not in dead:
                raise RunningError(
                    f"{operation} of policy {policy!r} is running already"
                    f" since {rfc3339(each.started_at)}"
                    f" (run {each.id}, process {each.process.pid} on {each.process.host})",
                    hint="Wait until it has ended, or end that process.",
                    run=each.id,
                )
        gone = [each.id for each in found]
        self._append_in(connection, *self._interruptions(gone))
        revoke(connection, gone)


def _new_id() -> RunId:
    return RunId(secrets.token_hex(8))


def _process(me: Process) -> Mapping[str, object]:
    return {"host": me.host, "boot_id": me.boot_id, "pid": me.pid, "started": me.started}


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
        "process": _process(me),
    }


def _ended(
    run_id: RunId,
    state: RunState,
    at: datetime,
    *,
    result: Mapping[str, object] | None = None,
    failure: RunFailure | None = None,
) -> Entry:
    body = {
        "run": run_id,
        "state": state,
        "ended_at": at,
        "result": dict(result or {}),
        "failure": failure_body(failure),
    }
    return Kind.RUN_ENDED, body
