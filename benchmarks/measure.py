"""Run one command and measure the whole process."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of one command took.

    Attributes:
        wall_s: From start to exit, seconds.
        cpu_s: User and system time of the process and its children, seconds.
        peak_mib: Largest resident set of the process.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float


def run(command: Sequence[str], env: Mapping[str, str], *, cwd: Path | None = None) -> Measured:
    """Run ``command`` to its end and measure it; a failure stops the benchmark with its output."""
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env={**os.environ, **env}, cwd=cwd, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")[-4000:]
            raise SystemExit(f"{' '.join(command)} exited with {process.returncode}:\n{text}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
