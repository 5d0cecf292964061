"""What is known of a policy or a repository at an instant: everything that a judgement rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from drkeeper.model.planner import Decision
from drkeeper.model.policy import Policy
from drkeeper.model.run import Lease, Operation, RecoveryPoint, Run, RunState, Verification

GOOD = frozenset({RunState.SUCCEEDED, RunState.WARNINGS})
"""Ends of a run that leave a recovery point."""

STALLED_AFTER = timedelta(minutes=10)
"""How long a run may move nothing, unless the configuration says otherwise."""


@dataclass(frozen=True, kw_only=True)
class PolicyFacts:
    """Everything that is known of a policy.

    Attributes:
        policy: As it is configured now.
        decision: What the planner makes of it.
        now: The instant that all of it describes.
        runs: Its runs, newest first; some dozens are enough.
        point: Its newest durable recovery point; ``None`` before the first one.
        proven: Its newest proven one.
        first_seen_at: When the policy was first seen; ``None`` when it never was before now.
        changed_at: When it was last changed.
        lease: Of the run that goes on.
        since_point: Time since the newest point's instant by a clock that nobody sets; ``None``
            when nobody has measured it.
        since_start: The same since the last run began.
        expected_interval: Longest pause between two runs of its schedule.
        expected_duration: How long a run takes, at worst as usual.
        rto_achieved: What the newest drill measured.
        stalled_after: How long a run may move nothing.
    """

    policy: Policy
    decision: Decision
    now: datetime
    runs: Sequence[Run] = ()
    point: RecoveryPoint | None = None
    proven: datetime | None = None
    first_seen_at: datetime | None = None
    changed_at: datetime | None = None
    lease: Lease | None = None
    since_point: timedelta | None = None
    since_start: timedelta | None = None
    expected_interval: timedelta | None = None
    expected_duration: timedelta = timedelta()
    rto_achieved: timedelta | None = None
    stalled_after: timedelta = STALLED_AFTER

    @cached_property
    def backups(self) -> list[Run]:
        """Its backups, newest first."""
        return [run for run in self.runs if run.operation is Operation.BACKUP]

    @cached_property
    def open(self) -> Run | None:
        """The backup that goes on, or waits for its turn."""
        return next((run for run in self.backups if not run.state.ended), None)

    @cached_property
    def running(self) -> Run | None:
        """The backup that goes on."""
        return self.open if self.open and self.open.state is RunState.RUNNING else None

    @cached_property
    def begun(self) -> list[Run]:
        """Backups that began, whatever became of them."""
        left_out = {RunState.SKIPPED, RunState.QUEUED}
        return [run for run in self.backups if run.state not in left_out]

    @cached_property
    def last_good(self) -> Run | None:
        """The newest backup that left a recovery point."""
        return next((run for run in self.backups if run.state in GOOD), None)

    @cached_property
    def since_good(self) -> list[Run]:
        """Backups that began and ended badly since the last good one, newest first."""
        bad: list[Run] = []
        for run in self.begun:
            if run.state in GOOD:
                break
            if run.state.ended:
                bad.append(run)
        return bad

    @property
    def is_paused(self) -> bool:
        """Whether its pause holds now."""
        return self.policy.pause is not None and self.now < self.policy.pause.until


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFacts:
    """Everything that is known of a repository.

    Attributes:
        name: In the configuration.
        store: Where it is.
        now: The instant that all of it describes.
        zone_name: IANA name of the zone that times are shown in.
        in_use_since: Since when something is kept in it; ``None`` when nothing is.
        check_within: How old its last passed check may get.
        verifications: Checks of it, newest first.
        reachable: Whether its store answered when it was last asked; ``None`` for never asked.
        asked_at: When that was.
        last_run: The newest ended run of any policy that had to reach it.
    """

    name: str
    store: str
    now: datetime
    zone_name: str
    in_use_since: datetime | None = None
    check_within: timedelta | None = None
    verifications: Sequence[Verification] = ()
    reachable: bool | None = None
    asked_at: datetime | None = None
    last_run: Run | None = None
