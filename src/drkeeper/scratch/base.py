"""The scratch port: a place in which a restore is proven, gone afterwards.

``scratch.opening`` has the functions that make one: ``open_scratch``, ``sweep`` and ``available``.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

KEPT_BYTES: Final = 1024 * 1024
"""What is kept of each output of a program; the rest is read, counted and dropped."""
GRACE: Final = timedelta(seconds=10)
"""What a server is given to put its things in order."""


class ScratchKind(StrEnum):
    """What keeps programs in."""

    BUBBLEWRAP = "bubblewrap"
    """Namespaces of their own: no network, no other processes, no file but the restored ones."""
    PROCESS = "process"
    """Limits, and an end; the declared fallback (docs/scratch.md says what it does not contain)."""


class Why(StrEnum):
    """Why drkeeper ended a program; empty when it ended by itself."""

    NOTHING = ""
    TIME = "time"
    """It took longer than it was given, by the clock on the wall."""
    CPU = "cpu"
    """All its processes together computed for longer."""
    MEMORY = "memory"
    """They held more memory, or the machine was running out of it."""
    DISK = "disk"
    """They wrote more, or the file system was running full."""
    PROCESSES = "processes"
    """There were as many as there may be."""
    ASKED = "asked"
    """Whoever started it had no more use for it; only of ``start``."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What programs in scratch may use.

    Attributes:
        memory_bytes: Of all processes of one run together.
        cpu: Of all processes of one run together.
        wall: Longest that one run takes; its own ``timeout`` can only make it less.
        disk_bytes: One run writes less than this: in the restored tree, if it may, and beside it.
        processes: There are fewer processes and threads of one run than this at the same time.
        output_bytes: What is kept of each of the two outputs.
        grace: From the wish that a program of ``start`` ends (SIGTERM) to its end (SIGKILL).
    """

    memory_bytes: int
    cpu: timedelta
    wall: timedelta
    disk_bytes: int
    processes: int
    output_bytes: int = KEPT_BYTES
    grace: timedelta = GRACE


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program in scratch ended.

    Attributes:
        code: Its exit status; ``None`` when a signal ended it, or drkeeper did.
        signal: The number of the signal that ended it, if one did.
        stdout: The beginning of what it wrote there, up to ``output_bytes``.
        stderr: The same of standard error.
        dropped_bytes: How much more it wrote to the two than is kept.
        took: From its start to the end of its last process.
        why: Why drkeeper ended it.
    """

    code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    took: timedelta
    why: Why = Why.NOTHING
    dropped_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether it ended by itself, and said that all was well."""
        return self.code == 0 and self.why is Why.NOTHING


class Started(Protocol):
    """A program that goes on."""

    @property
    def finished(self) -> Finished | None:
        """How it ended, once it has; ``None`` while it runs."""
        ...

    def wait(self, timeout: timedelta) -> Finished | None:
        """Wait for its end, no longer than ``timeout``; ``None`` when it still runs then."""
        ...


class Scratch(Protocol):
    """A place for one drill.

    Promises, checked by ``tests/contract/test_scratch.py`` for every kind:

    * *Gone afterwards*: when the context ends, no process and no file of it is left.
    * *Gone at last*: when drkeeper is killed, its programs are, too, and ``sweep`` removes the rest.
    * *Contained*: what a program does within its limits changes nothing but the restored tree, and
      that only if it may; what goes beyond them is refused, or ends it and is said in
      ``Finished.why``. What a kind cannot contain is in docs/scratch.md.
    * *No secrets*: a program gets the variables it is given and a few harmless ones, nothing else.
    """

    @property
    def kind(self) -> ScratchKind:
        """What keeps the programs in."""
        ...

    @property
    def root(self) -> Path:
        """The empty directory that takes the restored tree; absolute, nobody else can enter it.

        Programs find it under the same path.
        """
        ...

    def run(
        self,
        argv: Sequence[str],
        *,
        inside: Mapping[str, str] | None = None,
        timeout: timedelta,
        writable: bool = False,
        input: bytes = b"",  # noqa: A002 - the word of subprocess.run
    ) -> Finished:
        """Run a program to its end, and to the end of all that it has started.

        Args:
            argv: The program, by an absolute path, and its arguments.
            inside: Environment variables, beside the few that every program gets.
            timeout: How long it may take.
            writable: Whether it may change the restored tree.
            input: What it reads from standard input.

        Raises:
            ScratchError: It could not be started; this says nothing about what was restored.
        """
        ...

    def start(
        self,
        argv: Sequence[str],
        *,
        inside: Mapping[str, str] | None = None,
        writable: bool = False,
    ) -> AbstractContextManager[Started]:
        """Start a program that goes on until the context ends, or ``Limits.wall`` has passed.

        Leaving the context asks it to end, and ends it ``Limits.grace`` later with all that it has
        started.

        Raises:
            ScratchError: It could not be started.
        """
        ...


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a kind can be had on this machine.

    Attributes:
        kind: Which.
        ok: Whether a program was run in it just now.
        why_not: What is in the way, in one line; empty when nothing is.
        hint: What to do about it, as of errors.
        version: Of the program that does the work, where there is one.
    """

    kind: ScratchKind
    ok: bool
    why_not: str = ""
    hint: str = ""
    version: str = ""
