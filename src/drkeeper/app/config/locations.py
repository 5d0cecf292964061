"""Where drkeeper keeps things on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

SETTINGS_NAME = "drkeeper.yaml"
SERVICE_HOME = "/var/lib/drkeeper"
"""Home of the service's user, as systemd/sysusers.d has it: who is at home there is the service."""
ACCEPTED = "DRKEEPER_ACCEPTED"
"""Variable by which the daemon tells its runs where the copy of the files is that it has accepted."""


class Locations(msgspec.Struct, frozen=True):
    """The folders and files of one installation.

    Attributes:
        settings: ``drkeeper.yaml``; need not exist.
        policies: Folder of policies, one a file.
        keys: Folder with a folder of key files for each repository.
        state: Pins and the ledger: cannot be rebuilt without the store.
        cache: Can be rebuilt at any time.
        chosen_by: Which rule chose ``settings``, for people.
        state_fixed: Whether a variable of the environment chose ``state``.
        cache_fixed: Whether a variable of the environment chose ``cache``.
        accepted: A copy of ``settings`` and ``policies`` that is read in their place.
    """

    settings: Path
    policies: Path
    keys: Path
    state: Path
    cache: Path
    chosen_by: str
    state_fixed: bool = False
    cache_fixed: bool = False
    accepted: Path | None = None

    def with_folders(self, *, state: str | None, cache: str | None) -> "Locations":
        """Return these locations with what ``drkeeper.yaml`` says, where no variable said more."""
        return replace(
            self,
            state=Path(state) if state and not self.state_fixed else self.state,
            cache=Path(cache) if cache and not self.cache_fixed else self.cache,
        )

    @property
    def ledger(self) -> Path:
        """The ledger's database."""
        return self.state / "ledger.sqlite"


def find_locations(
    environment: Mapping[str, str], *, config: str | None = None, root: bool | None = None
) -> Locations:
    """Decide where everything is.

    ``config`` (``--config``) wins over ``DRKEEPER_CONFIG``; both name ``drkeeper.yaml`` or its folder.
    Else root and the service's user use /etc, /var/lib and /var/cache, and anybody else the XDG
    folders. Policies and keys are beside ``drkeeper.yaml``. ``DRKEEPER_STATE_DIR`` and
    ``DRKEEPER_CACHE_DIR`` win for theirs.

    Args:
        environment: The process's environment.
        config: What ``--config`` said.
        root: Whether to use the system's folders; default: whether this is the superuser.
    """
    home = Path(environment.get("HOME") or "/")
    system = (os.geteuid() == 0 or home == Path(SERVICE_HOME)) if root is None else root

    def xdg(variable: str, default: str) -> Path:
        value = environment.get(variable, "")
        return Path(value if value.startswith("/") else home / default) / "drkeeper"

    chosen_by = "the system's folders" if system else "the XDG folders"
    settings = (
        Path("/etc/drkeeper") if system else xdg("XDG_CONFIG_HOME", ".config")
    ) / SETTINGS_NAME
    for value, origin in (
        (config, "--config"),
        (environment.get("DRKEEPER_CONFIG"), "DRKEEPER_CONFIG"),
    ):
        if value:
            settings, chosen_by = _settings_of(Path(value)), origin
            break
    accepted = environment.get(ACCEPTED, "")
    state = Path("/var/lib/drkeeper") if system else xdg("XDG_STATE_HOME", ".local/state")
    cache = Path("/var/cache/drkeeper") if system else xdg("XDG_CACHE_HOME", ".cache")
    return Locations(
        settings=settings,
        policies=settings.parent / "policies.d",
        keys=settings.parent / "keys",
        state=Path(environment.get("DRKEEPER_STATE_DIR") or state).absolute(),
        cache=Path(environment.get("DRKEEPER_CACHE_DIR") or cache).absolute(),
        chosen_by=chosen_by,
        state_fixed=bool(environment.get("DRKEEPER_STATE_DIR")),
        cache_fixed=bool(environment.get("DRKEEPER_CACHE_DIR")),
        accepted=Path(accepted) if accepted.startswith("/") else None,
    )


def _settings_of(path: Path) -> Path:
    path = path.absolute()
    return path if path.suffix in {".yaml", ".yml"} else path / SETTINGS_NAME
