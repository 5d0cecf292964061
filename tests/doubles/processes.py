"""Waiting for what other processes and threads do, and looking whether they are gone."""

import time


def until(condition, within=20.0):
    """Wait for something to come true, and return it."""
    ends = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < ends, "it never happened"
        time.sleep(0.01)
    return found


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
    except OSError:
        return False


def gone(*pids, within=20.0):
    """Wait until processes are gone; always true, to stand in an assertion."""
    until(lambda: not any(alive(pid) for pid in pids), within)
    return True
