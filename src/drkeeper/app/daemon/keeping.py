"""Store what is new in the ledger in the repositories, in a process of its own.

Nothing hangs on it: what cannot be stored now is stored later. Only when that lasts, or when what
is stored there is another history than the one here, somebody is told.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from drkeeper.app.daemon.books import Books
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.wiring.execution import Log
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.model.alarm import AlarmKind, Condition, Subject

EVERY: Final = timedelta(minutes=15)
"""Source: docs/ledger.md, "Stored in the repository"."""
LOOK_EVERY: Final = timedelta(seconds=20)
"""How often it is asked whether there is something to store, such as a drill."""
TOLERATED: Final = timedelta(hours=6)
"""For so long it is no alarm that nothing can be stored. Source: ours; a store that does not answer
has an alarm of its own."""
PATIENCE: Final = timedelta(minutes=10)
"""For the process that stores; the first time it may have years to store."""
_OTHER_HISTORY: Final = 20
"""Exit code of what contradicts itself. Source: docs/exit-codes.md."""
_MOST_BYTES: Final = 1024 * 1024
_END: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it in one repository.

    Attributes:
        size: How many events are stored there; ``None`` when it could not be done.
        code: Exit code of why not; 0 when it could.
        error: Why not.
    """

    size: int | None
    code: int = 0
    error: str = ""


class Keeper:
    """Has the ledger stored when it is time.

    Args:
        start: Starts ``drkeeper ledger store --json`` for some repositories.
        repositories: Returns the names of those that are in use.
        books: The ledger.
        concerns: Takes what lasts.
        clock: Says when it is time.
        log: Told of what was done.
    """

    def __init__(
        self,
        start: "Callable[[Collection[str]], subprocess.Popen[bytes]]",
        *,
        repositories: Callable[[], Collection[str]],
        books: Books,
        concerns: Concerns,
        clock: Clock,
        log: Log,
    ) -> None:
        self._start = start
        self._repositories = repositories
        self._books = books
        self._concerns = concerns
        self._clock = clock
        self._log = log
        self._tried_s = clock.monotonic() - (EVERY - LOOK_EVERY).total_seconds()
        self._stored: dict[str, int] = {}
        self._failing: dict[str, tuple[datetime, float]] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)

    def begin(self) -> None:
        """Begin to look now and then."""
        self._thread.start()

    def end(self) -> None:
        """Store no more; what is being stored is given up, and is stored another time."""
        self._ended.set()
        with self._lock:
            if self._child is not None:
                self._child.kill()
        if self._thread.is_alive():
            self._thread.join(_END.total_seconds())

    def look(self) -> None:
        """Have the ledger stored if it is time and there is something new."""
        names = sorted(self._repositories())
        try:
            with self._books.opened() as ledger:
                last = ledger.last_event()
                drilled = ledger.drills(ended=True, limit=1)
        except DrkeeperError:
            return  # whoever writes to it says so
        size = last.seq if last else 0
        behind = [name for name in names if self._stored.get(name, 0) < size]
        if not behind:
            return
        waited_s = self._clock.monotonic() - self._tried_s
        new_drill = drilled and any(
            self._stored.get(name, size) < drilled[0].event for name in behind
        )
        if waited_s < EVERY.total_seconds() and not (new_drill and not self._failing):
            return
        self._tried_s = self._clock.monotonic()
        self._take(behind, self._ask(behind))

    def _work(self) -> None:
        while not self._ended.wait(LOOK_EVERY.total_seconds()):
            self.look()

    def _take(self, names: Collection[str], answers: Mapping[str, Answer]) -> None:
        for name in names:
            answer = answers.get(name, Answer(None, 1, "the process that stores it gave no answer"))
            subject = Subject("repository", name)
            if answer.size is not None:
                self._stored[name] = answer.size
                self._failing.pop(name, None)
                self._concerns.drop(AlarmKind.LEDGER_UNSTORED, subject)
                self._log("ledger.stored", repository=name, events=answer.size)
                continue
            now, now_s = self._clock.now(), self._clock.monotonic()
            since, since_s = self._failing.setdefault(name, (now, now_s))
            self._log("ledger.unstored", repository=name, code=answer.code, error=answer.error)
            if answer.code == _OTHER_HISTORY or now_s - since_s >= TOLERATED.total_seconds():
                self._concerns.hold(_condition(subject, answer, since))

    def _ask(self, names: Collection[str]) -> dict[str, Answer]:
        point("app.daemon.keeping.asking")
        try:
            child = self._start(names)
        except OSError:
            return {}
        with self._lock:
            self._child = child
            if self._ended.is_set():
                child.kill()
        try:
            output = _read(child)
        finally:
            with self._lock:
                self._child = None
        return answers_of(output)


def _condition(subject: Subject, answer: Answer, since: datetime) -> Condition:
    if answer.code == _OTHER_HISTORY:
        what = f"what is stored there of the ledger is not the beginning of it: {answer.error}"
    else:
        what = f"nothing new of the ledger could be stored there: {answer.error}"
    return Condition(
        AlarmKind.LEDGER_UNSTORED,
        subject,
        f"repository {subject.name}: {what}",
        "Run drkeeper ledger verify --storage.",
        since,
    )


def _read(child: "subprocess.Popen[bytes]") -> bytes:
    try:
        output, _ = child.communicate(timeout=PATIENCE.total_seconds())
    except subprocess.TimeoutExpired as error:
        # It may wait for a dead file system, and not even die before that answers: leave it.
        child.kill()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
        output = error.output or b""
    return output[:_MOST_BYTES]


def answers_of(output: bytes) -> dict[str, Answer]:
    """Read what ``drkeeper ledger store --json`` wrote; what is no such line is left out."""
    answers: dict[str, Answer] = {}
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match said:
            case {"message_type": "item", "repository": str(name), "size": int(size), "code": 0}:
                answers[name] = Answer(size)
            case {
                "message_type": "item",
                "repository": str(name),
                "code": int(code),
                "error": str(error),
            }:
                answers[name] = Answer(None, code, error)
            case _:
                pass
    return answers
