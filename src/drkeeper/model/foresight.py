"""What will run, why just then, and which RPO that achieves, if nothing goes wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from drkeeper.model.exposure import Achieved, Ready, worst_age
from drkeeper.model.facts import PolicyFacts
from drkeeper.model.planner import History, Why, history_of
from drkeeper.model.policy import Policy
from drkeeper.model.quantities import format_duration
from drkeeper.model.simulation import LeftOut, Outage, SimulatedRun, happenings
from drkeeper.model.windows import closed_until

_LATE = timedelta(seconds=30)
"""A run that begins later than that after its slot has a reason. Source: ours; two ticks."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A stretch of a policy's future.

    Attributes:
        policy: Whose.
        begin: First instant.
        end: Last instant.
        runs: What will run, in order.
        left_out: What will not, in order.
        achieved: The worst age of the newest recovery point; ``None`` when there is none yet and
            none is to come.
        duration: How long each run is taken to last.
    """

    policy: Policy
    begin: datetime
    end: datetime
    runs: Sequence[SimulatedRun]
    left_out: Sequence[LeftOut]
    achieved: Achieved | None
    duration: timedelta

    @property
    def made_up(self) -> int:
        """Runs that begin late, for slots that were not served in time."""
        return sum(run.why is Why.MAKE_UP for run in self.runs)

    @property
    def cut_off(self) -> int:
        """Runs that an outage ends."""
        return sum(not run.completed for run in self.runs)

    @property
    def missed(self) -> int:
        """Slots that no run stands for."""
        return sum(run.missed for run in self.runs) + sum(each.missed for each in self.left_out)

    @property
    def keeps_promise(self) -> bool | None:
        """Whether the RPO is kept all the time; ``None`` when none is promised."""
        rpo = self.policy.objectives.rpo
        return None if rpo is None else self.achieved is not None and self.achieved.worst <= rpo


def foresee(facts: PolicyFacts, end: datetime, *, outages: Sequence[Outage] = ()) -> Foreseen:
    """Say what will happen to a policy from now to ``end``.

    A run that goes on is taken to last as long as the others did.
    """
    duration, begin = facts.expected_duration, facts.now
    points: list[Ready] = []
    history = _history(facts)
    if facts.open is not None:
        began = facts.open.started_at if facts.running else facts.now
        begin = max(began + duration, facts.now)
        points.append(Ready(min(began, facts.now), begin))
        history = replace(history, running=False, served=began, newest_point=began)
    found = list(
        happenings(facts.policy, begin, end, duration=duration, outages=outages, history=history)
    )
    runs = [each for each in found if isinstance(each, SimulatedRun)]
    points += [Ready(run.began, run.ended) for run in runs if run.completed]
    newest = facts.point.consistent_at if facts.point else facts.first_seen_at
    achieved = worst_age(points, facts.now, end, newest=newest) if points or facts.point else None
    left_out = [each for each in found if isinstance(each, LeftOut)]
    return Foreseen(facts.policy, facts.now, end, runs, left_out, achieved, duration)


def _history(facts: PolicyFacts) -> History:
    return history_of(
        facts.policy,
        facts.runs,
        known_since=facts.first_seen_at or facts.now,
        newest_point=facts.point.consistent_at if facts.point else None,
        since_start=facts.since_start,
    )


def reasons(policy: Policy, run: SimulatedRun) -> Iterator[str]:
    """Say why a run begins when it does, unless it is just its time."""
    late = run.began - run.slot > _LATE
    pause = policy.pause
    just_paused = pause is not None and run.slot == pause.until and run.missed
    if pause is not None and (just_paused or run.slot < pause.until <= run.began):
        yield f"the pause ends: {pause.reason}"
    elif late and closed_until(policy.limits.closed, policy.zone, run.slot) is not None:
        windows = ", ".join(map(str, policy.limits.closed))
        yield f"may not start {windows}; was due {run.slot.astimezone(policy.zone):%H:%M}"
    elif late and run.why not in {Why.OBJECTIVE, Why.RETRY}:
        yield f"late; was due {run.slot.astimezone(policy.zone):%Y-%m-%d %H:%M}"
    if run.missed:
        yield f"makes up for {run.missed} more"
    if run.why is Why.RETRY:
        yield "tries again what failed"
    if run.why is Why.OBJECTIVE and policy.objectives.rpo is not None:
        yield f"in time for the RPO of {format_duration(policy.objectives.rpo)}"
    if policy.offset and run.why is not Why.OBJECTIVE:
        yield f"{format_duration(policy.offset)} of jitter"
