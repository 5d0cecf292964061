"""What a process and all that it starts take: memory, and room below a folder."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_BLOCK = 512
"""Source: stat(2), ``st_blocks``."""
_LOOK_EVERY_S = 0.1
_COSTS = 50
"""Looking may take this part of one processor's time, or what is measured would be who looks."""


@dataclass
class Footprint:
    """The most that was seen.

    Attributes:
        pid: The process, and its descendants with it.
        folder: Where room is counted; it need not be there.
        memory_bytes: Resident at one instant in all of them together; what they share counts twice.
        greatest: For each program name, the greatest that the kernel has seen one of its processes.
        room_bytes: On the disk below the folder at one instant.
    """

    pid: int
    folder: Path
    memory_bytes: int = 0
    greatest: dict[str, int] = field(default_factory=dict)
    room_bytes: int = 0

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        looks = (self._look_at_memory, self._look_at_room)
        self._threads = [threading.Thread(target=self._watch, args=[look]) for look in looks]
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for each in self._threads:
            each.join()

    def _watch(self, look) -> None:
        wait_s = 0.0
        while not self._ended.wait(wait_s):
            begun_s = time.thread_time()
            look()
            wait_s = max(_LOOK_EVERY_S, _COSTS * (time.thread_time() - begun_s))

    def _look_at_memory(self) -> None:
        total = 0
        for pid in _family(self.pid):
            with suppress(OSError, KeyError, ValueError):  # it has just ended
                status = _status(pid)
                total += status["VmRSS"]
                name = f"{status['Name']} {'itself' if pid == self.pid else 'child'}"
                self.greatest[name] = max(self.greatest.get(name, 0), status["VmHWM"])
        self.memory_bytes = max(self.memory_bytes, total)

    def _look_at_room(self) -> None:
        self.room_bytes = max(self.room_bytes, room_of(self.folder))


def room_of(folder: Path) -> int:
    """Return how much of the disk the files below a folder take."""
    total = 0
    for here, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):
                total += os.lstat(os.path.join(here, name)).st_blocks * _BLOCK
    return total


def _family(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError):
                data = Path("/proc", name, "stat").read_bytes()
                parent = int(data.rpartition(b")")[2].split()[1])
                parents.setdefault(parent, []).append(int(name))
    found = [pid]
    for each in found:
        found.extend(parents.get(each, ()))
    return found


def _status(pid: int) -> dict:
    """Return the name of a process, and what it holds, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    said = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    sizes = {name: int(said[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}
    return {"Name": said["Name"], **sizes}
