"""When a policy is due for a drill: decided from what is remembered, like runs are."""

from datetime import datetime
from typing import Final

from drkeeper.model.policy import Policy
from drkeeper.model.schedule import Schedule, next_run, parse_schedule
from drkeeper.model.windows import closed_until

WEEKLY: Final = "weekly on sun at 05:00"
"""When drills take place unless the policy says otherwise. Source: design; at night, and every week."""


QUARTERLY: Final = "quarterly on 1 at 06:00"
"""When bare drills take place where there is a kit. Source: design; once in each report."""


def default_bare_schedule() -> Schedule:
    """Return when bare drills take place unless the policy says otherwise."""
    return parse_schedule(QUARTERLY)


def default_schedule() -> Schedule:
    """Return when drills take place unless the policy says otherwise."""
    return parse_schedule(WEEKLY)


def drill_due(
    policy: Policy, since: datetime, now: datetime, *, bare: bool = False
) -> datetime | None:
    """Return the slot of a drill that should have begun by now; ``None`` when there is none.

    Of slots that were missed one is made up for, as with runs. A pause or a closed window of the policy
    puts it off.

    Args:
        policy: Whose drill.
        since: When its last drill was planned; before the first one, since when it could be drilled.
        now: The present.
        bare: Ask for the drill from store and kit alone; ``since`` is about those then.
    """
    schedule = policy.drill.bare if bare else policy.drill.schedule
    if schedule is None:
        return None
    slot = next_run(schedule, policy.zone, since - policy.offset) + policy.offset
    if slot > now:
        return None
    if policy.pause is not None and now < policy.pause.until:
        return None
    if closed_until(policy.limits.closed, policy.zone, now) is not None:
        return None
    return slot
