"""Ask stores whether they answer: one small question each, which changes nothing."""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from drkeeper.app.config.configuration import RepositorySettings
from drkeeper.app.wiring.stores import open_bare_store
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError, ObjectNotFoundError
from drkeeper.faults import point

PATIENCE: Final = timedelta(seconds=30)
"""How long a store may take for a question that takes well below a second."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one question.

    Attributes:
        repository: Name of the repository whose store was asked.
        trouble: What is wrong; ``None`` when the store answered, and has a repository.
    """

    repository: str
    trouble: str | None = None

    @property
    def reachable(self) -> bool:
        """Whether the store can be worked with, as far as one question tells."""
        return self.trouble is None


def ask_stores(
    repositories: Sequence[RepositorySettings], clock: Clock, patience: timedelta = PATIENCE
) -> Iterator[Answer]:
    """Ask all stores at once and yield the answers as they come.

    A store that has not answered after ``patience`` counts as not reachable. Its question is left
    to itself: nothing can end a thread that waits for a dead network file system, and so whoever
    calls this is best a process that may be ended as a whole.
    """
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    waiting = {settings.name: settings for settings in repositories}
    for settings in repositories:
        threading.Thread(
            target=lambda asked: answers.put(_ask(asked, clock)), args=(settings,), daemon=True
        ).start()
    end_s = clock.monotonic() + patience.total_seconds()
    while waiting:
        try:
            answer = answers.get(timeout=max(0.0, end_s - clock.monotonic()))
        except queue.Empty:
            break
        del waiting[answer.repository]
        yield answer
    for settings in waiting.values():
        limit = f"{patience.total_seconds():g} s"
        yield Answer(settings.name, f"{settings.store} did not answer within {limit}")


def _ask(settings: RepositorySettings, clock: Clock) -> Answer:
    from drkeeper.repository.hint import HINT_NAME  # noqa: PLC0415 - see the package

    point("app.wiring.reachability.asking")
    try:
        open_bare_store(settings, clock).info(HINT_NAME)
    except ObjectNotFoundError:
        return Answer(settings.name, f"there is no repository at {settings.store}")
    except DrkeeperError as error:
        return Answer(settings.name, str(error))
    except Exception as error:  # noqa: BLE001 - a defect in one adapter must not hide the others
        return Answer(settings.name, f"{settings.store}: {type(error).__name__}")
    point("app.wiring.reachability.answered")
    return Answer(settings.name)
