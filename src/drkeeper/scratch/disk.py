"""How much a run has written: found out cheaply as long as it is little.

The free space of the file system is asked for many times a second, which costs nothing. Only when
more than the run may write is gone are its files looked at, to tell it from other programs.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from drkeeper.clock import Clock

_SECTOR: Final = 512
"""Source: stat(2), st_blocks."""
_RESERVE_BYTES: Final = 1024**3
_RESERVE_PART: Final = 20
"""Source: ours. A drill must never be what fills the disk of a machine that has other work: below
a twentieth of the file system, and at most 1 GiB, it ends, whoever has written."""
_LOOK_COSTS: Final = 20
"""Looking at files may take this part of the time."""
_LEAST_LOOK_S: Final = 1.0


class DiskWatch:
    """Watches what one run writes below some directories of one file system.

    Args:
        folders: Where it may write.
        most_bytes: It may write less than this.
        clock: For how often to look.
    """

    def __init__(self, folders: Sequence[Path], most_bytes: int, clock: Clock) -> None:
        self._folders = folders
        self._most = most_bytes
        self._clock = clock
        self._reference, whole, self._inodes = _space(folders[0])
        self._floor = min(_RESERVE_BYTES, whole // _RESERVE_PART, self._reference // 2)
        # By the file system's own clock, which may be coarser than ours.
        self._since = os.stat(folders[0]).st_ctime_ns
        self._device = os.stat(folders[0]).st_dev
        self._look_at = clock.monotonic() + _LEAST_LOOK_S

    def exceeded(self, processes: Sequence[int] = ()) -> bool:
        """Say whether the run has written what it may not, or the disk is filling up.

        Args:
            processes: Those of the run, whose unnamed files count, too.
        """
        free, _, inodes = _space(self._folders[0])
        if free < self._floor or inodes < self._inodes // 2:
            return True
        gone = self._reference - free
        now = self._clock.monotonic()
        # Some file systems tell late what is free, so that the files are looked at anyhow.
        if gone < self._most and now < self._look_at:
            return False
        written = self.written(processes)
        took = self._clock.monotonic() - now
        self._look_at = now + max(_LEAST_LOOK_S, took * _LOOK_COSTS)
        if gone >= self._most:
            # The rest was somebody else, who is not asked about again.
            self._reference = free + written
        return written >= self._most

    def written(self, processes: Sequence[int] = ()) -> int:
        """Count what is in files that are new or have changed since the run began, in bytes."""
        seen: set[int] = set()
        total = 0
        for status in self._changed(processes):
            if status.st_ino not in seen and status.st_dev == self._device:
                seen.add(status.st_ino)
                total += status.st_blocks * _SECTOR
        return total

    def _changed(self, processes: Sequence[int]) -> Iterator[os.stat_result]:
        for folder in self._folders:
            yield from _changed_below(folder, self._since)
        for process in processes:
            yield from _unnamed(process)


def _space(folder: Path) -> tuple[int, int, int]:
    """Return free bytes, all bytes, and free inodes."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail


def _changed_below(folder: Path, since_ns: int) -> Iterator[os.stat_result]:
    todo: list[Path | str] = [folder]
    while todo:
        # What a program makes and removes meanwhile is not worth an error; nor is a path that is
        # too long for the kernel, since its blocks are missing from the free ones all the same.
        with suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    status = entry.stat(follow_symlinks=False)
                    if status.st_ctime_ns >= since_ns:
                        yield status


def _unnamed(process: int) -> Iterator[os.stat_result]:
    """Yield the open files of a process that have no name any more."""
    with suppress(OSError), os.scandir(f"/proc/{process}/fd") as descriptors:
        for each in descriptors:
            with suppress(OSError):
                status = each.stat()
                if status.st_nlink == 0:
                    yield status
