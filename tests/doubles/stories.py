"""What happened to a policy, told in few words, for tests that judge how it stands."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from drkeeper.model.assessment import assess
from drkeeper.model.facts import facts_of
from drkeeper.model.policy import FilesSource, Policy
from drkeeper.model.run import (
    Lease,
    Operation,
    Process,
    RecoveryPoint,
    Run,
    RunFailure,
    RunId,
    RunState,
    SeenPolicy,
)
from drkeeper.model.schedule import parse_schedule

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def at(text):
    """Return an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def policy_of(schedule=None, zone="UTC", name="home", **more):
    """Return a policy with that schedule."""
    return Policy(
        name=name,
        source=FilesSource(("/srv",)),
        repository="primary",
        zone_name=zone,
        zone=ZoneInfo(zone),
        schedule=None if schedule is None else parse_schedule(schedule),
        **more,
    )


LONG_AGO = at("2026-01-01T00:00")


@dataclass
class Story:
    """A policy and its past, oldest first.

    Attributes:
        policy: Whose.
        known_since: When it was first seen.
        changed_at: When it was last changed.
        runs: Its runs, oldest first.
        point: Its newest recovery point.
        lease: Of the run that goes on.
    """

    policy: Policy
    known_since: datetime = LONG_AGO
    changed_at: datetime | None = None
    runs: list[Run] = field(default_factory=list)
    point: RecoveryPoint | None = None
    lease: Lease | None = None

    def run(self, began, state=RunState.SUCCEEDED, *, took=10 * MINUTE, failure=None, **result):
        """Add a run; a good one makes a recovery point of its figures."""
        began = at(began) if isinstance(began, str) else began
        ended_at = began + took if state.ended else None
        result = {"files": 100, "plain_bytes": 10_000_000} | result
        process = Process("keeper", "boot", 4711)
        run_id = RunId(f"{len(self.runs):016x}")
        self.runs.append(
            Run(
                run_id, self.policy.name, Operation.BACKUP, state, process, began, ended_at,
                result=result if ended_at else {}, failure=failure,
                queued_at=began if state is RunState.QUEUED else None,
            )
        )  # fmt: skip
        if state in {RunState.SUCCEEDED, RunState.WARNINGS}:
            self.point = RecoveryPoint(
                repository="c0ffee", lineage="11aa", commit_number=len(self.runs), session="5e55",
                policy=self.policy.name, consistent_at=began, finished_at=ended_at, run=run_id,
                files=result["files"], plain_bytes=result["plain_bytes"],
            )  # fmt: skip
        return self

    def failed(self, began, message="cannot read /srv", *, kind="SourceError", code=18, hint=None):
        """Add a run that failed within a minute."""
        failure = RunFailure(kind, message, code, hint)
        return self.run(began, RunState.FAILED, took=MINUTE, failure=failure)

    def leased(self, renewed_at, moved_at):
        """Say what the lease of the last run says."""
        renewed = at(renewed_at)
        self.lease = Lease(self.runs[-1].id, renewed, renewed + MINUTE, at(moved_at))
        return self

    def facts(self, now, **more):
        """Return all that is known at an instant."""
        now = at(now) if isinstance(now, str) else now
        seen = SeenPolicy(
            self.policy.name, "d1", self.known_since, self.changed_at or self.known_since
        )
        return facts_of(
            self.policy, now, runs=self.runs[::-1], point=self.point, seen=seen, lease=self.lease,
            **more,
        )  # fmt: skip

    def status(self, now, **more):
        """Say how the policy stands at an instant."""
        return assess(self.facts(now, **more))

    def kinds(self, now, **more):
        """Return the kinds of all that is wrong at an instant."""
        return [condition.kind.value for condition in self.status(now, **more).conditions]

    def condition(self, now, **more):
        """Return the one thing that is wrong at an instant."""
        (only,) = self.status(now, **more).conditions
        return only
