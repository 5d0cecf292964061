"""The process's environment, read here and nowhere else."""

import os
import socket
from collections.abc import Mapping


def environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def take_secret_variable(name: str) -> str | None:
    """Return a variable that holds a secret and remove it, so that no child inherits it."""
    return os.environ.pop(name, None)


def machine_name() -> str:
    """Return the machine's own host name, reduced to what snapshots may carry."""
    name = "".join(
        c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname()
    )
    return name.strip("-.") or "localhost"


def child_environment() -> dict[str, str]:
    """Return the few variables a child process needs; nothing of drkeeper's, no credentials."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")
    return {name: os.environ[name] for name in kept if name in os.environ}
