"""Which of the runs that wait may begin: limits in all, for each repository, each kind of source.

Pure. One place is kept from everything that is not a backup, so that checks and drills never starve
backups; and a repository whose last run failed gets one place only while others wait, so that a
store that does not answer holds up nobody but its own policies.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from drkeeper.model.run import Operation


@dataclass(frozen=True, slots=True)
class Places:
    """How many runs may go on at the same time.

    Attributes:
        workers: In all.
        per_repository: Of one repository.
        per_source: Of one kind of source.
    """

    workers: int = 2
    per_repository: int = 2
    per_source: int = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run needs a place for.

    Attributes:
        repository: Name of its repository.
        source: Kind of its source.
        operation: What it does.
        again: Whether an earlier run for the same slot has failed.
    """

    repository: str
    source: str
    operation: Operation = Operation.BACKUP
    again: bool = False


def next_to_begin(
    places: Places,
    waiting: Sequence[Wanted],
    running: Collection[Wanted],
    *,
    failing: Collection[str] = (),
) -> int | None:
    """Return the index of the run to begin now; ``None`` when all have to wait.

    First come, first served; but what has failed waits for what has not, and checks wait for
    backups.

    Args:
        places: The limits.
        waiting: In the order in which they came.
        running: What goes on.
        failing: Repositories whose store did not answer the last run.
    """
    if len(running) >= places.workers:
        return None
    order = sorted(
        range(len(waiting)),
        key=lambda index: (
            waiting[index].operation is not Operation.BACKUP,
            waiting[index].again,
            index,
        ),
    )
    for index in order:
        if _fits(places, waiting[index], running, failing):
            return index
    return None


def _fits(
    places: Places, wanted: Wanted, running: Collection[Wanted], failing: Collection[str]
) -> bool:
    repositories = Counter(each.repository for each in running)
    sources = Counter(each.source for each in running)
    extras = sum(each.operation is not Operation.BACKUP for each in running)
    most = 1 if wanted.repository in failing else places.per_repository
    if wanted.operation is not Operation.BACKUP and extras >= max(1, places.workers - 1):
        return False
    return repositories[wanted.repository] < most and sources[wanted.source] < places.per_source
