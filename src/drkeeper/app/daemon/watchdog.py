"""See to it that the ticks happen, by monotonic time and whatever it is that they hang on.

Nothing here touches the ledger, a store or APScheduler's clock: those are what may hang.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.jumps import ClockWatch, Passage, Times
from drkeeper.app.daemon.supervision import Supervisor
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.instants import rfc3339
from drkeeper.model.quantities import format_duration
from drkeeper.model.run import RunId

PULSE: Final = timedelta(seconds=2)
"""How often it looks."""
_LATE: Final = 2
"""Ticks that may be missing before the clock that ticks is set right."""
_STALLED: Final = 4
_STALLED_AT_LEAST: Final = timedelta(seconds=60)
_TOLD_FOR: Final = timedelta(hours=1)
"""How long a step of the clock is worth an alarm: it is an event, and nothing ends it."""


class Ticks(Protocol):
    """The part of the ticking that is watched."""

    @property
    def late(self) -> timedelta:
        """Running time since the last tick that did its work."""
        ...


class Workers(Protocol):
    """The part of the executor that is watched."""

    def running(self) -> Mapping[RunId, object]:
        """Return the runs that go on."""
        ...

    def alive(self) -> bool:
        """Whether it does its work at all."""
        ...

    def moved(self) -> float:
        """Return the monotonic time at which one of them last moved something, or began."""
        ...


@dataclass(frozen=True, slots=True)
class Actions:
    """What can be done about what is found.

    Attributes:
        nudge: Let a tick happen now, whatever the clock that ticks thinks.
        replan: Let the next tick believe nothing that was planned before.
        alarm: Something was found, or is over: tell it.
        stakes: What is at stake if no tick ever comes again, as conditions at an instant.
    """

    nudge: Callable[[], None]
    replan: Callable[[], None]
    alarm: Callable[[], None]
    stakes: Callable[[datetime], Iterable[Condition]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take.

    Attributes:
        tick: Pause between two ticks.
        stalled_after: For how long runs may move nothing.
    """

    tick: timedelta
    stalled_after: timedelta

    @property
    def stalled(self) -> timedelta:
        """For how long ticks may fail to happen."""
        return max(self.tick * _STALLED, _STALLED_AT_LEAST)


class Watchdog:
    """Looks whether all goes on, and says so to systemd only then.

    Args:
        clock: Three clocks, of which only the wall clock is doubted.
        daemon: What is said to be wrong with.
        patience: How long things may take.
        ticks: What is watched.
        workers: What is watched.
        concerns: Takes what is found.
        supervisor: Is told that we live.
        actions: What can be done.
    """

    def __init__(  # noqa: PLR0913 - everything it watches and moves, by name
        self,
        *,
        clock: Times,
        daemon: Subject,
        patience: Patience,
        ticks: Ticks,
        workers: Workers,
        concerns: Concerns,
        supervisor: Supervisor,
        actions: Actions,
    ) -> None:
        self._clock = clock
        self._daemon = daemon
        self._patience = patience
        self._ticks = ticks
        self._workers = workers
        self._concerns = concerns
        self._supervisor = supervisor
        self._actions = actions
        self._watch = ClockWatch(clock)
        self._held: set[tuple[AlarmKind, Subject]] = set()
        self._late = timedelta()
        self._wall = clock.now(), clock.since_boot()

    def look(self) -> None:
        """Look once; called every few seconds, from a thread that does nothing else."""
        self._look_at_clocks(self._watch.look())
        late = self._ticks.late
        if late > self._patience.tick * _LATE:
            self._actions.nudge()
        ticking = late <= self._patience.stalled
        if late < self._late:  # there was a tick, which believed the wall clock as it is
            self._wall = self._clock.now(), self._clock.since_boot()
        self._late = late
        if ticking:
            self._calm()
        else:
            self._shout(late)
        if ticking and self._working():
            self._supervisor.alive()

    def _look_at_clocks(self, passage: Passage) -> None:
        if passage.was_set:
            self._concerns.hold(_jumped(passage, self._daemon), last=_TOLD_FOR)
            self._actions.replan()
            self._actions.alarm()
        if passage.was_set or passage.was_asleep:
            self._actions.nudge()

    def _working(self) -> bool:
        if not self._workers.alive():
            return False  # nothing would ever run again
        if not self._workers.running():
            return True
        still_s = self._clock.monotonic() - self._workers.moved()
        return still_s <= self._patience.stalled_after.total_seconds()

    def _shout(self, late: timedelta) -> None:
        # The wall clock as it goes on from the last tick: it may have been set since.
        at, then_s = self._wall
        now = at + timedelta(seconds=self._clock.since_boot() - then_s)
        found = [_stalled(self._daemon, now - late, late), *self._actions.stakes(now)]
        new = [self._concerns.hold(condition) for condition in found]
        self._held |= {(condition.kind, condition.subject) for condition in found}
        if any(new):
            self._actions.alarm()

    def _calm(self) -> None:
        over = [self._concerns.drop(kind, subject) for kind, subject in self._held]
        self._held.clear()
        if any(over):
            self._actions.alarm()


def _jumped(passage: Passage, daemon: Subject) -> Condition:
    way = "forward" if passage.jumped > timedelta() else "back"
    return Condition(
        AlarmKind.CLOCK_JUMPED,
        daemon,
        f"the clock of {daemon.name} was set {way} by {format_duration(abs(passage.jumped))} "
        f"to {rfc3339(passage.at)}",
        "Find out who set the clock, and keep it by NTP.",
        passage.at,
    )


def _stalled(daemon: Subject, since: datetime, late: timedelta) -> Condition:
    return Condition(
        AlarmKind.SCHEDULER_STALLED,
        daemon,
        f"the daemon on {daemon.name} has not looked at its policies for {format_duration(late)}",
        "Look at its log with journalctl -u drkeeper, then restart it.",
        since,
    )
