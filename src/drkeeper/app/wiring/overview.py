"""Everything on one screen: the ledger's memory and the configuration, laid before the judgement.

The number of queries does not grow with the number of policies.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.files import is_there
from drkeeper.app.wiring.remembering import Memory, remember
from drkeeper.app.wiring.runs import open_run_ledger
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.assessment import STORAGE_CODE, assess, assess_repository
from drkeeper.model.facts import GOOD, PolicyFacts, RepositoryFacts, facts_of
from drkeeper.model.instants import local_text
from drkeeper.model.policy import Policy
from drkeeper.model.quantities import format_duration
from drkeeper.model.run import DaemonBeat, Run, RunState
from drkeeper.model.status import Overview, PolicyStatus, RepositoryStatus

if TYPE_CHECKING:  # SQLAlchemy takes 0.2 s to import
    from drkeeper.ledger.ledger import Ledger

FRESH: Final = timedelta(seconds=60)
"""A daemon that has looked at its policies since is believed to live. Source: ours; four ticks."""
STALLED: Final = timedelta(minutes=2)
"""A daemon whose process lives, but that has not looked for so long, is stuck. Source: ours."""


class Measured(msgspec.Struct, frozen=True):
    """What only somebody who lives for long can know, by policy.

    Attributes:
        since_point: Time since the newest recovery point's instant, by a clock that nobody sets.
        since_start: The same since the last run began.
    """

    since_point: Mapping[str, timedelta] = msgspec.field(default_factory=dict)
    since_start: Mapping[str, timedelta] = msgspec.field(default_factory=dict)


def overview(  # noqa: PLR0917 - what is known, in the order in which it is asked for
    configuration: Configuration,
    ledger: "Ledger",
    clock: Clock,
    extra: Sequence[Condition] = (),
    reachable: Mapping[str, tuple[bool, datetime]] | None = None,
    *,
    measured: Measured | None = None,
) -> Overview:
    """Say how everything stands.

    Args:
        configuration: What is promised.
        ledger: What happened.
        clock: Says for which instant.
        extra: Conditions that the caller knows of; those about a policy or a repository are shown
            with it.
        reachable: By repository: whether its store answered when it was last asked, and when.
        measured: What the caller has measured with a clock that nobody sets.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    return overview_of(
        configuration,
        remember(ledger),
        clock.now(),
        extra=extra,
        reachable=reachable,
        measured=measured,
    )


def overview_of(
    configuration: Configuration,
    memory: Memory,
    now: datetime,
    *,
    extra: Sequence[Condition] = (),
    reachable: Mapping[str, tuple[bool, datetime]] | None = None,
    measured: Measured | None = None,
) -> Overview:
    """Say how everything stands, from what was read before."""
    look = _Look(configuration, memory, now, measured or Measured(), reachable or {})
    by_subject: dict[Subject, list[Condition]] = {}
    for condition in extra:
        by_subject.setdefault(condition.subject, []).append(condition)
    policies = [
        _with_more(assess(_facts(look, policy)), by_subject)
        for _, policy in sorted(configuration.policies.items())
    ]
    repositories = [
        _repository_with_more(
            assess_repository(_repository_facts(look, name)),
            by_subject,
        )
        for name in sorted(configuration.repositories)
    ]
    ours = _daemons_here(configuration, memory)
    alive = [beat for beat in ours if _is_alive(beat, configuration.host, now)]
    others = [condition for found in by_subject.values() for condition in found]
    if not any(condition.kind is AlarmKind.SCHEDULER_STALLED for condition in others):
        others += _stuck(configuration, memory, now)
    return Overview(
        host=configuration.host,
        at=now,
        daemon_alive=bool(alive),
        daemons=(*ours, *(beat for beat in memory.daemons if beat not in ours)),
        policies=tuple(policies),
        repositories=tuple(repositories),
        alarms=tuple(sorted(memory.alarms, key=lambda alarm: -alarm.condition.level.rank)),
        conditions=tuple(others),
        queue_depth=sum(
            status.running is not None and status.running.state is RunState.QUEUED
            for status in policies
        ),
    )


def all_conditions(seen: Overview) -> list[Condition]:
    """Return everything that is wrong now, the most urgent first: what alarms are made of."""
    found = [condition for policy in seen.policies for condition in policy.conditions]
    found += [condition for each in seen.repositories for condition in each.conditions]
    found += seen.conditions
    return sorted(found, key=lambda condition: -condition.level.rank)


def read_overview(configuration: Configuration, clock: Clock) -> Overview:
    """Say how everything stands; also what of it is not known, since the ledger cannot be read.

    Policies of which nothing is known are left out, with a condition that says so. A ledger that
    does not exist yet is no trouble: nothing has happened.
    """
    now = clock.now()
    try:
        memory = _read(configuration, clock)
    except DrkeeperError as error:
        hint = f"Run drkeeper ledger verify. {error.hint or ''}".strip()
        message = f"the ledger cannot be read, so that nothing is known of any policy: {error}"
        subject = Subject("daemon", configuration.host)
        trouble = Condition(AlarmKind.LEDGER_TROUBLE, subject, message, hint, now)
        unknown = dataclasses.replace(configuration, policies={}, repositories={})
        return overview_of(unknown, Memory(), now, extra=[trouble])
    return overview_of(configuration, memory, now)


def known_policies(configuration: Configuration, clock: Clock) -> dict[str, PolicyFacts]:
    """Return everything that is known of every policy.

    Raises:
        LedgerError: The ledger exists, and cannot be read.
    """
    memory = _read(configuration, clock)
    look = _Look(configuration, memory, clock.now(), Measured(), {})
    return {name: _facts(look, policy) for name, policy in configuration.policies.items()}


def _read(configuration: Configuration, clock: Clock) -> Memory:
    if configuration.ledger is not None:
        place, host = configuration.ledger, configuration.host
        with open_run_ledger(place, host=host, clock=clock, read_only=True) as ledger:
            return remember(ledger)
    if not is_there(configuration.locations.ledger):
        return Memory()
    from drkeeper.ledger.reader import open_reader  # noqa: PLC0415 - with a server it is not needed

    with open_reader(configuration.locations.ledger, clock=clock) as reader:
        return remember(reader)


class _Look(msgspec.Struct, frozen=True):
    """One look at everything."""

    configuration: Configuration
    memory: Memory
    now: datetime
    measured: Measured
    reachable: Mapping[str, tuple[bool, datetime]]


def _facts(look: _Look, policy: Policy) -> PolicyFacts:
    name, memory = policy.name, look.memory
    runs = memory.runs.get(name, ())
    lease = next((memory.leases[run.id] for run in runs if run.id in memory.leases), None)
    return facts_of(
        policy,
        look.now,
        runs=runs,
        point=memory.points.get(name),
        seen=memory.seen.get(name),
        plan=memory.plan(policy, look.now, look.measured.since_start.get(name)),
        lease=lease,
        since_point=look.measured.since_point.get(name),
        since_start=look.measured.since_start.get(name),
        stalled_after=look.configuration.daemon.stalled_after,
        shown=memory.shown.get(name),
    )


def _with_more(status: PolicyStatus, extra: dict[Subject, list[Condition]]) -> PolicyStatus:
    more = extra.pop(Subject("policy", status.policy), None)
    return replace(status, conditions=(*status.conditions, *more)) if more else status


def _repository_with_more(
    status: RepositoryStatus, extra: dict[Subject, list[Condition]]
) -> RepositoryStatus:
    more = extra.pop(Subject("repository", status.name), None)
    return replace(status, conditions=(*status.conditions, *more)) if more else status


def _repository_facts(look: _Look, name: str) -> RepositoryFacts:
    configuration, memory = look.configuration, look.memory
    settings = configuration.repositories[name]
    users = [policy.name for policy in configuration.policies.values() if policy.repository == name]
    points = [memory.points[user] for user in users if user in memory.points]
    # Its name is the operator's; the repository's own is in what was made in it last.
    identifier = max(points, key=lambda point: point.event).repository if points else None
    since = [
        memory.seen[point.policy].first_seen_at for point in points if point.policy in memory.seen
    ]
    answered, asked_at = look.reachable.get(name, (None, None))
    return RepositoryFacts(
        name=name,
        store=settings.store,
        now=look.now,
        zone_name=configuration.zone_name,
        in_use_since=min(since, default=None),
        check_within=settings.check_within,
        verifications=[check for check in memory.checks if check.repository == identifier],
        reachable=answered,
        asked_at=asked_at,
        last_run=_last_that_asked(memory, users),
    )


def _last_that_asked(memory: Memory, users: Sequence[str]) -> Run | None:
    """Return the newest run of any of the policies that tells whether the store answers."""
    found = (
        next((run for run in memory.runs.get(user, ()) if _has_asked(run)), None) for user in users
    )
    return max((run for run in found if run), key=lambda run: run.event, default=None)


def _has_asked(run: Run) -> bool:
    if run.state in GOOD:
        return True
    return run.failure is not None and run.failure.exit_code == STORAGE_CODE


def _daemons_here(configuration: Configuration, memory: Memory) -> list[DaemonBeat]:
    """Return those that keep these policies: on a shared ledger others have policies of their own."""
    shared = configuration.ledger is not None
    return [
        beat for beat in memory.daemons if not shared or beat.process.host == configuration.host
    ]


def _is_alive(beat: DaemonBeat, host: str, now: datetime) -> bool:
    # Either side of now: the clock may have been set back.
    return abs(now - beat.beat_at) < FRESH and _has_process(beat, host)


def _has_process(beat: DaemonBeat, host: str) -> bool:
    from drkeeper.ledger.process import is_alive  # noqa: PLC0415 - see the package

    return beat.process.host != host or is_alive(beat.process)


def _stuck(configuration: Configuration, memory: Memory, now: datetime) -> list[Condition]:
    """Find a daemon of this host whose process lives, but that does not look any more."""
    mine = [beat for beat in memory.daemons if beat.process.host == configuration.host]
    if (
        not mine
        or abs(now - mine[0].beat_at) < STALLED
        or not _has_process(mine[0], configuration.host)
    ):
        return []
    at = local_text(mine[0].beat_at, ZoneInfo(configuration.zone_name))
    return [
        Condition(
            AlarmKind.SCHEDULER_STALLED,
            Subject("daemon", configuration.host),
            f"the daemon lives, and has not looked at its policies since {at}, "
            f"{format_duration(abs(now - mine[0].beat_at))} ago",
            "Run systemctl restart drkeeper, then drkeeper status.",
            mine[0].beat_at,
        )
    ]
