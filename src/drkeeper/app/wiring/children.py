"""One run as a process of its own: how it is started, what it says, and its end.

A child is drkeeper itself. What it says is bounded here, though it is believed no more than a
stranger's words: it reads sources and stores that may be hostile. It leads a session, and whatever
is in that session when it has died is ended.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from drkeeper.app.config.environment import environment, run_environment, take_secret_variable
from drkeeper.app.config.locations import ACCEPTED
from drkeeper.app.wiring.ends import Ended
from drkeeper.clock import Clock
from drkeeper.faults import point
from drkeeper.model.run import RunId
from drkeeper.operations import kinship

LONGEST_LINE: Final = 64 * 1024
"""Bytes of a line that are looked at."""
_READ_BYTES: Final = 65536
_LAST_READS: Final = 16
"""A pipe holds no more. Source: pipe(7), /proc/sys/fs/pipe-max-size."""
_PASSPHRASE: Final = "DRKEEPER_PASSPHRASE"  # noqa: S105 - the name of the variable
_PASSWORD: Final = "DRKEEPER_LEDGER_PASSWORD"  # noqa: S105 - the name of the variable
_WITHHELD: Final = (
    "DRKEEPER_BACKUP_",
    "DRKEEPER_DAEMON_",
    "DRKEEPER_RUN_",
    "LISTEN_",
)
"""Beginnings of further variables that are not for runs: options of commands, sockets."""
_PROGRESS: Final = ("phase", "files", "plain_bytes", "stored_bytes")


@dataclass(frozen=True, slots=True)
class Program:
    """How drkeeper starts itself.

    Attributes:
        words: Interpreter and module.
        settings: What ``--config`` says.
        variables: The environment of every child.
        secrets: By the name of the variable that held it; handed over in a file that has no name, so
            that no environment holds them.
    """

    words: tuple[str, ...]
    settings: Path
    variables: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def reading(self, accepted: Path | None) -> "Program":
        """Let runs read the files that a daemon has accepted, or the files themselves."""
        variables = {name: value for name, value in self.variables.items() if name != ACCEPTED}
        if accepted is not None:
            variables[ACCEPTED] = str(accepted)
        return replace(self, variables=variables)

    def command(self, policy: str, run: RunId) -> list[str]:
        """Return the command line of a run."""
        own = str(os.getpid())
        options = ["--config", str(self.settings), "--json", "--run", run, "--parent", own]
        return [*self.words, "backup", *options, "--", policy]


def this_program(settings: Path, accepted: Path | None = None) -> Program:
    """Describe how this very drkeeper is started again, with the environment it was given.

    A passphrase that is a variable is taken out of the environment of this process, so this is
    called once.

    Args:
        settings: What ``--config`` says.
        accepted: As for :meth:`Program.reading`.
    """
    given = {
        _PASSPHRASE: take_secret_variable(_PASSPHRASE),
        _PASSWORD: environment().get(_PASSWORD),  # asked for again at each reload
    }
    kept = {
        name: value
        for name, value in run_environment(accepted).items()
        if not name.startswith(_WITHHELD) and name not in given
    }
    secrets = {name: value for name, value in given.items() if value}
    # -P: what lies in the current folder is no part of drkeeper.
    return Program((sys.executable, "-P", "-m", "drkeeper"), settings, kept, secrets)


@dataclass(frozen=True, slots=True)
class Running:
    """A run that goes on here.

    Attributes:
        policy: Name of the policy.
        pid: Its process.
        began_at: When it was started, by the monotonic clock.
        moved_at: When its progress last changed, likewise.
        progress: What it last told: ``phase``, ``files``, ``plain_bytes``, ``stored_bytes``.
    """

    policy: str
    pid: int
    began_at: float
    moved_at: float
    progress: Mapping[str, object]


class Child:
    """A run's process. For one thread, which must live for as long as the child does.

    Args:
        program: How to start it.
        policy: Name of the policy.
        run: The queued run that it is to claim.
        clock: Measures.
        write: Is given what the child says, line by line, as a log has it.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(
        self,
        program: Program,
        policy: str,
        run: RunId,
        *,
        clock: Clock,
        write: Callable[[str], None],
    ) -> None:
        self.policy = policy
        self.run = run
        self.progress: Mapping[str, object] = {}
        self.asked = False
        self._clock = clock
        self._write = write
        self._error: Mapping[str, object] | None = None
        self._summary: Mapping[str, object] | None = None
        point("app.wiring.children.start")
        self._process = start_program(program, program.command(policy, run))
        point("app.wiring.children.started")
        self.began_at = self.moved_at = clock.monotonic()
        self._streams: dict[int, tuple[IO[bytes], _Lines]] = {}
        for stream, take in ((self._process.stdout, self._told), (self._process.stderr, write)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._streams[stream.fileno()] = (stream, _Lines(take))

    @property
    def pid(self) -> int:
        """Number of its process, and of its session."""
        return self._process.pid

    @property
    def running(self) -> Running:
        """Say how far it is."""
        return Running(self.policy, self.pid, self.began_at, self.moved_at, self.progress)

    @property
    def descriptors(self) -> list[int]:
        """What to wait for and then give to :meth:`read`."""
        return list(self._streams)

    def read(self, descriptor: int) -> bool:
        """Read what there is, once; whether more may come."""
        stream, lines = self._streams[descriptor]
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return True
        if data:
            lines.take(data)
            return True
        lines.end()
        stream.close()
        del self._streams[descriptor]
        return False

    def dead(self) -> bool:
        """Whether it has ended. Its number stays its own until :meth:`bury`."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.pid, options) is not None
        except ChildProcessError:
            return True

    def relatives(self) -> list[int]:
        """Return the processes of its session besides itself: hooks and what they began."""
        return [each for each in kinship.of_session(self.pid) if each != self.pid]

    def ask_to_end(self) -> None:
        """Ask it to bring to safety what it has done, and end."""
        if not self.asked:
            self.asked = True
            point("app.wiring.children.ask")
            kinship.send([self.pid], signal.SIGTERM)

    def kill(self) -> None:
        """End it and all its relatives at once."""
        self.asked = True
        point("app.wiring.children.kill")
        kinship.send([self.pid, *self.relatives()], signal.SIGKILL)

    def bury(self) -> Ended:
        """Close everything and say how it ended; only when it is dead."""
        for stream, lines in self._streams.values():
            with suppress(OSError):
                for _ in range(_LAST_READS):  # somebody may have taken the other end along
                    lines.take(os.read(stream.fileno(), _READ_BYTES))
            lines.end()
            stream.close()
        self._streams.clear()
        status = self._process.wait()
        return Ended(
            policy=self.policy,
            run=self.run,
            code=status if status >= 0 else None,
            signal=-status if status < 0 else None,
            seconds=self._clock.monotonic() - self.began_at,
            error=self._error,
            summary=self._summary,
            asked=self.asked,
            pid=self.pid,
        )

    def _told(self, line: str) -> None:
        """Take one line of its standard output."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._write(line)
            return
        match message:
            case {"message_type": "status"}:
                self._move({name: message.get(name) for name in _PROGRESS})
            case {"message_type": "warning", "message": str(text)}:
                self._write(f"warning: {text}")
            case {"message_type": "error", "message": str(text)}:
                self._error = message
                self._write(f"error: {text}")
                if hint := message.get("hint"):
                    self._write(f"hint: {hint}")
            case {"message_type": "summary"}:
                self._summary = message
                self._write(f"summary: {line}")
            case _:
                self._write(line)

    def _move(self, progress: Mapping[str, object]) -> None:
        if progress != self.progress:
            self.progress = progress
            self.moved_at = self._clock.monotonic()


def start_program(program: Program, command: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start drkeeper as a child that leads a session, its secrets in files that have no names.

    Raises:
        OSError: It cannot be started.
    """
    held = {name: _nameless_file(secret) for name, secret in program.secrets.items()}
    given = {f"{name}_FILE": f"/dev/fd/{descriptor}" for name, descriptor in held.items()}
    try:
        return subprocess.Popen(  # noqa: S603 - this program again
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={**program.variables, **given},
            pass_fds=tuple(held.values()),
            start_new_session=True,
        )
    finally:
        for descriptor in held.values():
            os.close(descriptor)


def _nameless_file(secret: str) -> int:
    """Return a file in memory that holds ``secret``, for whoever inherits the descriptor."""
    descriptor = os.memfd_create("drkeeper", os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, secret.encode())
    return descriptor


class _Lines:
    """Cuts a stream into lines; of a line without end, only the beginning is kept."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._begun = b""
        self._overlong = False

    def take(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._grow(line)
            self._tell()
        self._grow(rest)

    def end(self) -> None:
        if self._begun:
            self._tell()

    def _grow(self, data: bytes) -> None:
        self._begun += data[: max(0, LONGEST_LINE - len(self._begun))]

    def _tell(self) -> None:
        line, self._begun = self._begun, b""
        self._take(line.decode("utf-8", "replace"))
