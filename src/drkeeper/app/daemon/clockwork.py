"""APScheduler as the clock that ticks; it decides nothing and remembers nothing.

It keeps its appointments by the wall clock, which anybody may set. So the appointments here are of a
kind of their own (:class:`Every`), and :meth:`Clockwork.nudge` makes a new one when a clock that was
set back has put the old one far into the future.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

_TICK: Final = "tick"


class Every(BaseTrigger):  # type: ignore[misc] # the library has no types
    """One appointment at a time: so long after the last one was kept, by the clock as it is then.

    APScheduler's own interval makes one appointment for each interval that the wall clock has
    skipped, and walks over them one by one: set forward by ten years, that is 21 million of them,
    all held in memory.
    """

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the next appointment: at once for the first one."""
        return now if previous_fire_time is None else now + self._interval


class Clockwork:
    """Calls one function again and again, never twice at a time.

    Args:
        tick: Called in a thread of APScheduler's; must neither raise nor take long.
        every: The pause between two calls.
    """

    def __init__(self, tick: Callable[[], None], every: timedelta) -> None:
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": DebugExecutor()},  # calls at once, in the scheduler's thread
            timezone=UTC,
        )
        self._scheduler.add_job(
            tick,
            Every(every),
            id=_TICK,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    def begin(self) -> None:
        """Begin with the first call at once."""
        self._scheduler.start()

    def nudge(self, now: datetime) -> None:
        """Make an appointment for ``now``, whatever was agreed before."""
        with suppress(JobLookupError):  # it has ended meanwhile
            self._scheduler.modify_job(_TICK, next_run_time=now)

    def end(self) -> None:
        """Make no more calls."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
