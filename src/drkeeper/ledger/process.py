"""Telling a living process from a dead one whose number was given away again."""

import os

from drkeeper.model.run import Process

PROC = "/proc"

_BOOT_ID = "sys/kernel/random/boot_id"
"""Source: proc_sys_kernel(5), random."""

_STARTED_FIELD = 22
"""Source: proc_pid_stat(5), (22) starttime."""


def this_process(host: str) -> Process:
    """Describe the calling process; ``host`` names the machine, stable across boots."""
    pid = os.getpid()
    return Process(host, boot_id(), pid, _started(pid) or "")


def boot_id(proc: str = PROC) -> str:
    """Return what the kernel drew at boot, or an empty text where there is none."""
    try:
        with open(os.path.join(proc, _BOOT_ID), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def is_alive(process: Process, *, proc: str = PROC) -> bool:
    """Say whether exactly this process still runs on this machine in this boot.

    A process that exists but cannot be looked at counts as alive: calling a living run dead makes
    it run twice, the other mistake only delays its make-up.

    A boot id alone does not make a process one of another boot: in a container of systemd-nspawn,
    a service with ``ProtectKernelTunables=`` reads the one of the machine outside, and a shell the
    container's. The number and the instant together, which the kernel gives, say that it is the same.
    """
    started = _started(process.pid, proc)
    if started is None:
        return False
    booted = boot_id(proc)
    if process.boot_id and booted and process.boot_id != booted:
        return bool(started) and process.started == started
    return not process.started or not started or process.started == started


def _started(pid: int, proc: str = PROC) -> str | None:
    """Return when a process began, in clock ticks since boot.

    ``None`` if it is no more; an empty text if it is there and nobody may look at it.
    """
    try:
        with open(os.path.join(proc, str(pid), "stat"), "rb") as file:
            line = file.read()
    except OSError:
        # Also where others' processes are hidden: proc(5), hidepid.
        return "" if _exists(pid) else None
    # The command name, in brackets, may hold blanks and brackets of its own.
    fields = line.rpartition(b")")[2].split()
    if fields[0] in {b"Z", b"X"}:  # dead, and only waiting for its parent to ask
        return None
    return fields[_STARTED_FIELD - 3].decode("ascii")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it may not be signalled, so it is there
        return True
    return pid > 0
