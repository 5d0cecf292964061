"""Connections that cannot pile up: so many at most, each for so long at most.

uvicorn limits neither the time a client takes to send its request nor the time it takes to read the
answer. Both are bounded here by the life of the connection.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEADER_BYTES: Final = 16 * 1024
"""Request line and header together. Source: RFC 9112, 3: at least 8,000 bytes of a line."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may use.

    Attributes:
        most: Connections open at a time. Source: ours; a browser opens 6, a scraper 1.
        request_within_s: From the connection to a whole request. Source: ours; RFC 9110 leaves it
            to the server.
        life_s: The whole life of a connection; clients that want more connect again.
    """

    most: int = 128
    request_within_s: float = 10.0
    life_s: float = 60.0


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with an end."""

    bounds = Bounds()
    _born: float = 0.0
    _ends: tuple[asyncio.TimerHandle, ...] = ()

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        """Accept a connection; when there are too many, the oldest one that says nothing ends."""
        super().connection_made(transport)
        self._born = self.loop.time()
        self._ends = (
            self.loop.call_later(self.bounds.request_within_s, self._end_unless_asked),
            self.loop.call_later(self.bounds.life_s, self._end),
        )
        if len(self.connections) > self.bounds.most:
            self._oldest()._end()  # noqa: SLF001 - another one of ourselves

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection and its timers."""
        for timer in self._ends:
            timer.cancel()
        super().connection_lost(exc)

    def _oldest(self) -> "BoundedProtocol":
        every = cast("set[BoundedProtocol]", self.connections)
        return min(every, key=lambda one: (one._is_working(), one._born))  # noqa: SLF001 - as above

    def _is_working(self) -> bool:
        """Whether a request has come that is not answered yet."""
        return self._cycle is not None and not self._cycle.response_complete

    @property
    def _cycle(self) -> RequestResponseCycle | None:
        """The request being answered, or answered last; ``None`` before the first."""
        return self.cycle

    def _end_unless_asked(self) -> None:
        if self._cycle is None:
            self._end()

    def _end(self) -> None:
        self.connections.discard(self)
        self.transport.abort()


def bounded(bounds: Bounds) -> type[BoundedProtocol]:
    """Return the protocol with other bounds."""

    class Bounded(BoundedProtocol):
        """The same."""

    Bounded.bounds = bounds
    return Bounded
