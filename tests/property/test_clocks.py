"""Clocks that are set while the daemon runs: nothing runs twice, or without end, or goes missing."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given, settings, strategies as st

from doubles.stories import DAY, HOUR, MINUTE, Story, at, policy_of
from drkeeper.model.planner import decide, history_of
from drkeeper.model.policy import Objectives
from drkeeper.model.run import RunState

TICK = timedelta(seconds=15)
BEGIN = at("2026-11-21T08:20")
STEPS = [-3 * HOUR, 3 * HOUR, 3652 * DAY]


@dataclass
class World:
    """A daemon's ticks over a policy, in time that nobody sets, and a wall clock that is.

    Attributes:
        story: The policy, and what the ledger has of it.
        took: How long its runs take.
        elapsed: Time that has passed.
        offset: What the wall clock was set by.
        began: When each run began, in time that has passed.
        given_up: When a slot was recorded as given up.
        keeps: Whether anybody begins what is due.
    """

    story: Story
    took: timedelta = 5 * MINUTE
    elapsed: timedelta = timedelta()
    offset: timedelta = timedelta()
    began: list[timedelta] = field(default_factory=list)
    given_up: list[timedelta] = field(default_factory=list)
    keeps: bool = True

    @property
    def wall(self):
        """What the wall clock shows."""
        return BEGIN + self.elapsed + self.offset

    @property
    def since_start(self):
        """Time since the last run began, by the clock that nobody sets."""
        return self.elapsed - self.began[-1] if self.began else None

    def decision(self):
        """Decide, as a tick does."""
        story = self.story
        return decide(
            story.policy,
            history_of(
                story.policy,
                story.runs[::-1],
                known_since=story.known_since,
                newest_point=story.point.consistent_at if story.point else None,
                since_start=self.since_start,
            ),
            self.wall,
        )

    def tick(self):
        """Look once, begin what is due, and let time pass until the next look."""
        decision = self.decision()
        if decision.given_up is not None and self.keeps:
            self.given_up.append(self.elapsed)
            self.story.run(self.wall, RunState.SKIPPED, took=timedelta())
        elif decision.slot is not None and self.keeps:
            self.began.append(self.elapsed)
            self.story.run(self.wall, took=self.took)
            self.elapsed += self.took
        self.elapsed += TICK

    def live(self, until):
        """Let time pass."""
        while self.elapsed < until:
            self.tick()

    def kinds(self):
        """Return what a status says is wrong."""
        return self.story.kinds(self.wall, since_start=self.since_start)


def world(schedule="hourly", **more):
    """Return a policy that has run for long."""
    return World(Story(policy_of(schedule, **more)))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("minute", [0, 2, 39, 41, 46, 59])
def test_a_clock_that_is_set_makes_nothing_run_twice(step, minute):
    """Hourly: no two runs within half an hour, as many as there are hours, no slot given up twice."""
    here = world()
    here.live(2 * HOUR + minute * MINUTE)
    here.offset += step
    here.live(9 * HOUR)
    gaps = [b - a for a, b in zip(here.began, here.began[1:], strict=False)]
    assert min(gaps) >= HOUR / 2 - TICK
    assert max(gaps) <= 2 * HOUR + MINUTE
    assert 7 <= len(here.began) <= 10
    assert len(here.given_up) <= 1


@pytest.mark.parametrize("step", STEPS)
def test_a_daily_policy_runs_once_for_a_clock_that_is_set(step):
    """At most one run more than there are days; never two within a tenth of a day; a day and a half at most between."""
    here = world("daily at 02:30")
    here.live(2 * DAY)
    here.offset += step
    here.live(6 * DAY)
    gaps = [b - a for a, b in zip(here.began, here.began[1:], strict=False)]
    assert min(gaps) >= DAY / 10
    assert max(gaps) <= 1.5 * DAY
    assert 5 <= len(here.began) <= 7


@pytest.mark.parametrize("step", [*STEPS, -3652 * DAY])
@pytest.mark.parametrize("fails", [False, True])
def test_an_rpo_is_kept_or_told_through_a_clock_that_is_set(step, fails):
    """Without a schedule: it goes on in time; and what is too old is told within a minute."""
    here = world(None, objectives=Objectives(rpo=2 * HOUR))
    here.live(5 * HOUR)
    if fails:
        here.began.append(here.elapsed)
        here.story.failed(here.wall)
    here.offset += step
    here.live(12 * HOUR)
    gaps = [b - a for a, b in zip(here.began, here.began[1:], strict=False)]
    assert max(gaps) <= 2 * HOUR
    assert min(gaps[3:]) >= (timedelta() if fails else HOUR)
    assert len(here.began) <= 12
    here.keeps = False
    while here.elapsed < here.began[-1] + 3 * HOUR:
        here.tick()
        if here.elapsed - here.began[-1] > 2 * HOUR + MINUTE:
            assert "rpo-violated" in here.kinds()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 6 * 60),
            st.sampled_from([-600, -180, -61, -45, -2, 2, 45, 61, 180, 600, 5_258_880]),
        ),
        max_size=3,
    ),
    st.sampled_from(["hourly", "hourly at :40", "every 30m", "every 2h"]),
)
@settings(max_examples=25, deadline=None)
def test_runs_are_bounded_however_often_the_clock_is_set(steps, schedule):
    """Two runs of a policy are never nearer than a tenth of the pause between its slots."""
    here = world(schedule)
    for minute, by in sorted(steps):
        here.live(minute * MINUTE)
        here.offset += by * MINUTE
    here.live(8 * HOUR)
    pause = {"every 30m": 30 * MINUTE, "every 2h": 2 * HOUR}.get(schedule, HOUR)
    gaps = [b - a for a, b in zip(here.began, here.began[1:], strict=False)]
    assert min(gaps, default=pause) >= pause / 10
    assert len(here.began) <= 8 * HOUR / pause + 1 + len(steps)
    assert len(here.given_up) <= 2 * (len(steps) + 1)


@given(
    st.integers(0, 119),
    st.sampled_from([-600, -180, -61, -30, -1, 1, 30, 61, 180, 600, 5_258_880]),
    st.integers(1, 119),
)
@settings(max_examples=25, deadline=None)
def test_overdue_shows_within_a_minute_after_a_clock_is_set(dies, by, later):
    """Somebody stops beginning runs; the clock is set; a minute after the interval it is told."""
    here = world()
    here.live(2 * HOUR + dies * MINUTE)
    here.keeps = False
    here.live(here.elapsed + later * MINUTE)
    here.offset += by * MINUTE
    told_at = here.began[-1] + HOUR + MINUTE
    for _ in range(200):
        here.tick()
        if here.elapsed >= told_at + TICK:
            assert "overdue" in here.kinds()
