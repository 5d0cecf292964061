"""The second half of ``drkeeper demo``: the daemon keeps two policies, and notices what is wrong."""

import http.client
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Final

from drkeeper.app.cli.text import safe
from drkeeper.app.config.configuration import Configuration, load_configuration
from drkeeper.app.config.environment import child_environment
from drkeeper.app.wiring.overview import all_conditions, read_overview
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.alarm import AlarmKind
from drkeeper.model.instants import local_text
from drkeeper.model.run import RunState
from drkeeper.model.status import Overview, PolicyState, PolicyStatus

PATIENCE_S: Final = 60
"""How long anything is waited for. Source: ours; on a slow machine it takes some seconds."""
_LOOK_S: Final = 0.5
_GOOD: Final = {PolicyState.OK, PolicyState.RUNNING, PolicyState.QUEUED}
_ENDED_BY_SIGTERM: Final = 143

POLICY = """\
policy: {name}
source:
  files:
    paths: ["{path}"]
objectives: {{rpo: {rpo}s}}    # no schedule: when to run follows from the promise
repository: {repository}
"""

SETTINGS = """\
daemon: {{tick: 1s, probe_every: 10s}}
web: {{listen: "127.0.0.1:{port}"}}
"""


class DaemonDemo:
    """A daemon, watched from outside.

    Args:
        say: Takes a fact.
        clock: To wait with.
        etc: Folder of the configuration; the two policies and the daemon's settings are added.
        store: Folder of the repository, to be made unreachable.
        log: File for what the daemon says.
    """

    def __init__(
        self, say: Callable[[str], None], clock: Clock, *, etc: Path, store: Path, log: Path
    ) -> None:
        self._say = say
        self._clock = clock
        self._etc = etc
        self._store = store
        self._log = log
        self._port = _free_port()

    def configure(
        self, configuration: Configuration, repository: str, protected: dict[str, Path]
    ) -> Configuration:
        """Write a policy for each of ``protected`` and the daemon's settings; return all files' content."""
        for number, (name, path) in enumerate(protected.items()):
            text = POLICY.format(name=name, path=path, rpo=30 + 10 * number, repository=repository)
            (self._etc / "policies.d" / f"{name}.yaml").write_text(text, encoding="utf-8")
        with open(self._etc / "drkeeper.yaml", "a", encoding="utf-8") as settings:
            settings.write(SETTINGS.format(port=self._port))
        return load_configuration(configuration.locations)

    @property
    def page(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._port}/"

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon, and end it the way systemd would.

        Raises:
            DrkeeperError: It ended otherwise than it should.
        """
        argv = [sys.executable, "-m", "drkeeper", "--config", str(self._etc), "daemon"]
        with (
            open(self._log, "wb") as log,
            subprocess.Popen(  # noqa: S603 - our own program
                argv, stdin=subprocess.DEVNULL, stderr=log, stdout=log, env=child_environment()
            ) as daemon,
        ):
            try:
                yield daemon
            finally:
                daemon.send_signal(signal.SIGTERM)
                code = daemon.wait(PATIENCE_S)
        if code != _ENDED_BY_SIGTERM:
            raise DrkeeperError(f"the daemon ended with {code}", hint=f"Read {self._log}.")

    def keep(self, configuration: Configuration, seconds: float) -> None:
        """Watch for ``seconds``: every run is told, and at the end everything must be green.

        Raises:
            DrkeeperError: It is not.
        """
        end = self._clock.monotonic() + seconds
        told: set[str] = set()
        while self._clock.monotonic() < end:
            for policy in read_overview(configuration, self._clock).policies:
                self._tell_run(policy, told)
            self._clock.sleep(_LOOK_S)
        seen = self._await(configuration, "all policies are green", _is_green)
        for policy in seen.policies:
            self._tell_policy(policy, seen)
        self._say(f"the page says so too: {self.page} ({self._fetch('/')} bytes)")
        self._say(f"and monitors: {self.page}metrics, {self.page}health")

    def lose_the_store(self, configuration: Configuration) -> None:
        """Make the store unreachable, wait for the alarm, and bring the store back.

        Raises:
            DrkeeperError: The alarm did not come, or did not go.
        """
        away = self._store.with_name(self._store.name + "-out-of-reach")
        begun = self._clock.monotonic()
        self._store.rename(away)
        try:
            seen = self._await(configuration, "the alarm", _has_storage_alarm)
            self._say(f"after {self._clock.monotonic() - begun:.0f} s drkeeper status says:")
            for condition in all_conditions(seen)[:3]:
                self._say(
                    f"  {condition.level.upper()} {condition.kind}: {safe(condition.message)}"
                )
                self._say(f"    {condition.hint}")
        finally:
            away.rename(self._store)
        self._await(configuration, "the alarm to be over", _is_green)
        self._say("the store is back: the alarm is over, and the runs are made up for")

    def _tell_run(self, policy: PolicyStatus, told: set[str]) -> None:
        run = policy.last_success
        if run is None or run.id in told or run.state is not RunState.SUCCEEDED:
            return
        told.add(run.id)
        at = local_text(run.started_at, UTC)
        self._say(f"{at}  {policy.policy}: snapshot {run.result.get('commit')}")

    def _tell_policy(self, policy: PolicyStatus, seen: Overview) -> None:
        durable = policy.points.durable
        if durable is None or policy.rpo_target is None:
            return
        age = (seen.at - durable).total_seconds()
        target = policy.rpo_target.total_seconds()
        self._say(
            f"{policy.policy}: {policy.state}, would lose {age:.0f} s of at most {target:.0f} s"
        )

    def _await(
        self, configuration: Configuration, what: str, holds: Callable[[Overview], bool]
    ) -> Overview:
        end = self._clock.monotonic() + PATIENCE_S
        while True:
            seen = read_overview(configuration, self._clock)
            if holds(seen):
                return seen
            if self._clock.monotonic() > end:
                raise DrkeeperError(
                    f"waited {PATIENCE_S} s for {what} in vain", hint=f"Read {self._log}."
                )
            self._clock.sleep(_LOOK_S)

    def _fetch(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            size = len(answer.read())
        except OSError as error:
            raise DrkeeperError(
                f"{self.page} does not answer", hint=f"Read {self._log}."
            ) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise DrkeeperError(f"{self.page} answers {answer.status}", hint=f"Read {self._log}.")
        return size


def _is_green(seen: Overview) -> bool:
    return (
        seen.daemon_alive
        and not all_conditions(seen)
        and not seen.alarms
        and all(policy.state in _GOOD for policy in seen.policies)
    )


def _has_storage_alarm(seen: Overview) -> bool:
    return any(alarm.condition.kind is AlarmKind.STORAGE_UNREACHABLE for alarm in seen.alarms)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
