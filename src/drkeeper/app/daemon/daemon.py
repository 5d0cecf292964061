"""The daemon: everything put together, from its first line in the log to its last."""

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from drkeeper import __version__
from drkeeper.app.config.files import make_private
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.reloading import Reloader, in_force, refuse_nothing
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.daemon.lock import only_daemon
from drkeeper.app.daemon.loud import log
from drkeeper.app.daemon.parts import Parts
from drkeeper.app.daemon.policies import Accepted
from drkeeper.app.daemon.signals import Signals
from drkeeper.app.daemon.supervision import Supervisor, silence_allowed
from drkeeper.app.daemon.watchdog import PULSE
from drkeeper.app.wiring.logs.known import (
    secrets_of_channels,
    secrets_of_environment,
    secrets_of_url,
)
from drkeeper.app.wiring.logs.redacting import Redactor
from drkeeper.app.wiring.logs.setup import set_up_logging
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.heap import share_one_heap

_SIGNALLED: Final = 128
"""Source: POSIX shell, "Exit status": a process that a signal ended."""
_MORE_TIME: Final = timedelta(seconds=30)
"""Asked for again and again while runs bring their work to safety."""
_END_SOON: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where and how the daemon is started.

    Attributes:
        locations: Where its files are.
        environment: What it was given.
        clock: The machine's clocks.
    """

    locations: Locations
    environment: Mapping[str, str]
    clock: Clock


def run_daemon(around: Circumstances) -> int:
    """Be the daemon until a signal ends it; return the exit code.

    Raises:
        ConfigurationError: There is nothing to work by.
        RunningError: Another daemon works with the same state directory.
        DrkeeperError: The state directory cannot be used.
    """
    share_one_heap()
    environment, clock = around.environment, around.clock
    supervisor = Supervisor(
        environment.get("NOTIFY_SOCKET"),
        clock=clock,
        silence=silence_allowed(
            environment.get("WATCHDOG_USEC"), environment.get("WATCHDOG_PID"), os.getpid()
        ),
    )
    supervisor.status("reading the configuration")
    configuration = in_force(around.locations, clock=clock)
    refuse_nothing(configuration)
    make_private(configuration.locations.state)
    redactor = Redactor(secrets_of_environment(environment))
    signals = Signals()
    # Any number of daemons may share a ledger; what is in the folder is the work of one, and before
    # it is known who that is nothing is written there.
    with only_daemon(configuration.locations.state), signals.heard():
        reloader = Reloader(around.locations, clock=clock, variables=environment)
        accepted = Accepted(reloader, clock=clock, log=log)
        configuration = accepted.configuration()
        file = set_up_logging(
            configuration.log, redactor=redactor, clock=clock, environment=environment
        )
        try:
            daemon = _Daemon(
                around, accepted, supervisor=supervisor, signals=signals, redactor=redactor
            )
            return daemon.live()
        finally:
            file.close()


class _Daemon:
    """One life, in the main thread."""

    def __init__(
        self,
        around: Circumstances,
        in_force: Accepted,
        *,
        supervisor: Supervisor,
        signals: Signals,
        redactor: Redactor,
    ) -> None:
        self._in_force = in_force
        self._supervisor = supervisor
        self._signals = signals
        self._redactor = redactor
        self._learn_secrets()
        self._concerns = Concerns(around.clock)
        self._ended = threading.Event()
        self._parts = Parts(
            around.locations,
            in_force=in_force,
            clock=around.clock,
            concerns=self._concerns,
            supervisor=supervisor,
            redact=redactor.text,
        )

    def live(self) -> int:
        """Begin, work until a signal says otherwise, end; return the exit code."""
        configuration = self._in_force.configuration()
        log("daemon.started", version=__version__, pid=os.getpid(), host=configuration.host)
        self._supervisor.needs(timedelta(minutes=5))
        self._supervisor.status("verifying the ledger")
        self._parts.verifier.verify_when_due()
        self._in_force.tell(self._concerns)
        watching = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        watching.start()
        self._parts.begin()
        self._supervisor.ready()
        log("daemon.ready")
        number = self._listen()
        self._end(number)
        self._ended.set()
        watching.join(PULSE.total_seconds())
        log("daemon.ended", signal=number.name)
        return _SIGNALLED + number

    def _listen(self) -> signal.Signals:
        """Deal with signals until one of them ends the daemon."""
        while True:
            number = self._signals.next(within=3600)
            if number is signal.SIGHUP:
                self._reload()
            elif number is not None:
                return number

    def _reload(self) -> None:
        self._supervisor.reloading()
        self._in_force.reload(self._concerns)
        self._learn_secrets()
        self._parts.reload()
        self._supervisor.ready()

    def _learn_secrets(self) -> None:
        configuration = self._in_force.configuration()
        # Not all of them are in the environment: commands give some.
        self._redactor.register(
            configuration.web.token or "", *secrets_of_url(configuration.ledger or "")
        )
        channels = configuration.channels
        for name in channels:
            try:
                self._redactor.register(*secrets_of_channels([channels[name]]))
            except DrkeeperError as error:  # the courier says so, too
                log("channel.unusable", channel=name, error=str(error))

    def _watch(self) -> None:
        """Look after everything else; the one thread that never waits for anything but time."""
        while not self._ended.wait(PULSE.total_seconds()):
            try:
                self._parts.watchdog.look()
                self._supervisor.status(self._parts.doing())
            except Exception as error:  # noqa: BLE001 - a defect must not end the watch
                log("watchdog.broken", error=repr(error))

    def _end(self, number: signal.Signals) -> None:
        """Begin nothing more, let the runs bring their work to safety, say what there is to say."""
        within = self._in_force.configuration().daemon.stop_within
        log("daemon.stopping", signal=number.name, runs=len(self._parts.executor.running()))
        self._supervisor.stopping()
        self._ended.set()
        self._parts.end_planning()
        ending = threading.Thread(
            target=self._parts.executor.stop, args=(within,), name="stopping", daemon=True
        )
        ending.start()
        while ending.is_alive():
            self._supervisor.needs(_MORE_TIME)
            running = len(self._parts.executor.running())
            self._supervisor.status(f"stopping: {running} runs bring their work to safety")
            if self._signals.next(within=0.2) in {signal.SIGTERM, signal.SIGINT}:
                log("daemon.hurried")
                self._parts.executor.stop(timedelta())
                ending.join()
        self._supervisor.status("stopping")
        self._parts.end(_END_SOON)
