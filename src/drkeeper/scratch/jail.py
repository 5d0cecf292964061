"""What the two kinds have in common: a program that was started, and its way into scratch."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from drkeeper.errors import ScratchError
from drkeeper.scratch import child
from drkeeper.scratch.base import Limits

PATIENCE: Final = timedelta(seconds=10)
"""For what the kernel does at once, unless it hangs."""
READ_EVERYTHING: Final = 2
WRITE_EVERYTHING: Final = 1
"""Source: linux/capability.h, CAP_DAC_READ_SEARCH and CAP_DAC_OVERRIDE."""
_NO_CORE: Final = 1
"""Source: core(5): with a limit of 1 not even a program that collects core dumps gets one."""
_MEMORY_BACKSTOP: Final = 2
_PROCESSES_BACKSTOP: Final = 2
_BESIDE: Final = 4
"""Source: ours. What a run holds is added up twenty times a second; what the kernel refuses at once is
twice of it, since a server and a program that asks it may run at the same time. The sandbox needs
a few processes of its own."""
_OPEN_FILES: Final = 4096
_MOST_SAID: Final = 65536


@dataclass(frozen=True, slots=True)
class Command:
    """One program to be run.

    Attributes:
        argv: The program and its arguments.
        variables: All of its environment.
        root: The restored tree; where the program begins.
        tmp: Its own directory for everything else it writes.
        writable: Whether it may change the restored tree.
        user: Who it is to be; ``None`` where drkeeper may not choose.
        limits: What it may use.
    """

    argv: tuple[str, ...]
    variables: Mapping[str, str]
    root: Path
    tmp: Path
    writable: bool
    user: int | None
    limits: Limits

    @property
    def rights(self) -> tuple[int, ...]:
        """What it must be able to do with files that are not its own: the restored ones."""
        return (READ_EVERYTHING, WRITE_EVERYTHING) if self.writable else (READ_EVERYTHING,)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ended.

    Attributes:
        code: Its exit status, if it had one.
        signal: The signal that ended it, if one did.
    """

    code: int | None
    signal: int | None


class Jail(Protocol):
    """A program that was started."""

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process beside it that ends when it has ended."""
        ...

    @property
    def top(self) -> int:
        """The process that all of it descends from, and that buries its orphans."""
        ...

    def members(self) -> list[int]:
        """Return the program and all that it has started, the program first."""
        ...

    def end(self) -> None:
        """End them all, and wait until nothing is left; harmless when they have ended.

        Raises:
            ScratchError: Something of it goes on.
        """
        ...

    def ending(self, errors: bytes) -> Ending:
        """Tell how it ended; called once, after ``end``.

        Args:
            errors: What came from standard error: of the program, or of what should start it.

        Raises:
            ScratchError: It never began.
        """
        ...

    def close(self) -> None:
        """Let go of all descriptors."""
        ...


class Jailer(Protocol):
    """Starts programs."""

    def start(self, command: Command) -> Jail:
        """Start one.

        Raises:
            ScratchError: It could not be started; nothing is left of it.
        """
        ...


def kernel_limits(limits: Limits, *, tasks_before: int = 0) -> list[tuple[int, int]]:
    """Return what the kernel is to refuse each process.

    Args:
        limits: What all of them together may use.
        tasks_before: How many the user has already, whoever counts them in.
    """
    return [
        (resource.RLIMIT_CORE, _NO_CORE),
        (resource.RLIMIT_DATA, limits.memory_bytes * _MEMORY_BACKSTOP),
        (resource.RLIMIT_CPU, int(limits.cpu.total_seconds()) + 2),
        (resource.RLIMIT_FSIZE, limits.disk_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, tasks_before + tasks_limit(limits)),
    ]


def tasks_limit(limits: Limits) -> int:
    """Return at how many tasks the kernel refuses another one."""
    return limits.processes * _PROCESSES_BACKSTOP + _BESIDE


def file_with(data: bytes) -> int:
    """Return a descriptor of an unnamed file in memory that holds ``data``."""
    descriptor = os.memfd_create("drkeeper", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def spawn(
    orders: Mapping[str, object], variables: Mapping[str, str], passing: Sequence[int] = ()
) -> tuple["subprocess.Popen[bytes]", int]:
    """Start ``child.py`` with orders; return the process, and where it says how it went.

    Args:
        orders: As ``child.py`` knows them, but for ``status`` and ``parent``.
        variables: The environment of ``child.py`` itself.
        passing: Descriptors that it needs.

    Raises:
        ScratchError: There is no process to be had.
    """
    with ExitStack() as undo, ExitStack() as after:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        undo.callback(os.close, reading)
        after.callback(os.close, writing)
        whole = json.dumps({**orders, "status": writing, "parent": os.getpid()}).encode()
        file = file_with(whole)
        after.callback(os.close, file)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", "-X", "utf8", child.__file__, str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(*passing, writing, file),
                cwd="/",
                env=dict(variables),
                start_new_session=True,
            )
        except OSError as error:
            raise ScratchError(f"no process could be started: {error.strerror}") from error
        undo.pop_all()
        return process, reading


def words_of(pipe: int) -> list[dict[str, object]]:
    """Read what is left in a pipe that somebody wrote lines of JSON into.

    Somebody who got away may hold its other end for ever; so nobody is waited for.
    """
    os.set_blocking(pipe, False)
    try:
        lines = os.read(pipe, _MOST_SAID).splitlines()
    except BlockingIOError:
        return []
    return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]


def bury(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a process that is ending.

    Raises:
        ScratchError: It goes on.
    """
    try:
        process.wait(timeout=PATIENCE.total_seconds())
    except subprocess.TimeoutExpired as error:
        raise ScratchError(
            f"process {process.pid} of the scratch place does not end",
            hint="Look what it waits for: a process that not even SIGKILL ends hangs in the kernel.",
        ) from error


def close_pipes(process: "subprocess.Popen[bytes]") -> None:
    """Close our ends of what the program reads and writes."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None and not pipe.closed:
            pipe.close()
