"""Hold a process of drkeeper at a fault point, for a test that kills it just there.

Python imports this module by itself, in each process whose ``PYTHONPATH`` names this folder. The
folder that ``HELD_BELOW`` names says what is to happen: a file ``armed`` with four words (a point, a
word that the command line must have, another one, the how manieth hit) holds the process that comes
there, which says so in a file ``held``, until ``armed`` is gone.
"""

import os
import sys
import time
from pathlib import Path

from drkeeper import faults

LONGEST_S = 60


class Holder:
    """Holds the process at the point that is armed."""

    def __init__(self, folder: Path) -> None:
        self._armed = folder / "armed"
        self._held = folder / "held"
        self._hits = 0

    def __call__(self, name: str) -> None:
        """Go on at once, unless this is the point, the process and the hit."""
        try:
            point, command, other, hit = self._armed.read_text().split()
        except OSError:
            return
        if name != point or not {command, other} <= set(sys.orig_argv):
            return
        self._hits += 1
        if self._hits != int(hit):
            return
        own = self._held.with_name(f"held-{os.getpid()}")
        own.write_text(str(os.getpid()))
        own.replace(self._held)
        until = time.monotonic() + LONGEST_S
        while self._armed.exists() and time.monotonic() < until:
            time.sleep(0.02)


if "HELD_BELOW" in os.environ:
    faults.install(Holder(Path(os.environ["HELD_BELOW"])))
