"""The configuration that is in force, and how it is read again."""

from typing import Final, Protocol

from drkeeper.app.config.configuration import Configuration
from drkeeper.app.config.problems import Problem
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.wiring.execution import Log
from drkeeper.app.wiring.wrong_files import wrong_files
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.faults import point
from drkeeper.model.alarm import AlarmKind, Subject

_THEN: Final = ", then run systemctl reload drkeeper"


class Reloads(Protocol):
    """Reads the files again and keeps what was right of them."""

    def reload(self) -> tuple[Configuration, tuple[Problem, ...]]:
        """Return what is in force from now on, and what is wrong with the files."""
        ...


class Accepted:
    """What the daemon works by; one thread reads it anew, any thread asks for it.

    Args:
        reloader: Reads the files.
        clock: Dates what is wrong.
        log: Told of what was read.

    Raises:
        ConfigurationError: There is nothing that the daemon could work by.
    """

    def __init__(self, reloader: Reloads, *, clock: Clock, log: Log) -> None:
        self._reloader = reloader
        self._clock = clock
        self._log = log
        self._configuration, self._problems = reloader.reload()

    def configuration(self) -> Configuration:
        """Return what is in force."""
        return self._configuration

    def reload(self, concerns: Concerns) -> None:
        """Read the files again; what is wrong with them is a concern, and changes nothing."""
        before = self._configuration
        point("app.daemon.policies.reloading")
        try:
            self._configuration, self._problems = self._reloader.reload()
        except DrkeeperError as error:
            self._problems = (Problem(str(before.locations.settings), None, str(error)),)
        point("app.daemon.policies.reloaded")
        self.tell(concerns)
        for name in ("daemon", "web", "ledger", "log"):
            if getattr(before, name) != getattr(self._configuration, name):
                self._log("configuration.needs_restart", section=name)

    def tell(self, concerns: Concerns) -> None:
        """Hold what is wrong with the files as a concern, or let it be over."""
        configuration = self._configuration
        daemon = Subject("daemon", configuration.host)
        count, wrong = len(configuration.policies), len(self._problems)
        event = "configuration.read" if count else "configuration.without_policies"
        self._log(event, policies=count, problems=wrong)
        if not self._problems:
            concerns.drop(AlarmKind.CONFIGURATION_INVALID, daemon)
            return
        concerns.hold(wrong_files(self._problems, daemon, self._clock.now(), then=_THEN))
