"""SIGTERM to a run: noted, waited for, and in the end obeyed."""

import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import signal, sys, threading, time
from datetime import timedelta
from drkeeper.app.cli.ending import CheckpointEnding
from drkeeper.app.cli.program import TerminatedError
from drkeeper.clock import SystemClock

ending = CheckpointEnding(
    SystemClock(), timedelta(seconds=float(sys.argv[2])), timedelta(seconds=2)
)
ending.install()
try:
    if sys.argv[1] == "at-once":
        print("ready", flush=True)
        time.sleep(30)
    with ending.deferring():
        print("ready", flush=True)
        for _ in range(3000):
            time.sleep(0.01)
            if ending.wanted and sys.argv[1] == "asks":
                print("safe", flush=True)
                ending.end()
            if ending.wanted and sys.argv[1] == "finishes":
                break
    time.sleep(1)
    print("finished", flush=True)
except TerminatedError:
    if sys.argv[1] == "stuck":
        threading.Event().wait()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as the command does, right before its end
    sys.exit(143)
"""


@pytest.mark.parametrize(
    ("manner", "within", "code", "said"),
    [
        ("at-once", 30, 143, ""),
        ("asks", 30, 143, "safe\n"),
        ("hangs", 0.5, 143, ""),
        ("finishes", 0.5, 0, "finished\n"),
        ("stuck", 0.5, -signal.SIGALRM, ""),
    ],
)
def test_an_end_is_deferred_but_not_for_ever(manner, within, code, said):
    """At once outside; when asked within; by force when time is over; not at all when it was done. One that
    waits for ever for something of its own is killed by the kernel.

    A second SIGTERM changes none of this.
    """
    command = [sys.executable, "-c", SCRIPT, manner, str(within)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, said)
    assert time.monotonic() - begun < 10
