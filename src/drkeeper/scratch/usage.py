"""What the processes of one run use: counted by the kernel, added up here."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_KIB: Final = 1024
_HELD: Final = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
"""Source: proc_pid_status(5): what would have to be given to others, file pages left out."""
_THREADS: Final = b"Threads:"
_TIMES: Final = slice(11, 15)
"""Source: proc_pid_stat(5): utime, stime, cutime and cstime, counted from the state on."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What some processes use together.

    Attributes:
        tasks: Processes and threads.
        memory_bytes: What they hold; shared pages are counted once for each of them.
        cpu_s: What they and the children that they have buried have computed.
    """

    tasks: int = 0
    memory_bytes: int = 0
    cpu_s: float = 0.0


def descendants(top: int) -> list[int]:
    """Return all processes below ``top``, parents first; those that are just ending may lack."""
    found: list[int] = []
    look_at = [top]
    while look_at:
        children = list(_children(look_at.pop(0)))
        found += children
        look_at += children
    return found


def usage_of(processes: list[int]) -> Usage:
    """Add up what the processes use; those that are gone count nothing."""
    tasks = memory = 0
    cpu = 0.0
    for process in processes:
        for line in _read(f"/proc/{process}/status").splitlines():
            if line.startswith(_HELD):
                memory += int(line.split()[1]) * _KIB
            elif line.startswith(_THREADS):
                tasks += int(line.split()[1])
        cpu += cpu_of(process)
    return Usage(tasks, memory, cpu)


def cpu_of(process: int) -> float:
    """Return the seconds that a process and its buried children have computed."""
    # The name of the command, in brackets, may hold blanks and brackets of its own.
    fields = _read(f"/proc/{process}/stat").rpartition(b")")[2].split()
    return sum(int(each) for each in fields[_TIMES]) / _TICKS


def exact_memory(processes: list[int]) -> int | None:
    """Return what the processes hold, each shared page counted once; ``None`` if not to be had."""
    memory = 0
    for process in processes:
        try:
            with open(f"/proc/{process}/smaps_rollup", "rb") as file:
                lines = file.read().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            return None
        for line in lines:
            if line.startswith((b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")):
                memory += int(line.split()[1]) * _KIB
    return memory


def available_memory() -> tuple[int, int]:
    """Return what the machine could still give to programs, and all it has, in bytes."""
    found = {b"MemAvailable:": 0, b"MemTotal:": 0}
    for line in _read("/proc/meminfo").splitlines():
        name, value, *_ = line.split()
        if name in found:
            found[name] = int(value) * _KIB
    return found[b"MemAvailable:"], found[b"MemTotal:"]


def tasks_of_user(user: int) -> int:
    """Return how many processes and threads of a user there are on this machine."""
    tasks = 0
    for process in _all_processes():
        with suppress(OSError):
            if os.stat(f"/proc/{process}").st_uid == user:
                tasks += usage_of([process]).tasks
    return tasks


def processes_of_user(user: int) -> list[int]:
    """Return the living processes whose real user is ``user``."""
    found = []
    for process in _all_processes():
        about = dict(
            line.split(b":", 1)
            for line in _read(f"/proc/{process}/status").splitlines()
            if line.startswith((b"Uid:", b"State:"))
        )
        dead = about.get(b"State", b"Z").split()[0] in {b"Z", b"X"}
        if not dead and int(about[b"Uid"].split()[0]) == user:
            found.append(process)
    return found


def processes_with(variable: bytes) -> list[int]:
    """Return the processes that were started with a variable, ``NAME=value``, as far as they show."""
    wanted = variable + b"\0"
    return [
        process
        for process in _all_processes()
        if process != os.getpid() and wanted in _read(f"/proc/{process}/environ") + b"\0"
    ]


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _children(process: int) -> Iterator[int]:
    """Yield the children of a process.

    Source:
        proc_tid_children(5): each thread has its own, and a list is sure to be whole only while
        nothing changes; what is missed is seen a moment later.
    """
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            for child in _read(f"/proc/{process}/task/{thread}/children").split():
                yield int(child)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""  # gone meanwhile, or another user's
