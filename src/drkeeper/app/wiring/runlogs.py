"""What a run said: one private file a run, bounded, without secrets.

Whatever a run writes, its file has an end: the beginning is kept, and the last lines, and in between
stands how much was left out. The newest thousand files are kept.
"""

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from drkeeper import directories
from drkeeper.app.wiring.logs.escaping import escaped
from drkeeper.clock import Clock
from drkeeper.faults import point
from drkeeper.model.instants import rfc3339
from drkeeper.model.run import RunId

MOST_BYTES: Final = 256 * 1024
"""Of one file."""
KEPT: Final = 1000
"""How many files are kept, the newest."""
_LAST_BYTES: Final = 64 * 1024
"""What of a file is for the last lines."""
_LONGEST_LINE: Final = 4096
"""Characters of a line that are written."""
_SUFFIX: Final = ".log"


def folder_of_logs(state: Path) -> Path:
    """Return the folder of the files of runs."""
    return state / "runs"


def log_path(state: Path, run: RunId) -> Path:
    """Return the file of one run, whether it exists or not.

    Raises:
        ValueError: ``run`` is no name of a run; nothing outside the folder is ever named.
    """
    if not run.isalnum():
        raise ValueError(f"{run!r} does not name a run")
    return folder_of_logs(state) / f"{run}{_SUFFIX}"


def read_log(state: Path, run: RunId) -> str | None:
    """Return what a run said, or ``None`` when nothing is kept of it."""
    try:
        with open(log_path(state, run), "rb") as file:
            return file.read(MOST_BYTES + _LONGEST_LINE).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


class RunLog:
    """The file of one run, while it goes on. A disk that is full costs lines, never the run.

    Args:
        path: From :func:`log_path`.
        clock: Dates the lines.
        redact: Takes secrets out of a line.
    """

    def __init__(self, path: Path, clock: Clock, redact: Callable[[str], str]) -> None:
        self._clock = clock
        self._redact = redact
        self._room = MOST_BYTES - _LAST_BYTES
        self._last: deque[bytes] = deque()
        self._last_bytes = 0
        self._left_out = 0
        self._file = _open_private(path)

    def line(self, text: str) -> None:
        """Write one line, with the time before it."""
        # Redacted before it is cut: half a secret is not recognised.
        shown = escaped(self._redact(text)[:_LONGEST_LINE])
        if len(text) > _LONGEST_LINE:
            shown += f" ... ({len(text)} characters)"
        data = f"{rfc3339(self._clock.now())} {shown}\n".encode("utf-8", "replace")
        if self._room >= len(data) and not self._last:
            self._room -= len(data)
            self._write(data)
            return
        self._last.append(data)
        self._last_bytes += len(data)
        # Room for the line that says how much is missing.
        while self._last_bytes > _LAST_BYTES - _LONGEST_LINE:
            dropped = self._last.popleft()
            self._last_bytes -= len(dropped)
            self._left_out += len(dropped)

    def close(self) -> None:
        """Write the last lines and end."""
        if self._left_out:
            self._write(f"... {self._left_out} bytes are left out here ...\n".encode())
        for data in self._last:
            self._write(data)
        self._last.clear()
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None

    def _write(self, data: bytes) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.write(self._file, data)


def _open_private(path: Path) -> int | None:
    point("app.wiring.runlogs.open")
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        directories.make_private(str(path.parent))
        file = os.open(path, flags, 0o600)
    except OSError:
        return None
    point("app.wiring.runlogs.opened")
    return file


def remove_old_logs(state: Path, keep: int = KEPT) -> int:
    """Remove all but the newest files, and return how many went."""
    try:
        with os.scandir(folder_of_logs(state)) as found:
            files = [
                (each.stat(follow_symlinks=False).st_mtime_ns, each.path)
                for each in found
                if each.name.endswith(_SUFFIX)
            ]
    except OSError:
        return 0
    files.sort(reverse=True)
    for _, path in files[keep:]:
        point("app.wiring.runlogs.remove")
        with suppress(OSError):
            os.unlink(path)
    return max(0, len(files) - keep)
