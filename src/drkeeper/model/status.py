"""What an operator sees at a glance: values only; ``model.assessment`` computes them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from drkeeper.model.alarm import Alarm, Condition, Subject
from drkeeper.model.drill import Verdict
from drkeeper.model.prediction import Prediction
from drkeeper.model.run import DaemonBeat, Run


class PolicyState(StrEnum):
    """One word for a policy, the best first; the worst that applies is shown."""

    OK = "ok"
    BY_HAND = "by-hand"
    WAITING = "waiting"
    """It is new, and its first run is not due yet."""
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    WARNING = "warning"
    AT_RISK = "at-risk"
    FAILING = "failing"
    OVERDUE = "overdue"
    """Also: it never ran."""
    VIOLATED = "violated"
    """The newest durable recovery point is older than the objective allows."""


class Points(msgspec.Struct, frozen=True):
    """Newest instants to which a policy's source can be brought back; ``None`` for none yet.

    Attributes:
        captured: On this machine; the same as ``durable`` for sources without log shipping.
        durable: The store has acknowledged it.
        proven: A drill has restored it.
    """

    captured: datetime | None = None
    durable: datetime | None = None
    proven: datetime | None = None


class PolicyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one policy stands.

    Attributes:
        policy: Its name.
        source_kind: The word for its source.
        repository: Name of its repository.
        zone_name: IANA name of the zone that its times are shown in.
        state: The one word.
        why: What the planner's decision rests on, as a word.
        next_due: When it runs next; ``None`` when nobody knows or it runs by hand.
        last_success: Its newest good run.
        last_attempt: Its newest run that began.
        running: Its run that goes on or is queued.
        points: Its newest recovery points.
        rpo_target: What it promises.
        rto_target: What it promises.
        rto_achieved: What the newest drill measured; ``None`` before the first one.
        rto_predicted: How long it would take today; ``None`` when there are too few drills to tell.
        drills_ended: When its newest drill of each verdict ended.
        control_caught_at: When its newest drill ended of which every planted fault was caught.
        expected_interval: Longest pause between two runs of its schedule; ``None`` by hand.
        source_bytes: Logical size of the newest snapshot.
        stored_bytes: What its newest snapshot added to the store.
        paused_until: End of a pause that holds now.
        paused_because: Its reason.
        conditions: What is wrong with it now, the most urgent first.
    """

    policy: str
    source_kind: str
    repository: str
    zone_name: str
    state: PolicyState
    why: str
    next_due: datetime | None = None
    last_success: Run | None = None
    last_attempt: Run | None = None
    running: Run | None = None
    points: Points = Points()
    rpo_target: timedelta | None = None
    rto_target: timedelta | None = None
    rto_achieved: timedelta | None = None
    rto_predicted: Prediction | None = None
    drills_ended: Mapping[Verdict, datetime] = msgspec.field(default_factory=dict)
    control_caught_at: datetime | None = None
    expected_interval: timedelta | None = None
    source_bytes: int | None = None
    stored_bytes: int | None = None
    paused_until: datetime | None = None
    paused_because: str | None = None
    conditions: Sequence[Condition] = ()


class RepositoryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one repository stands.

    Attributes:
        name: Its name in the configuration.
        store: Where it is.
        reachable: Whether its store answered when it was last asked; ``None`` when nobody asked.
        asked_at: When that was.
        checked_at: When a check last passed.
        conditions: What is wrong with it now.
    """

    name: str
    store: str
    reachable: bool | None = None
    asked_at: datetime | None = None
    checked_at: datetime | None = None
    conditions: Sequence[Condition] = ()


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on one screen.

    Attributes:
        host: Name of this machine.
        at: The instant all of it describes.
        daemons: Daemons that share the ledger and have shown signs of life: first those of this
            machine, each time the newest sign first.
        daemon_alive: Whether one runs now that keeps these policies.
        policies: By name.
        repositories: By name.
        alarms: Open alarms as the ledger has them, the most urgent first.
        conditions: What is wrong with things that are neither policy nor repository.
        queue_depth: Runs that are due and wait for room.
        verified_at: When the ledger was last verified; ``None`` when nobody knows.
    """

    host: str
    at: datetime
    daemon_alive: bool
    daemons: Sequence[DaemonBeat] = ()
    policies: Sequence[PolicyStatus] = ()
    repositories: Sequence[RepositoryStatus] = ()
    alarms: Sequence[Alarm] = ()
    conditions: Sequence[Condition] = ()
    queue_depth: int = 0
    verified_at: datetime | None = None

    @property
    def beat_at(self) -> datetime | None:
        """When a daemon of this machine last looked at its policies; without any, one of another.

        Daemons that share a ledger each tell of themselves: one that lives must not hide a dead one.
        """
        own = [beat for beat in self.daemons if beat.process.host == self.host]
        return max((beat.beat_at for beat in own or self.daemons), default=None)

    @property
    def own_alarms(self) -> list[Alarm]:
        """The open alarms about what is this machine's: on a shared ledger others have theirs."""
        names = {
            "policy": {each.policy for each in self.policies},
            "repository": {each.name for each in self.repositories},
        }

        def is_own(subject: Subject) -> bool:
            if subject.kind in names:
                return subject.name in names[subject.kind]
            is_here = subject.name == self.host or subject.name.endswith(f" on {self.host}")
            return subject.kind == "channel" or is_here

        return [alarm for alarm in self.alarms if is_own(alarm.condition.subject)]
