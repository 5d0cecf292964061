"""What a rule says about a policy: its name first, times as the clock on its wall shows them."""

from datetime import datetime

from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.facts import PolicyFacts
from drkeeper.model.instants import local_text


def subject_of(facts: PolicyFacts) -> Subject:
    """Name the policy."""
    return Subject("policy", facts.policy.name)


def local(facts: PolicyFacts, instant: datetime) -> str:
    """Write an instant as a clock on the policy's wall shows it."""
    return local_text(instant, facts.policy.zone)


def condition_of(  # noqa: PLR0917 - the attributes of a condition, in their order
    facts: PolicyFacts, kind: AlarmKind, message: str, hint: str, since: datetime
) -> Condition:
    """Say that something is wrong with a policy."""
    words = f"policy {facts.policy.name}: {message}"
    return Condition(kind, subject_of(facts), words, hint, since)
