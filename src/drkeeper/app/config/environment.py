"""The process's environment, read here and nowhere else."""

import os
from collections.abc import Mapping
from pathlib import Path

from drkeeper.app.config.locations import ACCEPTED

_NOT_FOR_RUNS = ("DRKEEPER_NOTIFY_", "DRKEEPER_WEB_", "NOTIFY_SOCKET", "WATCHDOG_")


def environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def take_secret_variable(name: str) -> str | None:
    """Return a variable that holds a secret and remove it, so that no child inherits it."""
    return os.environ.pop(name, None)


def machine_name() -> str:
    """Return the machine's own host name, reduced to what snapshots may carry."""
    name = "".join(
        c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in os.uname().nodename
    )
    return name.strip("-.") or "localhost"


def child_environment() -> dict[str, str]:
    """Return the few variables a child process needs; nothing of drkeeper's, no credentials."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")
    return {name: os.environ[name] for name in kept if name in os.environ}


def bare_environment(root: Path) -> dict[str, str]:
    """Return the variables of a drkeeper that knows nothing of this machine.

    All its folders are below ``root``. It has the credentials of the store that whoever rebuilds a machine
    sets up first (``AWS_...``), and nothing else of drkeeper's or of the user's.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AWS_") or name in {"PATH", "LANG", "LC_ALL", "PYTHONPATH"}
    }
    own = {
        "HOME": "home",
        "DRKEEPER_CONFIG": "etc",
        "DRKEEPER_STATE_DIR": "state",
        "DRKEEPER_CACHE_DIR": "cache",
    }
    return kept | {name: str(root / folder) for name, folder in own.items()}


def run_environment(accepted: Path | None) -> dict[str, str]:
    """Return the variables of a run: a child process that is drkeeper itself.

    It needs drkeeper's own variables and credentials, but neither the web page's secrets nor those
    of channels.

    Args:
        accepted: The copy of the files that it is to read, as ``Locations.accepted`` has it.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_RUNS)}
    if accepted is not None:
        kept[ACCEPTED] = str(accepted)
    return kept
