"""One HTTP request, its status and the beginning of the answer: all that channels need.

Certificates are verified, redirects refused, proxies not used, answers bounded in bytes and time.
Plain http is only for servers on this machine.
"""

import http.client
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from drkeeper import __version__
from drkeeper.clock import Clock
from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.faults import point
from drkeeper.notify.wire import Deadline, Wire, dial, tls_context, translated

LONGEST_WAIT: Final = timedelta(hours=1)
"""Longest that a server's Retry-After is obeyed: it must not silence a channel for ever."""

_MOST_BODY: Final = 512
"""Bytes of an answer that are looked at."""

_AGAIN: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
"""Refusals that may pass. Source: RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4."""

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes.

    Attributes:
        secure: Whether by TLS.
        host: Name or address of the server.
        port: TCP port.
        path: Beginning with a slash.
        query: Without its question mark.
    """

    secure: bool
    host: str
    port: int
    path: str
    query: str

    @property
    def server(self) -> str:
        """Name the server without any secret of the URL."""
        return f"{self.host}:{self.port}"


def place_from_url(url: str) -> Place:
    """Read a URL, and refuse one that cannot be right.

    Raises:
        NotifyError: It is not http or https, it is plain http to another machine, or it holds a
            user name, a fragment or characters that no URL has.
    """
    try:
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else _PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    host = parts.hostname or ""
    legal = url.isascii() and url.isprintable() and " " not in url
    if not legal or not port or not host or parts.scheme not in _PORTS:
        raise NotifyError("not the URL of a server", hint="Write https://HOST[:PORT]/PATH.")
    if "@" in parts.netloc or parts.fragment:
        raise NotifyError(
            f"a user name or a fragment in the URL of {host[:80]}",
            hint="Write https://HOST[:PORT]/PATH.",
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise NotifyError(
            f"plain http to another machine: {host[:80]}",
            hint="Use https; plain http is only for servers on this machine.",
        )
    return Place(parts.scheme == "https", host, port, parts.path or "/", parts.query)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its very name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Poster:
    """Sends requests to one server, each on a connection of its own.

    Args:
        clock: Measures.
        ca: File of certificates to trust; ``None`` for the system's.
    """

    def __init__(self, *, clock: Clock, ca: str | None = None) -> None:
        self._clock = clock
        self._ca = ca

    def post(
        self, place: Place, body: bytes, headers: Mapping[str, str], *, within: float
    ) -> bytes:
        """POST ``body`` and return the first bytes of an answer that says it was taken.

        Raises:
            NotifyUnavailableError: No answer, or one that says to come again.
            NotifyError: The server refused, or wants to send us elsewhere.
        """
        deadline = Deadline(self._clock, within)
        try:
            wire = dial(place.host, place.port, deadline)
            try:
                if place.secure:
                    wire = wire.secured(tls_context(self._ca), place.host)
                status, retry_after, answer = _exchange(wire, place, body, headers)
            finally:
                wire.close()
        except (OSError, ssl.SSLError, http.client.HTTPException) as error:
            failure = translated(error, place.server)
            raise failure from error
        point("notify.http.answered")
        self._judge(status, retry_after, place.server)
        return answer

    def _judge(self, status: int, retry_after: str | None, server: str) -> None:
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        said = f"{server} answered {status}{_phrase(status)}"
        if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NotifyUnavailableError(
                said,
                hint="Look whether the server works.",
                wait=self._wait(retry_after),
            )
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise NotifyError(
                f"{said}, a redirect, which is not followed",
                hint="Give the URL that it leads to, if you trust it.",
            )
        raise NotifyError(said, hint="Check the channel's URL and its secret.")

    def _wait(self, retry_after: str | None) -> timedelta | None:
        """Read Retry-After: seconds or a date (RFC 9110, 10.2.3); what makes no sense is none."""
        if retry_after is None:
            return None
        text = retry_after.strip()
        if text.isascii() and text.isdigit():
            # More digits than this are years, and int() would take its time.
            seconds = int(text) if len(text) < 9 else LONGEST_WAIT.total_seconds()  # noqa: PLR2004 - years
            return min(timedelta(seconds=seconds), LONGEST_WAIT)
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return min(max(at - self._now(), timedelta()), LONGEST_WAIT)

    def _now(self) -> datetime:
        return self._clock.now()


def _exchange(
    wire: Wire, place: Place, body: bytes, headers: Mapping[str, str]
) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(place.host, place.port)
    connection.auto_open = 0
    connection.sock = wire
    target = f"{place.path}?{place.query}" if place.query else place.path
    sent = {
        "User-Agent": f"drkeeper/{__version__}",
        "Accept": "*/*",
        "Connection": "close",
        **headers,
    }
    point("notify.http.send")
    connection.request("POST", target, body, sent)
    answer = connection.getresponse()
    try:
        return answer.status, answer.getheader("Retry-After"), answer.read(_MOST_BODY)
    finally:
        answer.close()


def _phrase(status: int) -> str:
    """Return the standard's name of a status, never the server's own words."""
    try:
        return f" ({HTTPStatus(status).phrase.lower()})"
    except ValueError:
        return ""
