"""The real daemon as a process: told to begin, watched, signalled, killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from doubles.installation import Installation
from drkeeper.app.config.environment import machine_name
from drkeeper.clock import SystemClock
from drkeeper.ledger.ledger import Ledger, open_ledger
from drkeeper.ledger.process import this_process
from drkeeper.model.run import RunState

PATIENCE_S = 120
"""Longest wait for anything that must happen."""


def wait_for(
    what: Callable[[], object], told: str, within_s: float = PATIENCE_S, *, pause_s: float = 0.05
):
    """Wait until ``what`` returns something true, and return that."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(pause_s)
    raise AssertionError(f"waited {within_s} s in vain: {told}")


def keeping(home: Path, *, rpo: str = "10s", settings: str = "") -> Installation:
    """Make an installation whose policy ``files`` is due every few seconds, and a quick daemon."""
    made = Installation(home).init()
    configure(made, settings)
    needs(made, "files", rpo=rpo)
    return made


def configure(made: Installation, settings: str = "", *, upload: str | None = None) -> None:
    """Let the daemon of an installation tick every second, listen nowhere and perhaps send slowly."""
    path = made.etc / "drkeeper.yaml"
    text = f"repositories:\n  primary:\n    store: {made.store}\n"
    if upload is not None:
        text += f"    limits: {{upload: {upload}}}\n"
    if "daemon:" not in settings:
        settings = "daemon: {tick: 1s}\n" + settings
    if "web:" not in settings:
        settings += "\nweb: {listen: none}\n"
    path.write_text(f"{text}\n{settings}")


def needs(made: Installation, name: str, *, rpo: str = "10s", more: str = "") -> Path:
    """Write a policy that has an objective alone."""
    return made.policy(
        name,
        f"policy: {name}\nsource:\n  files:\n    paths: [{made.source}]\n"
        f"objectives: {{rpo: {rpo}}}\nrepository: primary\n{more}",
    )


class Keeper:
    """One life of a daemon.

    Args:
        made: The installation it works for.
    """

    def __init__(self, made: Installation, **variables: str) -> None:
        self.made = made
        self.heard: list[str] = []
        self._ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = f"\0drkeeper-test-{os.getpid()}-{id(self)}"
        self._ear.bind(self._address)
        self._ear.settimeout(0)
        self._log = (made.home / f"daemon-{time.monotonic_ns()}.log").open("w+b")
        environment = {
            **made.environment(),
            "NOTIFY_SOCKET": self._address.replace("\0", "@"),
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "drkeeper", "daemon"],
            env=environment,
            cwd=made.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._ear.close()
        self._log.close()

    def listen(self) -> list[str]:
        """Return everything that systemd would have heard so far."""
        while True:
            try:
                self.heard.append(self._ear.recv(4096).decode())
            except BlockingIOError:
                return self.heard

    def ready(self) -> "Keeper":
        """Wait until it says that it is ready."""

        def told() -> bool:
            assert self.process.poll() is None, self.text()
            return "READY=1" in self.listen()

        wait_for(told, "the daemon to be ready")
        return self

    def text(self) -> str:
        """Return its whole log."""
        return Path(self._log.name).read_text()

    def lines(self, event: str | None = None) -> list[dict]:
        """Return its log, or the lines of one event."""
        found = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [line for line in found if event in {None, line["event"]}]

    def wait_for(
        self, event: str, count: int = 1, within_s: float = PATIENCE_S, **fields: object
    ) -> list[dict]:
        """Wait until an event has been logged so many times, with these fields."""

        def there() -> list[dict]:
            found = [
                line
                for line in self.lines(event)
                if all(line.get(name) == value for name, value in fields.items())
            ]
            return found if len(found) >= count else []

        return wait_for(there, f"{event} {fields} in\n{self.text()[-3000:]}", within_s)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = PATIENCE_S) -> int:
        """Tell it to end, and return how it did."""
        self.send(number)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()

    def children(self) -> list[int]:
        """Return the processes that it has begun."""
        found: list[int] = []
        for task in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
        return found


def ledger_of(made: Installation) -> Ledger:
    """Open the ledger of an installation."""
    path = made.home / "state" / "ledger.sqlite"
    return open_ledger(path, clock=SystemClock(), me=lambda: this_process(machine_name()))


def states_of(made: Installation, policy: str = "files") -> list[RunState]:
    """Return how the runs of a policy stand, newest first."""
    with ledger_of(made) as ledger:
        return [run.state for run in ledger.runs(policy)]


def alarms_of(made: Installation) -> list[str]:
    """Return the kinds of the open alarms."""
    with ledger_of(made) as ledger:
        return [alarm.condition.kind.value for alarm in ledger.open_alarms()]


def processes_of(made: Installation) -> dict[int, str]:
    """Return the living processes that work for an installation, with their command lines."""
    found = {}
    mine = f"DRKEEPER_STATE_DIR={made.home / 'state'}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if mine in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found[int(entry.name)] = b" ".join(words).decode(errors="replace")
        except OSError:
            continue
    return found
