"""Run one command and measure the whole process."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of one command took.

    Attributes:
        wall_s: From start to exit, seconds.
        user_s: Processor time of the process and its children in their own code, seconds.
        system_s: The same in the kernel.
        peak_mib: Largest resident set of the process, or of its largest child.
    """

    wall_s: float
    user_s: float
    system_s: float
    peak_mib: float

    @property
    def cpu_s(self) -> float:
        """Processor time altogether, seconds."""
        return self.user_s + self.system_s


def run(command: Sequence[str], env: Mapping[str, str], *, cwd: Path | None = None) -> Measured:
    """Run ``command`` to its end and measure it; a failure stops the benchmark with its output."""
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(LAUNCHER), *command],
            env={**os.environ, **env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            check=False,
        )
        answer = json.loads(done.stdout or "{}")
        if answer.get("status") != 0:
            output.seek(0)
            text = output.read().decode(errors="replace")[-4000:]
            raise SystemExit(f"{' '.join(command)} ended with {answer.get('status')}:\n{text}")
    return Measured(**answer["took"])
