"""Where the page may be served: on this machine, and elsewhere only when it was meant.

The page shows names of files' owners, hosts and stores. It needs no password on loopback or on a
socket whose folder says who may enter; anywhere else it needs a token.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from drkeeper.errors import ConfigurationError

_TCP: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:/]+):(?P<port>[0-9]{1,5})", re.ASCII)
_LAST_PORT: Final = 65535
_LONGEST_PATH: Final = 106
"""Bytes of a socket's path, without its final zero and one more for the draft of its name.

Source: unix(7), "sockaddr_un".
"""
_HINT: Final = "Write web.listen as 127.0.0.1:8970, [::1]:8970 or /run/drkeeper/web.sock."


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket in the file system.

    Attributes:
        path: Where.
    """

    path: str

    def __str__(self) -> str:
        """Write it as the settings do."""
        return self.path


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An address of this machine.

    Attributes:
        host: A number, never a name.
        port: 0 lets the system choose.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as the settings do."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.host).is_loopback


Address = UnixAddress | TcpAddress


def parse_address(text: str, *, token: str | None = None) -> Address:
    """Read an address, and refuse one that would show the page to a network without a token.

    A name other than ``localhost`` is refused: what it means changes behind our back.

    Raises:
        ConfigurationError: It is no address, or one that needs a token.
    """
    if text.startswith("/"):
        if len(text.encode()) > _LONGEST_PATH or "\0" in text:
            raise ConfigurationError(f"no socket can have the path {text!r}", hint=_HINT)
        return UnixAddress(text)
    match = _TCP.fullmatch(text)
    if match is None or int(match["port"]) > _LAST_PORT:
        raise ConfigurationError(f"{text!r} is no address to listen at", hint=_HINT)
    host = match["host"].strip("[]")
    try:
        number = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise ConfigurationError(f"{host!r} is no number of an address", hint=_HINT) from error
    address = TcpAddress(str(number), int(match["port"]))
    if not address.loopback and not token:
        raise ConfigurationError(
            f"{text} can be reached from other machines, and there is no token",
            hint="Listen on 127.0.0.1 behind a reverse proxy, or set DRKEEPER_WEB_TOKEN.",
        )
    return address
