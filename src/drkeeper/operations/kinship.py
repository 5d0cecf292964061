"""Processes that belong together: found by the kernel's own marks, ended together.

A process group and a session keep their number for as long as one process is in them, however its
parents died; a number is given away anew only when nobody has it any more.
"""

import os
import signal
from contextlib import suppress
from typing import Final

PROC: Final = "/proc"
_STATE: Final = 3
_GROUP: Final = 5
_SESSION: Final = 6
"""Source: proc_pid_stat(5): (3) state, (5) pgrp, (6) session."""


def of_group(group: int, *, proc: str = PROC) -> list[int]:
    """Return the living processes of a process group."""
    return _with_field(_GROUP, group, proc)


def of_session(session: int, *, proc: str = PROC) -> list[int]:
    """Return the living processes of a session."""
    return _with_field(_SESSION, session, proc)


def send_to_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a whole process group, also where the list of processes is hidden.

    Args:
        group: Of a process that is not buried yet: nobody else has its number.
        number: The signal.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def send(processes: list[int], number: signal.Signals) -> None:
    """Send a signal to each; one that is gone already, or another user's, is passed over."""
    for process in processes:
        with suppress(OSError):
            os.kill(process, number)


def _with_field(field: int, value: int, proc: str) -> list[int]:
    found = []
    wanted = str(value).encode()
    try:
        names = os.listdir(proc)
    except OSError:
        return []
    for name in names:
        if not name.isdecimal():
            continue
        fields = _fields(os.path.join(proc, name, "stat"))
        # A zombie is dead, and only waits for its parent to ask.
        alive = len(fields) > _SESSION - _STATE and fields[0] not in {b"Z", b"X"}
        if alive and fields[field - _STATE] == wanted:
            found.append(int(name))
    return found


def _fields(path: str) -> list[bytes]:
    """Return the fields of a process from the third on; none when it is gone."""
    try:
        with open(path, "rb") as file:
            line = file.read()
    except OSError:
        return []
    # The name of the command, in brackets, may hold blanks and brackets of its own.
    return line.rpartition(b")")[2].split()
