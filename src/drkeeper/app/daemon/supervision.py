"""Tell systemd, or whoever started us in its manner, how things are.

Source:
    sd_notify(3): one datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names.
"""

import socket
from datetime import timedelta
from typing import Protocol

from drkeeper.faults import point

_PATIENCE_S = 1.0
"""Longest wait for a full socket; a supervisor that does not read must not hold us up."""
_LONGEST_STATUS = 300
_HALF = 2
"""Source: sd_watchdog_enabled(3), which advises to send at half of the time allowed."""


class Ticking(Protocol):
    """The part of a clock that is needed here."""

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC in seconds, as systemd reads it."""
        ...


class Supervisor:
    """Who started the daemon and waits to hear of it; without an address, nobody.

    Nothing here ever fails: a daemon works whether it is heard or not.

    Args:
        address: Path of the socket; ``@`` begins an abstract name.
        clock: Dates reloads.
        silence: After how long without a sign of life we are killed; ``None`` for never.
    """

    def __init__(
        self, address: str | None, *, clock: Ticking, silence: timedelta | None = None
    ) -> None:
        self._address = address
        self._clock = clock
        self._status = ""
        self._every_s = silence.total_seconds() / _HALF if silence else None
        self._alive_at: float | None = None

    def ready(self) -> None:
        """Say that the start, or a reload, is done."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that configuration is being read again; ``ready`` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1_000_000)}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def needs(self, time: timedelta) -> None:
        """Ask for this much more time to start or to stop, counted from now."""
        self._tell(f"EXTEND_TIMEOUT_USEC={time // timedelta(microseconds=1)}")

    def status(self, text: str) -> None:
        """Say in a line what is being done; the same line is not said twice."""
        line = " ".join(text.split())[:_LONGEST_STATUS]
        if line != self._status:
            self._status = line
            self._tell(f"STATUS={line}")

    def alive(self) -> None:
        """Give a sign of life, when one is due."""
        now = self._clock.monotonic()
        if self._every_s is None:
            return
        if self._alive_at is None or now - self._alive_at >= self._every_s:
            self._alive_at = now
            self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        name = self._address
        address = "\0" + name[1:] if name.startswith("@") else name
        point("app.daemon.supervision.telling")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.settimeout(_PATIENCE_S)
                line.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except (OSError, ValueError):
            pass  # nobody listens
        point("app.daemon.supervision.told")


def silence_allowed(microseconds: str | None, pid: str | None, me: int) -> timedelta | None:
    """Read ``WATCHDOG_USEC`` and ``WATCHDOG_PID``; ``None`` when nobody watches this process.

    Source:
        sd_watchdog_enabled(3).
    """
    if not microseconds or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if pid and pid != str(me):
        return None
    return timedelta(microseconds=int(microseconds))
