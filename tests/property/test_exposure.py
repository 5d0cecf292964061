"""The RPO measured from what was recorded equals one that is computed in another way.

The other way shares no code and no idea with the first: it looks at every minute, one after the
other, and asks which data could have been restored just then.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from doubles.stories import LONG_AGO, Story, policy_of
from drkeeper.model.exposure import Ready, age_at, worst_age
from drkeeper.model.facts import facts_of
from drkeeper.model.policy import Objectives
from drkeeper.model.run import Operation, Process, RecoveryPoint, Run, RunId, RunState, SeenPolicy
from drkeeper.model.stake import point_age

HISTORIES = 10_000
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)


def instant(minute):
    """Return an instant by its number."""
    return EPOCH + timedelta(minutes=minute)


@dataclass
class Recorded:
    """A run as it was recorded, in minutes: by the wall clock, and as time really passed."""

    began: int
    ended: int
    truly_began: int
    truly_ended: int
    good: bool


class History:
    """A random past: runs that overlap, outages that cut them off, a clock that is set.

    Time passes in whole minutes from 0 to ``length``; the wall clock shows that, and what it was
    set by until then.
    """

    def __init__(self, seed):
        self.chance = chance = random.Random(seed)
        self.length = chance.randrange(60, 400)
        self.steps = sorted(
            (chance.randrange(self.length), chance.choice([-180, -61, -7, 7, 61, 180]))
            for _ in range(chance.choice([0, 0, 0, 1, 2]))
        )
        self.outages = [
            (begin, begin + chance.randrange(1, 120))
            for begin in chance.sample(range(self.length), chance.choice([0, 0, 1, 2]))
        ]
        self.runs = sorted(
            (run for _ in range(chance.randrange(12)) if (run := self._run())),
            key=lambda run: run.truly_ended,
        )

    def wall(self, minute):
        """Return what the wall clock shows at a minute."""
        return minute + sum(by for at, by in self.steps if at <= minute)

    def _run(self):
        began = self.chance.randrange(self.length)
        ended = began + self.chance.choice([0, 1, 5, 20, 90])
        if any(off <= began < on for off, on in self.outages):
            return None
        cut = [off for off, _ in self.outages if began < off < ended]
        ended = min(cut, default=ended)
        if ended > self.length:
            return None
        good = not cut and self.chance.random() < 0.85
        return Recorded(self.wall(began), self.wall(ended), began, ended, good)

    def good(self):
        """Return the runs that left a recovery point, in the order in which they were recorded."""
        return [run for run in self.runs if run.good]


def brute_force(points, begin, end, known):
    """Return the worst age by looking at every minute from begin to end: what was there before it?"""
    worst = 0
    for minute in range(begin, end + 1):
        newest = known
        for began, ended in points:
            if ended < minute and began > newest:
                newest = began
        worst = max(worst, minute - newest)
    return worst


def test_the_worst_rpo_is_that_of_every_single_minute():
    """On ten thousand pasts, by the times that were recorded, whatever clock recorded them."""
    differing = []
    for seed in range(HISTORIES):
        past = History(seed)
        begin, end = past.wall(0), past.wall(past.length)
        if end < begin:
            continue
        known = begin - past.chance.choice([0, 0, 30])
        points = [(run.began, run.ended) for run in past.good()]
        expected = brute_force(points, begin, end, known)
        measured = worst_age(
            [Ready(instant(began), instant(ended)) for began, ended in points],
            instant(begin),
            instant(end),
            newest=instant(known),
        )
        if measured.worst != timedelta(minutes=expected):
            differing.append(seed)
        assert instant(begin) <= measured.at <= instant(end)
    assert differing == []


def test_the_rpo_that_a_status_shows_is_the_one_there_is():
    """At a random minute of ten thousand pasts, by the wall clock and by the one nobody sets."""
    for seed in range(HISTORIES):
        past = History(seed)
        now = past.chance.randrange(past.length + 1)
        there = [run for run in past.good() if run.truly_ended <= now]
        facts = facts_at(past, now, there)
        wall_age = true_age = past.wall(now) - past.wall(0)
        if there:
            newest = max(there, key=lambda run: run.began)
            wall_age, true_age = past.wall(now) - newest.began, now - newest.truly_began
        by_wall = timedelta(minutes=max(wall_age, 0))
        assert point_age(facts) == by_wall, seed
        if there:
            since_point = timedelta(minutes=true_age)
            both = facts_at(past, now, there, since_point=since_point)
            assert point_age(both) == max(by_wall, since_point), seed


def facts_at(past, now, there, **more):
    """Return what is known at a minute of a policy that promises an RPO."""
    policy = policy_of(objectives=Objectives(rpo=timedelta(hours=1)))
    runs, point = [], None
    for number, run in enumerate(run for run in past.runs if run.truly_ended <= now):
        state = RunState.SUCCEEDED if run.good else RunState.FAILED
        runs.append(
            Run(
                RunId(str(number)), "home", Operation.BACKUP, state, Process("h", "b", 1),
                instant(run.began), instant(run.ended),
            )
        )  # fmt: skip
        if run in there and (point is None or instant(run.began) > point.consistent_at):
            point = RecoveryPoint(
                repository="c0", lineage="11", commit_number=number, session="5", policy="home",
                consistent_at=instant(run.began), finished_at=instant(run.ended), run=RunId("none"),
            )  # fmt: skip
    seen = SeenPolicy("home", "d", instant(past.wall(0)), instant(past.wall(0)))
    return facts_of(
        policy, instant(past.wall(now)), runs=runs[::-1], point=point, seen=seen, **more
    )


def test_a_violation_is_entered_and_left_at_the_minute():
    """On hundreds of pasts: at each seventh minute, violated if and only if the data at stake is too much."""
    rpo = 60
    for seed in range(300):
        past = History(seed)
        if past.steps:
            continue
        for now in range(0, past.length + 1, 7):
            there = [run for run in past.good() if run.truly_ended <= now]
            newest = max((run.began for run in there), default=0)
            story = Story(policy_of(objectives=Objectives(rpo=timedelta(minutes=rpo))), LONG_AGO)
            story.known_since = instant(0)
            for run in there:
                story.run(instant(run.began), took=timedelta(minutes=run.ended - run.began))
            if story.point is not None and there:
                best = max(there, key=lambda run: run.began)
                story.point = next(
                    point
                    for point in points_of(story)
                    if point.consistent_at == instant(best.began)
                )
            kinds = story.kinds(instant(now))
            assert ("rpo-violated" in kinds) == (now - newest >= rpo), (seed, now)


def points_of(story):
    """Return the recovery points of a story's runs."""
    return [
        RecoveryPoint(
            repository="c0ffee", lineage="11aa", commit_number=number, session="5e55",
            policy="home", consistent_at=run.started_at, finished_at=run.ended_at, run=run.id,
            files=100, plain_bytes=1000,
        )
        for number, run in enumerate(story.runs)
    ]  # fmt: skip


def test_a_point_in_the_future_costs_nothing():
    """Written by a clock that was set back since."""
    assert age_at(instant(10), instant(5)) == timedelta()
    found = worst_age([Ready(instant(100), instant(2))], instant(0), instant(50))
    assert found.worst == timedelta(minutes=2)
