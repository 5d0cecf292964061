"""The second part of ``drkeeper demo``: the daemon keeps two policies, and notices what is wrong."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Final

from drkeeper.app.cli.demo_places import Places
from drkeeper.app.cli.text import safe
from drkeeper.app.config.configuration import Configuration, load_configuration
from drkeeper.app.config.locations import Locations
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

FILES_POLICY = """\
policy: project
source:
  files:
    paths: ["{project}"]
objectives: {{rpo: 30s, rto: 1m}}    # no schedule: when to run follows from the promise
repository: {repository}
drill:
  probes:
    - file: {project}/data.bin
      name: large-file
      min: 8 MiB
"""

SHOP_POLICY = """\
policy: shop
source:
  sqlite:
    databases: ["{database}"]
objectives: {{rpo: 40s, rto: 1m}}
repository: {repository}
drill:
  probes:
    - sql: SELECT count(*) FROM orders
      name: orders
      min: 1000
    - sql: SELECT max(sold_at) FROM orders
      name: newest-order
      max_age: 40s
    - file: {database}
      name: database-file
      min: 4 KiB
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
        places: Where everything is.
    """

    def __init__(self, say: Callable[[str], None], clock: Clock, places: Places) -> None:
        self._say = say
        self._clock = clock
        self._places = places
        self._ends_with = _ENDED_BY_SIGTERM
        self._port = _free_port()

    def configure(self, locations: Locations, repository: str) -> Configuration:
        """Write the two policies and the daemon's settings; return all files' content."""
        places = self._places
        for name, text in (("project", FILES_POLICY), ("shop", SHOP_POLICY)):
            path = places.etc / "policies.d" / f"{name}.yaml"
            values = {"project": places.project, "database": places.database}
            path.write_text(text.format(repository=repository, **values), encoding="utf-8")
        with open(places.etc / "drkeeper.yaml", "a", encoding="utf-8") as settings:
            settings.write(SETTINGS.format(port=self._port))
        return load_configuration(locations)

    @property
    def page(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._port}/"

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon, and end it the way systemd would, unless :meth:`kill` did.

        Raises:
            DrkeeperError: It ended otherwise than it should.
        """
        with (
            open(self._places.log, "wb") as log,
            subprocess.Popen(
                [sys.executable, "-P", "-m", "drkeeper", "daemon"],
                stdin=subprocess.DEVNULL,
                stderr=log,
                stdout=log,
                env=self._places.environment(),
            ) as daemon,
        ):
            try:
                yield daemon
            finally:
                daemon.send_signal(signal.SIGTERM)
                code = daemon.wait(PATIENCE_S)
        if code != self._ends_with:
            raise DrkeeperError(f"the daemon ended with {code}", hint=f"Read {self._places.log}.")

    def kill(self) -> None:
        """End whatever drkeeper runs on the machine, as when its plug is pulled.

        Raises:
            DrkeeperError: Something goes on.
        """
        self._ends_with = -signal.SIGKILL
        end = self._clock.monotonic() + PATIENCE_S
        while living := _of_machine(self._places.variables()):
            if self._clock.monotonic() > end:
                raise DrkeeperError(f"process {living[0]} does not end", hint="Report this.")
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._clock.sleep(_LOOK_S / 10)

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
        """Make the store unreachable until a promise is broken, and bring it back.

        Raises:
            DrkeeperError: An alarm did not come, or did not go.
        """
        store = self._places.store
        away = store.with_name(store.name + "-out-of-reach")
        begun = self._clock.monotonic()
        store.rename(away)
        try:
            for what, kind in (
                ("the alarm", AlarmKind.STORAGE_UNREACHABLE),
                ("the promise to be broken", AlarmKind.RPO_VIOLATED),
            ):
                seen = self._await(configuration, what, partial(_is_told, kind=kind))
                self._say(f"after {self._clock.monotonic() - begun:.0f} s drkeeper status says:")
                self._tell_conditions(seen, kind)
        finally:
            away.rename(store)
        self._await(configuration, "the alarm to be over", _is_green)
        self._say("the store is back: the alarm is over, and the runs are made up for")
        self._say("from when to when the promise was broken is in the ledger, as an incident")

    def _tell_conditions(self, seen: Overview, kind: AlarmKind) -> None:
        for condition in all_conditions(seen):
            if condition.kind is kind:
                self._say(f"  {condition.level.upper()} {kind}: {safe(condition.message)}")
                self._say(f"    {condition.hint}")

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
                    f"waited {PATIENCE_S} s for {what} in vain", hint=f"Read {self._places.log}."
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
                f"{self.page} does not answer", hint=f"Read {self._places.log}."
            ) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise DrkeeperError(
                f"{self.page} answers {answer.status}", hint=f"Read {self._places.log}."
            )
        return size


def _is_green(seen: Overview) -> bool:
    return (
        seen.daemon_alive
        and not all_conditions(seen)
        and not seen.alarms
        and all(policy.state in _GOOD and policy.points.durable for policy in seen.policies)
    )


def _is_told(seen: Overview, *, kind: AlarmKind) -> bool:
    return any(alarm.condition.kind is kind for alarm in seen.alarms)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _of_machine(variables: Mapping[str, str]) -> list[int]:
    """Return the drkeepers that have these variables, but for this one."""
    wanted = {f"{name}={value}".encode() for name, value in variables.items()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            given = set((folder / "environ").read_bytes().split(b"\0"))
            if wanted <= given and b"drkeeper" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]
