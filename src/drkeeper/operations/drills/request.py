"""What a drill is asked to do, and with what."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from drkeeper.clock import Clock
from drkeeper.model.drill_record import Drill
from drkeeper.model.probes import NO_PROBES, Probes
from drkeeper.operations.progress import OnProgress, ignore
from drkeeper.repository.commit import Commit
from drkeeper.repository.repository import Repository
from drkeeper.scratch.base import Scratch

Open = Callable[[Callable[[], None]], Repository]
"""Opens the repository, from the key files on; calls back when the keys are open."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which recovery point a drill takes.

    Attributes:
        commit: That is restored.
        expected: Number of the one that it has to be by this machine's own catalogue.
        candidates: Numbers of all that it was drawn from, in order, so that everybody can draw again;
            empty when nothing was drawn.
    """

    commit: Commit
    expected: int
    candidates: tuple[int, ...] = ()


Choose = Callable[[Repository, datetime], Chosen]
"""Returns the recovery point that a disaster at this instant is recovered from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRequest:
    """One drill of one recovery point.

    Attributes:
        drill: As it was planned.
        open: Opens the repository.
        choose: Returns the recovery point, once the disaster is declared.
        scratch: Makes the place to restore to.
        declare: Records when the disaster was declared.
        clock: Dates and measures.
        probes: The policy's own questions.
        needed_bytes: How much is expected to be restored, as far as known; 0 when not.
        on_progress: Told how far it is.
        cancelled: Asked now and then; ``True`` ends the drill in an orderly way.
    """

    drill: Drill
    open: Open
    choose: Choose
    scratch: Callable[[], AbstractContextManager[Scratch]]
    declare: Callable[[datetime], None]
    clock: Clock
    probes: Probes = NO_PROBES
    needed_bytes: int = 0
    on_progress: OnProgress = ignore
    cancelled: Callable[[], bool] = bool
