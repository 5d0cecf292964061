"""The machine's clock: what it does for those who are told to stop."""

import subprocess
import sys

INTERRUPTED = """
import signal, sys, threading
from drkeeper.clock import SystemClock

clock = SystemClock()
signal.signal(signal.SIGUSR1, lambda *_: clock.stop())

def interrupt(frame, event, _):
    if frame.f_code is threading.Event.set.__code__:
        signal.raise_signal(signal.SIGUSR1)
        return interrupt

sys.settrace(interrupt)
clock.stop()
print("done")
"""


def test_handlers_that_interrupt_each_other_never_wait_for_each_other():
    """SIGINT and SIGTERM at once: whoever ends a run must not hang in the attempt."""
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "done\n", (done.returncode, done.stderr)
