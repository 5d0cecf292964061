"""Ask the stores every few minutes whether they answer, in a process of its own.

Talking to a store takes libraries that would stay in the daemon's memory, and may hang where no
thread can be ended. A process can be ended.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from drkeeper.clock import Clock
from drkeeper.faults import point

_PATIENCE: Final = timedelta(seconds=45)
"""The process gives each store 30 s, all at once."""
_MOST_BYTES: Final = 1024 * 1024
SECOND_LOOK: Final = timedelta(seconds=10)
"""A single lost answer is no outage: before it is told, the store is asked again."""
_END: Final = timedelta(seconds=5)


class Prober:
    """Knows which stores answered, and when they were asked last.

    Args:
        command: ``drkeeper doctor --reach --json``, as a list of arguments.
        environment: Of that process.
        every: The pause between two looks.
        clock: Dates the answers.
        on_look: Called after each look; for those who want to know at once.
        second_look: After how long a store that did not answer is asked once more.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        every: timedelta,
        *,
        clock: Clock,
        on_look: Callable[[], None],
        second_look: timedelta = SECOND_LOOK,
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._every = every
        self._clock = clock
        self._on_look = on_look
        self._second_look_s = second_look.total_seconds()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[bool, datetime]] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._work, name="prober", daemon=True)

    def begin(self) -> None:
        """Begin to look, at once and then every now and then."""
        self._thread.start()

    def end(self) -> None:
        """Look no more; a question that is being asked is given up."""
        self._ended.set()
        with self._lock:
            if self._child is not None:
                self._child.kill()
        if self._thread.is_alive():
            self._thread.join(_END.total_seconds())

    def reachable(self) -> Mapping[str, tuple[bool, datetime]]:
        """Return by repository whether its store answered, and when that was."""
        with self._lock:
            return dict(self._answers)

    def look(self) -> None:
        """Ask all stores and remember the answers; those of a look that is cut short are not."""
        answers = self._ask()
        if not all(answers.values()) and not self._ended.wait(self._second_look_s):
            answers |= self._ask()
        if self._ended.is_set():
            return
        now = self._clock.now()
        with self._lock:
            self._answers.update({name: (good, now) for name, good in answers.items()})

    def _work(self) -> None:
        while not self._ended.is_set():
            self.look()
            if self._ended.is_set():
                return
            self._on_look()
            self._ended.wait(self._every.total_seconds())

    def _ask(self) -> dict[str, bool]:
        point("app.daemon.probing.asking")
        try:
            child = subprocess.Popen(  # noqa: S603 - drkeeper itself, no shell
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
            )
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
        point("app.daemon.probing.asked")
        return answers_of(output)


def _read(child: "subprocess.Popen[bytes]") -> bytes:
    try:
        output, _ = child.communicate(timeout=_PATIENCE.total_seconds())
    except subprocess.TimeoutExpired as error:
        # It may wait for a dead file system, and not even die before that answers: leave it.
        child.kill()
        if child.stdout is not None:
            child.stdout.close()
        output = error.output or b""
    return output[:_MOST_BYTES]


def answers_of(output: bytes) -> dict[str, bool]:
    """Read what ``drkeeper doctor --reach --json`` wrote; what is no such line is left out."""
    answers: dict[str, bool] = {}
    for line in output.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("message_type") == "item":
            name, reachable = said.get("repository"), said.get("reachable")
            if isinstance(name, str) and isinstance(reachable, bool):
                answers[name] = reachable
    return answers
