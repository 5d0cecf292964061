"""The end of the pipe: lines leave for a file descriptor, and nobody ever waits for them.

A log that cannot be written must not stop backups: a full disk, a closed descriptor or a reader
that does not read costs lines, which are counted, and nothing else.
"""

import os
import queue
import threading
from collections.abc import Callable
from typing import Final

WAITING_LINES: Final = 4096
"""Lines that wait for a slow reader; the newest beyond are dropped, the story's beginning stays."""
CLOSING_S: Final = 2.0
"""Seconds a closing daemon waits for its last lines to leave."""


class Sink:
    """Writes lines to a descriptor from a thread of its own.

    Attributes:
        lost: Lines that were dropped or could not be written, ever.
    """

    def __init__(self, descriptor: int, *, lost_line: Callable[[int], str]) -> None:
        """Begin to write.

        Args:
            descriptor: Where to; stays open, and may be broken at any time.
            lost_line: Makes the line that says how many were lost, once lines get through again.
        """
        self.lost = 0
        self._told = 0
        self._descriptor = descriptor
        self._lost_line = lost_line
        self._lock = threading.Lock()
        self._lines: queue.Queue[str | None] = queue.Queue(WAITING_LINES)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Hand over one line, without its line feed; returns at once, always."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lose()

    def close(self, within: float = CLOSING_S) -> None:
        """Let the waiting lines leave, but wait no longer than ``within`` seconds for that."""
        try:
            self._lines.put(None, timeout=within)
        except queue.Full:
            return
        self._thread.join(within)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._say_what_was_lost()
            if not self._written(line):
                self._lose()
        self._say_what_was_lost()

    def _say_what_was_lost(self) -> None:
        lost = self.lost
        if lost > self._told and self._written(self._lost_line(lost - self._told)):
            self._told = lost

    def _lose(self) -> None:
        with self._lock:
            self.lost += 1

    def _written(self, line: str) -> bool:
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        try:
            while data:
                # One write where it can be: lines of children share the descriptor.
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return False
        return True
