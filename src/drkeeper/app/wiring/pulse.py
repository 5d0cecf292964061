"""How far a run is, between the thread that works and the one that keeps its lease."""

import threading
from collections.abc import Mapping

from drkeeper.operations.progress import Progress


class Pulse:
    """How far a run is, for the thread that keeps its lease."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Mapping[str, object] = {}

    def phase(self, phase: str) -> None:
        """Begin a part of the run that does not measure itself."""
        with self._lock:
            self._now = {**self._now, "phase": phase}

    def beat(self, progress: Progress) -> None:
        """Remember how far the backup is."""
        now = {
            "phase": progress.phase,
            "files": progress.files,
            "plain_bytes": progress.plain_bytes,
            "stored_bytes": progress.stored_bytes,
        }
        with self._lock:
            self._now = now

    def progress(self) -> Mapping[str, object]:
        """Return what was last remembered."""
        with self._lock:
            return self._now
