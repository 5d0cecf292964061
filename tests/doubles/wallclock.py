"""The wall clock of real processes, set while they run; what they measure by goes on as it is.

libfaketime cannot do this: it bends the absolute deadlines of ``clock_nanosleep``, by which Python
sleeps, and ``time.sleep`` fails below it.
"""

import shutil
import struct
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("wallclock.c")


class WallClock:
    """Stands between a process and the machine's wall clock.

    Args:
        folder: Where the library is made, and where the file is that sets the clock.
    """

    def __init__(self, folder: Path) -> None:
        self._library = folder / "wallclock.so"
        self._file = folder / "wallclock"
        self.set_by(timedelta())
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler (cc) is here: the wall clock of a real daemon was not set")
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", self._library, SOURCE], check=True
        )

    @property
    def variables(self) -> dict[str, str]:
        """Return what a process needs to live by this clock, with all that it starts."""
        return {"LD_PRELOAD": str(self._library), "WALL_CLOCK": str(self._file)}

    def set_by(self, by: timedelta) -> None:
        """Let the wall clock be so far from the machine's own, from now on."""
        with open(self._file, "r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("=q", int(by.total_seconds())))
