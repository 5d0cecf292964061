"""Connections with an end: however slow or talkative the other side is.

A time limit for each read is no limit: a server that sends one byte every few seconds never hits
it. Here every read and write gets what is left of one deadline, and all that is read together
counts against one allowance.
"""

import errno
import io
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

from drkeeper.clock import Clock
from drkeeper.errors import NotifyError, NotifyUnavailableError
from drkeeper.faults import point

if TYPE_CHECKING:  # there is no such module when the program runs
    from _typeshed import WriteableBuffer

MOST_BYTES: Final = 256 * 1024
"""Bytes read of one connection, before it is taken for hostile. Source: ours; answers of servers
to what we send have some hundred."""


class Deadline:
    """One instant by which everything must be over.

    Args:
        clock: Measures.
        within: Seconds from now.
    """

    def __init__(self, clock: Clock, within: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + within

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left = self._end - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("out of time")
        return left


class FloodError(OSError):
    """The other side sent more than anybody would."""


class Wire(io.RawIOBase):
    """A connected socket as ``http.client`` and ``smtplib`` use one, bounded as a whole.

    Args:
        connection: What is connected; closed by ``close``.
        deadline: When everything must be over.
        most_bytes: Longest that all answers together may be.
    """

    def __init__(
        self, connection: socket.socket, deadline: Deadline, *, most_bytes: int = MOST_BYTES
    ) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline
        self._left_bytes = most_bytes

    def readable(self) -> bool:
        """Answers can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read what is there, or wait for it until the deadline.

        Raises:
            FloodError: More has come than is allowed.
        """
        view = memoryview(buffer)
        self._connection.settimeout(self._deadline.left())
        count = self._connection.recv_into(view)
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise FloodError("too much was sent")
        return count

    def sendall(self, data: bytes) -> None:
        """Write all of ``data`` before the deadline."""
        view = memoryview(data)
        while view:
            self._connection.settimeout(self._deadline.left())
            view = view[self._connection.send(view) :]

    def makefile(self, *_: object) -> io.BufferedReader:
        """Return a reader of the answers; closing it closes nothing else."""
        return io.BufferedReader(_Unclosing(self))

    def secured(self, context: ssl.SSLContext, name: str) -> "Wire":
        """Return the same connection with TLS from here on; this object is of no more use.

        Raises:
            ssl.SSLError: The handshake failed, or the certificate is not to be trusted.
            ConnectionResetError: The other side is gone already.
        """
        try:
            self._connection.getpeername()
        except OSError as error:
            # Asked here, since the interpreter forgets to close what was reset before a handshake.
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from error
        # The interpreter holds a whole handshake to this one limit.
        self._connection.settimeout(self._deadline.left())
        wrapped = context.wrap_socket(self._connection, server_hostname=name)
        return Wire(wrapped, self._deadline, most_bytes=self._left_bytes)

    def close(self) -> None:
        """Hang up; doing it twice is harmless."""
        self._connection.close()
        super().close()


class _Unclosing(io.RawIOBase):
    """Reads from a wire that somebody else closes."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        return self._wire.readinto(buffer)


def dial(host: str, port: int, deadline: Deadline) -> Wire:
    """Connect to the first address of ``host`` that answers.

    Raises:
        NotifyUnavailableError: None does, or the name is not known.
    """
    point("notify.wire.dial")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotifyUnavailableError(
            f"cannot look up {host[:80]}",
            hint="Look whether the name is right, and whether this machine's name server answers.",
        ) from error
    failed: OSError | None = None
    for tried, (family, kind, protocol, _, address) in enumerate(found):
        connection = socket.socket(family, kind, protocol)
        try:
            # An address that swallows everything leaves some of the time to the others.
            connection.settimeout(deadline.left() / (len(found) - tried))
            connection.connect(address)
        except OSError as error:
            connection.close()
            failed = error
        else:
            point("notify.wire.dialled")
            return Wire(connection, deadline)
    failure = translated(failed or OSError("no address"), f"{host}:{port}")
    raise failure


def translated(error: Exception, server: str) -> NotifyError:
    """Put what went wrong on the way to ``server`` into words.

    Only what we ourselves know of it: no text from the other side.
    """
    match error:
        case ssl.SSLCertVerificationError():
            return NotifyError(
                f"the certificate of {server} is not to be trusted: {error.verify_message}",
                hint="Renew the certificate, or name the file of its authority as ca.",
            )
        case FloodError():
            return NotifyError(
                f"{server} answered without end", hint="Look whether this is the right server."
            )
        case TimeoutError():
            said = f"{server} did not answer in time"
        case ssl.SSLError():
            said = f"no TLS with {server}: {error.reason or 'the connection broke off'}"
        case OSError(strerror=str(reason)):
            said = f"no connection with {server}: {reason}"
        case _:
            said = f"{server} broke off, or does not speak the protocol"
    return NotifyUnavailableError(said, hint="Look whether the server works, and on this port.")


def tls_context(ca: str | None = None) -> ssl.SSLContext:
    """Return how servers are recognised: by the system's certificates, or those in ``ca``.

    Raises:
        NotifyError: ``ca`` cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise NotifyError(
            f"cannot read the certificates in {ca}",
            hint="Name a file of certificates in PEM form that this user may read.",
        ) from error
