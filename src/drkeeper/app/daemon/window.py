"""The window to the outside: the page and its metrics. Trouble with it is an alarm and no more."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from drkeeper.app.config.settings import WebSettings
from drkeeper.app.daemon.concerns import Concerns
from drkeeper.app.web.metrics import metrics_text
from drkeeper.app.web.reading import Reader
from drkeeper.app.web.textfile import write_textfile
from drkeeper.app.wiring.execution import Log
from drkeeper.app.wiring.ownership import setting
from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError
from drkeeper.model.alarm import AlarmKind, Condition
from drkeeper.model.status import Overview

if TYPE_CHECKING:
    from drkeeper.app.web.server import Listener

_AGAIN_S: Final = 10.0
"""How soon an address that was taken is tried again."""


class Window:
    """Listens where it was told to, as soon as it can.

    Args:
        settings: Where.
        host: Name of this machine.
        overview: Looks at everything now.
        reader: Answers about the rest.
        clock: Measures.
        concerns: Takes what is wrong.
        alive: Whether the ticks go on.
        log: Told of trouble.
    """

    def __init__(  # noqa: PLR0913 - by name
        self,
        settings: WebSettings,
        *,
        host: str,
        overview: Callable[[], Overview],
        reader: Reader,
        clock: Clock,
        concerns: Concerns,
        alive: Callable[[], bool],
        log: Log,
    ) -> None:
        self._settings = settings
        self._host = host
        self._overview = overview
        self._reader = reader
        self._clock = clock
        self._concerns = concerns
        self._alive = alive
        self._log = log
        self._listener: Listener | None = None
        self._tried_s: float | None = None

    def open(self) -> None:
        """Listen, unless it does so already; what is wrong is told, and tried again later."""
        address = self._settings.listen
        now_s = self._clock.monotonic()
        too_soon = self._tried_s is not None and now_s - self._tried_s < _AGAIN_S
        if address is None or too_soon or (self._listener is not None and self._listener.serving):
            return
        self._tried_s = now_s
        from drkeeper.app.web.server import Listener  # noqa: PLC0415 - not without an address

        self.close()
        try:
            listener = Listener(
                address,
                overview=self._overview,
                reader=self._reader,
                clock=self._clock,
                token=self._settings.token,
                alive=self._alive,
            )
            listener.start()
        except DrkeeperError as error:
            self._trouble(f"the page cannot be served at {address}: {error}", error)
            return
        self._listener = listener
        self._over("web")

    def write(self, seen: Overview) -> None:
        """Write the metrics into the file that the settings name."""
        path = self._settings.textfile
        if path is None:
            return
        try:
            write_textfile(path, metrics_text(seen, self._reader.run_counts()))
        except DrkeeperError as error:
            self._trouble(f"metrics cannot be written: {error}", error, "textfile")
        else:
            self._over("textfile")

    def close(self) -> None:
        """Answer nobody any more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop()

    def _trouble(self, message: str, error: DrkeeperError, name: str = "web") -> None:
        condition = Condition(
            AlarmKind.CONFIGURATION_INVALID,
            setting(name, self._host),
            message,
            error.hint or "Correct drkeeper.yaml, then restart the daemon.",
            self._clock.now(),
        )
        if self._concerns.hold(condition):
            self._log("web.unavailable" if name == "web" else "textfile.unwritten", error=message)

    def _over(self, name: str) -> None:
        self._concerns.drop(AlarmKind.CONFIGURATION_INVALID, setting(name, self._host))
