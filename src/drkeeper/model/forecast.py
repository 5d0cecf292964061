"""What a policy will do next, and what it can achieve by that: pure, from the policy and its past."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from itertools import islice
from typing import Final

from msgspec.structs import replace

from drkeeper.model.planner import History, derived_start, percentile
from drkeeper.model.policy import Policy
from drkeeper.model.simulation import simulate

_LOOKED_AT: Final = 1000
_DAYS: Final = timedelta(days=2)
"""So many runs, and so long, are simulated to find the longest pause; windows repeat every day."""
_LONG: Final = timedelta(days=400)
"""A year and a month: every clock change is in it."""
_END: Final = datetime(MAXYEAR - 1, 1, 1, tzinfo=UTC)
_SOME_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a policy will do next.

    Attributes:
        runs: When the next runs begin.
        gap: Longest pause between the beginnings of two runs; ``None`` when it runs by hand.
        duration: What 95 % of its recent runs did not exceed; ``None`` when nothing is known.
    """

    runs: tuple[datetime, ...]
    gap: timedelta | None
    duration: timedelta | None

    @property
    def worst_rpo(self) -> timedelta | None:
        """Age that the newest recovery point can reach, with what is known of durations."""
        return None if self.gap is None else self.gap + (self.duration or timedelta())


def forecast(policy: Policy, now: datetime, count: int, history: History | None = None) -> Forecast:
    """Return the next ``count`` runs, and how long a pause between two of them can be.

    No run begins while the policy is paused or a window is closed. The longest time between two
    runs counts windows, too, but not a pause of the policy, which suspends its promise.

    Args:
        policy: Whose.
        now: The present.
        count: How many runs.
        history: What the ledger remembers; default: the policy is new.
    """
    known = replace(history or History(known_since=now), running=False)
    duration = percentile(known.durations) if known.durations else None
    takes = duration or timedelta()
    begin = now
    if policy.pause is not None:
        begin = max(now, policy.pause.until)  # nothing happens before, and it may be long
    found = simulate(policy, begin, _END, duration=takes, history=known)
    return Forecast(
        runs=tuple(run.began for run in islice(found, count)),
        gap=_gap(replace(policy, pause=None), now, takes, known.durations),
        duration=duration,
    )


def _gap(
    policy: Policy, now: datetime, takes: timedelta, durations: Sequence[timedelta]
) -> timedelta | None:
    gap = policy.worst_rpo(now)
    if gap is None and policy.objectives.rpo is not None:
        gap = derived_start(policy.objectives.rpo, _SOME_DAY, durations) - _SOME_DAY
    if gap is None or not policy.limits.closed:
        return gap
    previous: datetime | None = None
    for count, run in enumerate(simulate(policy, now, now + _LONG, duration=takes)):
        if previous is not None:
            gap = max(gap, run.began - previous)
        if count >= _LOOKED_AT and run.began - now >= _DAYS:
            break
        previous = run.began
    return gap
