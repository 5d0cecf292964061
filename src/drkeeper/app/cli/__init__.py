"""The command line: one module per verb."""

import gc
import signal
import sys
from typing import Final

GARBAGE_AFTER: Final = (200_000, 10, 10)
"""How many objects more make Python look for reference cycles: some 20 MB at most.

Source: measured; with Python's own 700, a tenth of a short run is spent looking at imported
modules, which are no garbage.
"""

_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    gc.set_threshold(*GARBAGE_AFTER)
    try:
        from drkeeper.app.cli.program import run  # noqa: PLC0415 - importing the package costs nothing

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before there is anything to unwind, or after
        code = _INTERRUPTED
    finally:
        # Python ends by looking for cycles among all that was imported: a fifth of a short run.
        gc.freeze()
    # Python ends by forgetting what signals do: another SIGTERM would change the exit code.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(code)
