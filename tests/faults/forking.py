"""Run operations in children of a process that has everything imported and no threads.

The tests ask over a pipe; each child is a fork, so it begins within milliseconds, and it may crash,
raise, be cut off or hang as it is told without harm to anybody else.
"""

import errno
import faulthandler
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

TESTS = Path(__file__).resolve().parents[1]
PATIENCE_S = 60
"""No operation of these tests takes a second; one that takes this long hangs."""

CRASHED = 99
HUNG = 97


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended.

    Attributes:
        status: ``done``, ``raised``, ``crashed``, ``killed`` or ``hung``.
        error: Name of the class that was raised.
        exit_code: What the command would have exited with; ``None`` when the error is no
            ``DrkeeperError``.
        text: The error, or the traceback when nobody expected it.
        hits: How often each fault point was reached.
        threads: Names of threads that outlived the operation.
        leaked: Descriptors that did, as what they refer to.
    """

    status: str
    error: str = ""
    exit_code: int | None = None
    text: str = ""
    hits: dict[str, int] = field(default_factory=dict)
    threads: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)


class Forker:
    """The asking side; a context manager."""

    def __enter__(self) -> Self:
        environment = dict(os.environ)
        source = str(TESTS.parent / "src")
        environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), source])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.forking"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=TESTS.parent,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE_S)
        self._process.stdout.close()

    def run(self, operation: str, world: object, **task: object) -> Outcome:
        """Let a child do one operation of ``scenarios`` on a world, with a fault if told so.

        Args:
            operation: Name of a function of ``faults.scenarios``.
            world: Where.
            task: ``crash``, ``fail`` or ``interrupt``: (point, hit); ``fail`` with the name of an
                error of ``FAILURES`` as third. ``kill_after_s``: SIGKILL after so long.
        """
        task |= {
            "operation": operation,
            "world": [str(world.root), str(world.source), world.policy],
        }
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


# ---------------------------------------------------------------------- the forking side


def main() -> None:
    """Answer one task a line until the pipe closes."""
    from faults import scenarios  # noqa: PLC0415 - the asking side must not need it

    for line in sys.stdin:
        task = json.loads(line)
        world = task["world"]
        act = getattr(scenarios, task["operation"])
        outcome = _in_child(task, lambda: act(scenarios.world_at(*world)))  # noqa: B023 - at once
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


def _in_child(task: dict[str, object], act: Callable[[], object]) -> dict[str, object]:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        try:
            _child(task, act, write)
        finally:
            os._exit(1)
    os.close(write)
    delay = task.get("kill_after_s")
    if delay is not None and not select.select([read], [], [], delay)[0]:
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(read, "rb") as file:
        said = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if said and code == 0:
        return json.loads(said)
    names = {CRASHED: "crashed", -signal.SIGKILL: "killed"}
    return {"status": names.get(code, "hung"), "text": f"exit status {code}"}


def _child(task: dict[str, object], act: Callable[[], object], write: int) -> None:
    from drkeeper import faults  # noqa: PLC0415 - see main
    from drkeeper.errors import DrkeeperError  # noqa: PLC0415 - see main

    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    controller = Controller(task)
    before = _descriptors()
    said: dict[str, object] = {"status": "done"}
    faults.install(controller)
    try:
        act()
    except DrkeeperError as error:
        said = {
            "status": "raised",
            "error": type(error).__name__,
            "exit_code": error.exit_code,
            "text": str(error),
        }
    except BaseException as error:  # noqa: BLE001 - a child tells whatever happened
        said = {
            "status": "raised",
            "error": type(error).__name__,
            "text": "".join(traceback.format_exception(error)),
        }
    faults.install(None)
    threads = _threads_left()
    said |= {
        "hits": controller.hits,
        "threads": threads,
        "leaked": sorted(_descriptors() - before),
    }
    os.write(write, json.dumps(said).encode())
    os._exit(0)


def _threads_left() -> list[str]:
    """Return the threads that do not end by themselves within some seconds."""
    until = time.monotonic() + 5
    while True:
        left = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.005)


def _descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _full(_point: str) -> BaseException:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _broken(_point: str) -> BaseException:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def _unavailable(point: str) -> BaseException:
    from drkeeper.errors import StorageUnavailableError  # noqa: PLC0415 - see main

    return StorageUnavailableError(f"no answer at {point}")


def _interrupted(_point: str) -> BaseException:
    return KeyboardInterrupt()


def _sqlite_full(_point: str) -> BaseException:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


FAILURES: dict[str, Callable[[str], BaseException]] = {
    "full": _full,
    "broken": _broken,
    "unavailable": _unavailable,
    "interrupted": _interrupted,
    "sqlite-full": _sqlite_full,
}


class Controller:
    """Counts every fault point, and strikes at one hit of one of them."""

    def __init__(self, task: dict[str, object]) -> None:
        self.hits: dict[str, int] = {}
        self._crash = tuple(task.get("crash", ()))
        self._fail = tuple(task.get("fail", ()))
        self._lock = threading.Lock()

    def __call__(self, name: str) -> None:
        """Count a hit, and strike if it is the one."""
        with self._lock:
            hit = self.hits[name] = self.hits.get(name, 0) + 1
        if (name, hit) == self._crash:
            os._exit(CRASHED)
        if self._fail and (name, hit) == self._fail[:2]:
            raise FAILURES[self._fail[2]](name)


if __name__ == "__main__":
    main()
