"""Run the commands that a policy wants before and after a backup.

A hook is somebody else's program: it may hang, flood, fork and fail. So it gets a process group of
its own, no input, an environment with the run's facts and without secrets, and a time; what it
writes is read to the end and kept in part. When it ends, or its time does, its whole group ends.
"""

import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import FrameType
from typing import Final

from msgspec.structs import replace

from drkeeper.clock import Clock
from drkeeper.errors import SourceError
from drkeeper.faults import point
from drkeeper.model.instants import rfc3339
from drkeeper.model.policy import Hook
from drkeeper.operations import kinship

KEPT_BYTES: Final = 64 * 1024
"""What is kept of the output of one hook; the rest is read and counted."""
LONGEST_LINE: Final = 2000
"""Bytes of a line; a longer one is cut into several."""
PATIENCE: Final = timedelta(seconds=5)
"""Between SIGTERM and SIGKILL."""
_LOOK_EVERY_S: Final = 0.05
_READ_BYTES: Final = 65536
_MOST_READS: Final = 16
"""Reads in a row before anything else is looked at: a flood must not hide that time is up."""
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Occasion(StrEnum):
    """When hooks are run."""

    BEFORE = "before_backup"
    AFTER = "after_backup"
    FAILED = "after_failure"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a hook is told of the run.

    Attributes:
        policy: Name of the policy.
        run: Name of the run; empty when the ledger could not record it.
        repository: Name of the repository in the configuration.
        started_at: When the run began.
        operation: What the run does.
        result: ``succeeded``, ``warnings``, ``failed`` or ``interrupted``; empty before the end.
        snapshot: Number of the snapshot that was made; ``None`` for none.
        exit_code: The run's exit code, once it is known.
        error: Why it failed, in one line.
    """

    policy: str
    run: str
    repository: str
    started_at: datetime
    operation: str = "backup"
    result: str = ""
    snapshot: int | None = None
    exit_code: int | None = None
    error: str = ""

    def environment(self, occasion: Occasion) -> dict[str, str]:
        """Return the facts as variables; what is not known yet is empty."""
        return {
            "DRKEEPER_HOOK": occasion.value,
            "DRKEEPER_POLICY": self.policy,
            "DRKEEPER_RUN_ID": self.run,
            "DRKEEPER_OPERATION": self.operation,
            "DRKEEPER_REPOSITORY": self.repository,
            "DRKEEPER_STARTED_AT": rfc3339(self.started_at),
            "DRKEEPER_RESULT": self.result,
            "DRKEEPER_SNAPSHOT": "" if self.snapshot is None else str(self.snapshot),
            "DRKEEPER_EXIT_CODE": "" if self.exit_code is None else str(self.exit_code),
            "DRKEEPER_ERROR": self.error.replace("\0", ""),
        }


@dataclass(frozen=True, slots=True)
class HookOutcome:
    """How one hook went.

    Attributes:
        hook: Which one.
        occasion: When it was run.
        status: Exit status; negative for a signal, ``None`` when it could not be started.
        seconds: How long it took.
        timed_out: Whether it was ended because its time was up.
        dropped_bytes: Output that was not kept.
        left: Processes of its group that it left behind, and that were ended.
        problem: What is wrong, for people; empty when all is well.
    """

    hook: Hook
    occasion: Occasion
    status: int | None
    seconds: float
    timed_out: bool = False
    dropped_bytes: int = 0
    left: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HookRunner:
    """Runs the hooks of one run, one after the other; only from the main thread.

    Attributes:
        clock: Measures.
        say: Is given every line of output that is kept: occasion, program, line.
        variables: The environment to begin with; has no secrets.
        patience: Between SIGTERM and SIGKILL.
    """

    clock: Clock
    say: Callable[[Occasion, str, str], None]
    variables: Mapping[str, str] = field(default_factory=dict)
    patience: timedelta = PATIENCE

    def run(
        self,
        occasion: Occasion,
        hooks: Sequence[Hook],
        facts: RunFacts,
        *,
        within: timedelta | None = None,
    ) -> list[HookOutcome]:
        """Run hooks in order; one that fails does not keep the next from running.

        Args:
            occasion: When this is.
            hooks: What to run.
            facts: What they are told.
            within: Time for all of them together, besides that of each.
        """
        ends_at = None if within is None else self.clock.monotonic() + within.total_seconds()
        outcomes = []
        for hook in hooks:
            timeout = hook.timeout
            if ends_at is not None:
                left = timedelta(seconds=max(0.0, ends_at - self.clock.monotonic()))
                timeout = min(timeout, left)
            outcomes.append(self._run(occasion, replace(hook, timeout=timeout), facts))
        return outcomes

    def run_before(self, hooks: Sequence[Hook], facts: RunFacts) -> list[HookOutcome]:
        """Run the hooks before a backup, up to the first essential one that fails.

        Raises:
            SourceError: An essential hook failed; the source must not be read.
        """
        outcomes = []
        for hook in hooks:
            outcome = self._run(Occasion.BEFORE, hook, facts)
            if outcome.problem and hook.essential:
                raise SourceError(
                    outcome.problem,
                    hint=f"Run {hook.command[0]} by hand to see why; the log of the run has"
                    " its output.",
                )
            outcomes.append(outcome)
        return outcomes

    def _run(self, occasion: Occasion, hook: Hook, facts: RunFacts) -> HookOutcome:
        began = self.clock.monotonic()
        name = f"hook {occasion} {hook.command[0]}"
        point("operations.hooks.start")
        held = _Held()
        try:
            process = self._start(occasion, hook, facts)
        except (OSError, ValueError) as error:
            held.release()
            reason = error.strerror if isinstance(error, OSError) else str(error)
            problem = f"{name} cannot be started: {reason}"
            return HookOutcome(hook, occasion, None, 0.0, problem=problem)
        keeper = _Keeper(process, self.clock, self.patience)
        output = _Output(lambda line: self.say(occasion, hook.command[0], line))
        try:
            held.release()
            point("operations.hooks.started")
            timed_out = not keeper.read_until_end(output, hook.timeout)
        finally:
            left = keeper.end(output)
        point("operations.hooks.ended")
        status = process.returncode
        return HookOutcome(
            hook,
            occasion,
            status,
            self.clock.monotonic() - began,
            timed_out=timed_out,
            dropped_bytes=output.dropped_bytes,
            left=left,
            problem=_problem(name, hook, status, timed_out=timed_out),
        )

    def _start(self, occasion: Occasion, hook: Hook, facts: RunFacts) -> "subprocess.Popen[bytes]":
        # A run that leads a session, as those that a daemon starts do, keeps its hooks in it: who
        # started the run then finds whatever is left of it, should it be killed. From a terminal a
        # hook gets a session of its own, so that it cannot wait for somebody to type.
        leads = os.getsid(0) == os.getpid()
        return subprocess.Popen(  # noqa: S603 - the operator's own command, no shell
            list(hook.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": _DEFAULT_PATH, **self.variables, **facts.environment(occasion)},
            start_new_session=not leads,
            process_group=0 if leads else None,
        )


class _Held:
    """Puts off what signals do, so that no process is begun and then forgotten.

    The stand-ins are functions: what is ignored when a program is begun, that program ignores too.
    """

    def __init__(self) -> None:
        self._came: list[int] = []
        self._actions: dict[int, Callable[[int, FrameType | None], object]] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            action = signal.getsignal(number)
            if callable(action):
                self._actions[number] = action
                signal.signal(number, self._note)

    def release(self) -> None:
        """Let the signals do what they do, those that came meanwhile first."""
        for number, action in self._actions.items():
            signal.signal(number, action)
        self._actions.clear()
        while self._came:
            signal.raise_signal(signal.Signals(self._came.pop(0)))

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)


def _problem(name: str, hook: Hook, status: int | None, *, timed_out: bool) -> str:
    if timed_out:
        return f"{name} took longer than {hook.timeout.total_seconds():g} s and was ended"
    if status is None or status == 0:
        return ""
    if status < 0:
        return f"{name} was ended by signal {-status}"
    return f"{name} ended with exit status {status}"


class _Output:
    """Cuts what a hook writes into lines and keeps the first of them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.dropped_bytes = 0
        self._say = say
        self._kept = 0
        self._begun = b""

    def take(self, data: bytes) -> None:
        room = max(0, KEPT_BYTES - self._kept)
        self.dropped_bytes += max(0, len(data) - room)
        data = data[:room]
        self._kept += len(data)
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._tell(line)
        while len(self._begun) > LONGEST_LINE:
            self._tell(self._begun[:LONGEST_LINE])
            self._begun = self._begun[LONGEST_LINE:]

    def end(self) -> None:
        if self._begun:
            self._tell(self._begun)
            self._begun = b""
        if self.dropped_bytes:
            self._say(f"... {self.dropped_bytes} more bytes are left out")

    def _tell(self, line: bytes) -> None:
        for begin in range(0, max(1, len(line)), LONGEST_LINE):
            self._say(line[begin : begin + LONGEST_LINE].decode("utf-8", "replace").rstrip("\r"))


class _Keeper:
    """Watches one hook from its start to the end of its whole group."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", clock: Clock, patience: timedelta
    ) -> None:
        if process.stdout is None:
            raise AssertionError("a hook is started with a pipe for its output")
        self._process = process
        self._clock = clock
        self._patience_s = patience.total_seconds()
        self._pipe = process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._open = True

    def read_until_end(self, output: _Output, timeout: timedelta) -> bool:
        """Read until the hook has ended; whether it did so in time."""
        ends_at = self._clock.monotonic() + timeout.total_seconds()
        while not self._ended():
            left = ends_at - self._clock.monotonic()
            if left <= 0:
                return False
            self._read(output, min(left, _LOOK_EVERY_S))
        return True

    def end(self, output: _Output) -> int:
        """End what is left of the group, and read the rest; how many processes were left over."""
        group = self._process.pid
        # The hook itself is not waited for before its group is gone: until then nobody else can
        # get its number.
        left = [each for each in kinship.of_group(group) if each != group]
        for number in (signal.SIGTERM, signal.SIGKILL):
            ends_at = self._clock.monotonic() + self._patience_s
            kinship.send_to_group(group, number)
            while self._goes_on(group) and self._clock.monotonic() < ends_at:
                self._read(output, _LOOK_EVERY_S)
        self._read(output, 0)
        output.end()
        self._selector.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        # What does not even end by SIGKILL hangs in the kernel, on a dead network file system for
        # example; waiting for it would hang us as well.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=self._patience_s)
        return len(left)

    def _goes_on(self, group: int) -> bool:
        return bool(kinship.of_group(group)) or not self._ended()

    def _ended(self) -> bool:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options) is not None

    def _read(self, output: _Output, wait_s: float) -> None:
        if not self._open:
            self._clock.sleep(wait_s)
            return
        if not self._selector.select(wait_s):
            return
        for _ in range(_MOST_READS):
            try:
                data = os.read(self._pipe, _READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._open = False
                self._selector.unregister(self._pipe)
                return
            output.take(data)
