"""A process that keeps exchanging directories of a restore's target with links to elsewhere."""

import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Self


class Swapper:
    """Swaps until the context ends; forked before the restore starts its threads."""

    def __init__(self, target: Path, elsewhere: Path) -> None:
        """Swap below ``target``; the links lead to ``elsewhere``."""
        self._target = os.fsencode(target)
        self._elsewhere = os.fsencode(elsewhere)
        self._pid = 0

    def __enter__(self) -> Self:
        self._pid = os.fork()
        if self._pid == 0:
            signal.alarm(300)
            while True:
                self._round()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _round(self) -> None:
        """Exchange everything at the top once, each for a moment."""
        try:
            names = os.listdir(self._target)
        except OSError:
            return
        for name in [*names, b"d", b"a", b"b"]:
            path = os.path.join(self._target, name)
            self._swap(path, path + b".swapped")
        self._swap(self._target, self._target + b".swapped")

    def _swap(self, path: bytes, aside: bytes) -> None:
        for step in (
            lambda: os.rename(path, aside),
            lambda: os.symlink(self._elsewhere, path),
            lambda: os.unlink(path),
            lambda: os.rename(aside, path),
        ):
            try:
                step()
            except OSError:
                continue
