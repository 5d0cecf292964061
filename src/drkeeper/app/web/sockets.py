"""Listening sockets, bound before anything else so that failure is clear and early."""

import os
import socket
import stat
from contextlib import suppress
from typing import Final

from drkeeper.app.web.addresses import Address, TcpAddress, UnixAddress
from drkeeper.errors import ConfigurationError
from drkeeper.faults import point

_BACKLOG: Final = 128
"""Connections that wait to be accepted. Source: ours; as many as may be open."""
_RIGHTS: Final = 0o660
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def listen(address: Address) -> socket.socket:
    """Bind and listen, without blocking calls.

    Raises:
        ConfigurationError: The address is taken, is not this machine's, or its folder is unsafe.
    """
    point("app.web.sockets.binding")
    if isinstance(address, UnixAddress):
        return _listen_unix(address.path)
    return _listen_tcp(address)


def forget(address: Address, bound: socket.socket) -> None:
    """Close a socket and remove its name; no error leaves here."""
    bound.close()
    # Another daemon may have taken the name meanwhile; then it answers, and the name is its own.
    if isinstance(address, UnixAddress):
        with suppress(OSError, ConfigurationError):
            if not _answers(address.path):
                os.unlink(address.path)
        point("app.web.sockets.forgotten")


def _listen_tcp(address: TcpAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # Named, or asyncio does not see that it is TCP, and every answer waits 40 ms (Nagle).
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Without it a restart within a minute finds the port taken by connections that ended.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
        bound.listen(_BACKLOG)
        bound.settimeout(0)
    except OSError as error:
        bound.close()
        raise ConfigurationError(
            f"cannot listen at {address}: {error.strerror}",
            hint=f"Run ss -ltnp to see who has port {address.port}, or set web.listen to another.",
        ) from error
    return bound


def _listen_unix(path: str) -> socket.socket:
    """Make the socket under another name, close it to strangers, and only then give it its name.

    A socket of a daemon that has died is replaced; one that answers is not.

    Raises:
        ConfigurationError: The folder is unsafe, or the name is taken.
    """
    _check_folder(os.path.dirname(path))
    if _answers(path):
        raise ConfigurationError(
            f"cannot listen at {path}: another process does",
            hint="Let web.listen name another socket, or end the other daemon.",
        )
    draft = f"{path}~"  # one name: what a power cut left is replaced
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        bound.bind(draft)
        os.chmod(draft, _RIGHTS)
        bound.listen(_BACKLOG)
        bound.settimeout(0)
        os.rename(draft, path)
    except OSError as error:
        bound.close()
        with suppress(OSError):
            os.unlink(draft)
        raise ConfigurationError(
            f"cannot listen at {path}: {error.strerror}",
            hint="Let web.listen name a socket in a folder of drkeeper's own.",
        ) from error
    return bound


def _check_folder(folder: str) -> None:
    """Refuse a folder in which others could put another socket in the place of ours.

    Raises:
        ConfigurationError: It is such a folder, or none.
    """
    try:
        found = os.stat(folder)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen in {folder}: {error.strerror}",
            hint="Make the folder first; systemd does with RuntimeDirectory=drkeeper.",
        ) from error
    strangers = found.st_uid not in {0, os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or strangers or found.st_mode & _OTHERS_MAY_WRITE:
        raise ConfigurationError(
            f"{folder} is not a folder that only drkeeper writes to",
            hint=f"Run chmod go-w {folder}, or let web.listen name another folder.",
        )


def _answers(path: str) -> bool:
    """Tell whether somebody listens at a path.

    Raises:
        ConfigurationError: There is something else than a socket.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(
            f"cannot listen at {path}: a file is there",
            hint="Move the file away, or let web.listen name another socket.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(1)
        try:
            caller.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
