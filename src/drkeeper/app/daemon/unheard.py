"""Stores that a daemon has not heard of yet: what was known of them before it began holds."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from drkeeper.app.daemon.jumps import Times
from drkeeper.model.alarm import AlarmKind, Condition, Subject
from drkeeper.model.status import Overview, RepositoryStatus

WAITS: Final = timedelta(minutes=2)
"""How long a run of an earlier daemon accuses no store that is being asked. Source: ours; longer than
asking all of them twice takes."""


class Unheard:
    """Keeps a restart from raising or ending alarms about stores before they were asked.

    An earlier daemon may have heard of a store after the last run that failed for it, and what it
    heard is in the ledger as an alarm that is open or not. So until the first answer, the alarm
    stays as it is: an open one for as long as nobody knows better, one that is not open for a while,
    because an answer may never come.

    Args:
        clock: Measures, and dates its beginning: what fails later is news.
    """

    def __init__(self, clock: Times) -> None:
        self._clock = clock
        self._began_at = clock.now()
        self._began_s = clock.since_boot()

    def kept(self, seen: Overview) -> Overview:
        """Return how things stand, with stores that are not heard of as the alarms have them."""
        if all(each.reachable is not None for each in seen.repositories):
            return seen
        repositories = tuple(
            self._as_before(each, seen) if each.reachable is None else each
            for each in seen.repositories
        )
        return replace(seen, repositories=repositories)

    def _as_before(self, status: RepositoryStatus, seen: Overview) -> RepositoryStatus:
        subject = Subject("repository", status.name)
        kind = AlarmKind.STORAGE_UNREACHABLE
        was = next(
            (
                alarm.condition
                for alarm in seen.alarms
                if alarm.condition.kind is kind and alarm.condition.subject == subject
            ),
            None,
        )
        says = any(each.kind is kind for each in status.conditions)
        if was is not None:
            if says or self._has_worked(status.name, seen):
                return status
            return replace(status, conditions=(was, *status.conditions))
        if says and self._clock.since_boot() - self._began_s < WAITS.total_seconds():
            return replace(status, conditions=self._without_old(status.conditions, kind))
        return status

    def _without_old(
        self, conditions: Sequence[Condition], kind: AlarmKind
    ) -> tuple[Condition, ...]:
        return tuple(
            each for each in conditions if each.kind is not kind or each.since >= self._began_at
        )

    def _has_worked(self, repository: str, seen: Overview) -> bool:
        """Whether a run of this daemon's time ended well in it."""
        runs = (each.last_success for each in seen.policies if each.repository == repository)
        return any(run and run.ended_at and run.ended_at >= self._began_at for run in runs)
