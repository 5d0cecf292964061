"""How policies and repositories stand: pure, from facts to what an operator sees."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from drkeeper.model.absence import conditions_of
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.facts import PolicyFacts, RepositoryFacts
from drkeeper.model.instants import local_text
from drkeeper.model.planner import Why, opening
from drkeeper.model.quantities import format_duration
from drkeeper.model.run import RunState, Verification
from drkeeper.model.status import Points, PolicyState, PolicyStatus, RepositoryStatus

STORAGE_CODE = 17
"""Exit code of a run that its store has refused. Source: docs/exit-codes.md."""

_STATE_OF = {
    AlarmKind.NEVER_RAN: PolicyState.OVERDUE,
    AlarmKind.OVERDUE: PolicyState.OVERDUE,
    AlarmKind.PAUSED_PAST_END: PolicyState.OVERDUE,
    AlarmKind.EMPTY: PolicyState.FAILING,
    AlarmKind.SHRUNK: PolicyState.FAILING,
    AlarmKind.FAILING: PolicyState.FAILING,
    AlarmKind.CAPTURE_STALLED: PolicyState.FAILING,
    AlarmKind.RPO_VIOLATED: PolicyState.VIOLATED,
    AlarmKind.RPO_AT_RISK: PolicyState.AT_RISK,
    AlarmKind.WARNINGS: PolicyState.WARNING,
    AlarmKind.DRILL_NOT_PROVEN: PolicyState.FAILING,
    AlarmKind.RTO_AT_RISK: PolicyState.AT_RISK,
    AlarmKind.RTO_CANNOT_BE_MET: PolicyState.FAILING,
    AlarmKind.DRILL_OVERDUE: PolicyState.WARNING,
    AlarmKind.DRILL_INCONCLUSIVE: PolicyState.WARNING,
}
_WORST = tuple(PolicyState)


def assess(facts: PolicyFacts) -> PolicyStatus:
    """Say how a policy stands."""
    policy, point, decision = facts.policy, facts.point, facts.decision
    found = conditions_of(facts)
    instant = point.consistent_at if point else None
    return PolicyStatus(
        policy=policy.name,
        source_kind=policy.source.kind,
        repository=policy.repository,
        zone_name=policy.zone_name,
        state=_state(facts, found),
        why=decision.why.value,
        next_due=_next_due(facts),
        last_success=facts.last_good,
        last_attempt=facts.begun[0] if facts.begun else None,
        running=facts.open,
        points=Points(captured=instant, durable=instant, proven=facts.proven),
        rpo_target=policy.objectives.rpo,
        rto_target=policy.objectives.rto,
        rto_achieved=facts.rto_achieved,
        rto_predicted=facts.rto_predicted,
        drills_ended=facts.shown.ended if facts.shown else {},
        control_caught_at=facts.shown.caught_at if facts.shown else None,
        expected_interval=facts.expected_interval,
        source_bytes=point.plain_bytes if point else None,
        stored_bytes=point.stored_bytes if point else None,
        paused_until=policy.pause.until if policy.pause and facts.is_paused else None,
        paused_because=policy.pause.reason if policy.pause and facts.is_paused else None,
        conditions=tuple(found),
    )


def _state(facts: PolicyFacts, conditions: list[Condition]) -> PolicyState:
    """Choose the worst word that applies."""
    words = [_STATE_OF[condition.kind] for condition in conditions]
    words.append(_state_of_a_good_one(facts))
    return max(words, key=_WORST.index)


def _state_of_a_good_one(facts: PolicyFacts) -> PolicyState:
    if facts.is_paused:
        return PolicyState.PAUSED
    if facts.open is not None:
        return PolicyState.RUNNING if facts.running else PolicyState.QUEUED
    if facts.decision.why is Why.BY_HAND:
        return PolicyState.BY_HAND
    return PolicyState.OK if facts.last_good or facts.point else PolicyState.WAITING


def _next_due(facts: PolicyFacts) -> datetime | None:
    """Return when the policy runs next: at once for what is due, after a pause or window else."""
    decision, policy = facts.decision, facts.policy
    if decision.slot is not None:
        return decision.slot
    if decision.next_at is not None:
        return opening(policy, decision.next_at)
    if facts.open is not None and policy.schedule is not None:
        due = policy.next_due(facts.now)
        return None if due is None else opening(policy, due)
    return None


def assess_repository(facts: RepositoryFacts) -> RepositoryStatus:
    """Say how a repository stands."""
    found = [*_unreachable(facts), *_check_failed(facts), *_verifier_stale(facts)]
    passed = _last_passed(facts)
    return RepositoryStatus(
        name=facts.name,
        store=facts.store,
        reachable=facts.reachable,
        asked_at=facts.asked_at,
        checked_at=passed.checked_at if passed else None,
        conditions=tuple(found),
    )


def _unreachable(facts: RepositoryFacts) -> Iterator[Condition]:
    """The store did not answer when it was asked, or refused the last run that needed it."""
    hint = "Run drkeeper doctor, which asks the store and says what it answers."
    if facts.reachable is False and facts.asked_at is not None:
        asked = _local(facts, facts.asked_at)
        message = f"its store {facts.store} did not answer at {asked}"
        yield _condition(facts, AlarmKind.STORAGE_UNREACHABLE, message, hint, facts.asked_at)
        return
    run = facts.last_run
    if run is None or run.failure is None or run.state is not RunState.FAILED:
        return
    ended = run.ended_at or run.started_at
    has_answered_since = facts.reachable and facts.asked_at is not None and facts.asked_at > ended
    if run.failure.exit_code == STORAGE_CODE and not has_answered_since:
        message = (
            f"a run of policy {run.policy} failed at {_local(facts, ended)}: {run.failure.message}"
        )
        yield _condition(facts, AlarmKind.STORAGE_UNREACHABLE, message, hint, ended)


def _check_failed(facts: RepositoryFacts) -> Iterator[Condition]:
    newest = facts.verifications[0] if facts.verifications else None
    if newest is None or newest.passed:
        return
    detail = f": {newest.detail}" if newest.detail else ""
    message = f"its check of {_local(facts, newest.checked_at)} found damage{detail}"
    hint = f"Run drkeeper check --repository {facts.name}, and read docs/check.md."
    yield _condition(facts, AlarmKind.FAILING, message, hint, newest.checked_at)


def _verifier_stale(facts: RepositoryFacts) -> Iterator[Condition]:
    """Nobody has looked for too long whether what is kept is still what was stored."""
    if facts.check_within is None or facts.in_use_since is None:
        return
    passed = _last_passed(facts)
    since = passed.checked_at if passed else facts.in_use_since
    if facts.now - since < facts.check_within:
        return
    last = f"was last checked at {_local(facts, since)}" if passed else (
        f"has been in use since {_local(facts, since)} and never been checked"
    )  # fmt: skip
    message = f"{last}, and is to be every {format_duration(facts.check_within)}"
    hint = f"Run drkeeper check --repository {facts.name}."
    yield _condition(facts, AlarmKind.VERIFIER_STALE, message, hint, since + facts.check_within)


def _last_passed(facts: RepositoryFacts) -> Verification | None:
    return next((each for each in facts.verifications if each.passed), None)


def _condition(  # noqa: PLR0917 - as for policies
    facts: RepositoryFacts, kind: AlarmKind, message: str, hint: str, since: datetime
) -> Condition:
    words = f"repository {facts.name}: {message}"
    return Condition(kind, Subject("repository", facts.name), words, hint, since)


def _local(facts: RepositoryFacts, instant: datetime) -> str:
    return local_text(instant, ZoneInfo(facts.zone_name))


def misses_objective(status: PolicyStatus) -> bool:
    """Whether a promise of the policy is broken now: RPO, RTO, or that it runs as it should."""
    target, achieved = status.rto_target, status.rto_achieved
    too_slow = target is not None and achieved is not None and achieved > target
    return too_slow or _WORST.index(status.state) >= _WORST.index(PolicyState.FAILING)
