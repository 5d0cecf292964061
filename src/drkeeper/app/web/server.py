"""The listener: one thread of the daemon that answers, and that nothing else waits for."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog
import uvicorn

from drkeeper.app.web.addresses import Address, TcpAddress, parse_address
from drkeeper.app.web.application import Pages, application
from drkeeper.app.web.connections import HEADER_BYTES, Bounds, bounded
from drkeeper.app.web.freshness import Fresh
from drkeeper.app.web.reading import Reader
from drkeeper.app.web.sockets import forget, listen
from drkeeper.clock import Clock
from drkeeper.faults import point
from drkeeper.model.status import Overview

_READERS: Final = 4
"""Threads that compute answers. Source: ours; most answers are shared, and the machine is not ours."""
_KEEP_ALIVE_S: Final = 5
_STOP_WITHIN_S: Final = 5.0
_log = structlog.get_logger()


def _always() -> bool:
    return True


class Listener:
    """Serves metrics, health and the page, from its own thread.

    Args:
        address: Where, as ``web.listen`` says it: ``127.0.0.1:8970`` or ``/run/drkeeper/web.sock``.
        overview: Looks at everything now; called from other threads, one call at a time.
        reader: Answers about the rest; called from several threads at a time.
        clock: Says how old answers are.
        token: What clients must show; ``None`` for nothing, which only loopback and sockets allow.
        hosts: Other names of this machine that a browser may have asked for.
        alive: Whether the daemon's tick goes on; must not wait for anything.
        bounds: What clients may use.

    Raises:
        ConfigurationError: The address is none, or may not be used without a token.
    """

    def __init__(  # noqa: PLR0913 - all but the address by name
        self,
        address: str,
        *,
        overview: Callable[[], Overview],
        reader: Reader,
        clock: Clock,
        token: str | None = None,
        hosts: tuple[str, ...] = (),
        alive: Callable[[], bool] = _always,
        bounds: Bounds | None = None,
    ) -> None:
        self._wanted: Address = parse_address(address, token=token)
        self._overview = overview
        self._reader = reader
        self._clock = clock
        self._token = token
        self._hosts = hosts
        self._alive = alive
        self._bounds = bounds or Bounds()
        self._bound: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._executor: ThreadPoolExecutor | None = None

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system chose."""
        if isinstance(self._wanted, TcpAddress) and self._bound is not None:
            return str(TcpAddress(self._wanted.host, self._bound.getsockname()[1]))
        return str(self._wanted)

    @property
    def serving(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Bind, and begin to answer.

        Raises:
            ConfigurationError: The address is taken or cannot be used; nothing is left behind.
        """
        self._bound = listen(self._wanted)
        self._executor = ThreadPoolExecutor(_READERS, thread_name_prefix="drkeeper-web")
        self._server = uvicorn.Server(self._settings(self._executor))
        self._thread = threading.Thread(
            target=self._serve, args=(self._server, self._bound), name="drkeeper-web", daemon=True
        )
        self._thread.start()
        point("app.web.server.started")
        _log.info("web.started", address=self.address)

    def stop(self, within_s: float = _STOP_WITHIN_S) -> bool:
        """End all connections and the thread; harmless when it does not run.

        Returns:
            Whether the thread ended in time. If not it is left behind; it keeps no process alive.
        """
        if self._server is not None:
            self._server.should_exit = True
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        if self._thread is not None:
            self._thread.join(within_s)
        ended = not self.serving
        if self._bound is not None:
            forget(self._wanted, self._bound)
        self._bound = self._server = self._thread = self._executor = None
        return ended

    def _settings(self, executor: ThreadPoolExecutor) -> uvicorn.Config:
        # A socket in the file system cannot be asked for by another site's page.
        hosts = None
        if isinstance(self._wanted, TcpAddress):
            hosts = (self._wanted.host, socket.gethostname(), *self._hosts)
        pages = Pages(
            self._overview, self._reader, Fresh(executor, self._clock), self._clock, self._alive
        )
        return uvicorn.Config(
            application(pages, hosts=hosts, token=self._token),
            http=bounded(self._bounds),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",  # what clients send wrong must not fill the log
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
        )

    def _serve(self, server: uvicorn.Server, bound: socket.socket) -> None:
        try:
            server.run([bound])
        except BaseException:  # noqa: BLE001 - the thread has nobody above it, and the daemon goes on
            _log.exception("web.ended")
