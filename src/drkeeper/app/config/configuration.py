"""Read ``drkeeper.yaml`` and the policies, and answer by name."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from drkeeper.app.config.accepted import read_accepted
from drkeeper.app.config.channels import Channels
from drkeeper.app.config.environment import environment, machine_name
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.meaning import keep, recall
from drkeeper.app.config.problems import InvalidFilesError, Problem, did_you_mean
from drkeeper.app.config.reading import Files, policy_files, read_file, read_files
from drkeeper.app.config.secrets import find_secret
from drkeeper.app.config.settings import (
    DaemonSettings,
    LogSettings,
    RepositorySettings,
    WebSettings,
)
from drkeeper.clock import Clock, SystemClock
from drkeeper.errors import ConfigurationError
from drkeeper.model.channel import Channel
from drkeeper.model.policy import Policy

__all__ = [
    "NO_KEYS",
    "Configuration",
    "RepositorySettings",
    "configuration_of",
    "load_configuration",
    "load_policy_file",
    "policy_files",
]

NO_KEYS: Final = Path("/nonexistent")
"""Folder of the keys of a store that is not configured: only keys that are named open it."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything the files say, checked.

    Attributes:
        locations: Where it was read from.
        host: Name of this machine in snapshots.
        zone_name: Zone of policies that name none.
        repositories: By name.
        policies: By name; only those whose files are right.
        problems: What is wrong with the other policy files. A broken policy stops nobody who
            does not ask for it: on a bad day the others must still restore.
        channels: By name; one is made, and its secrets asked for, when it is asked for.
        daemon: How the daemon works.
        web: Its page, metrics and health.
        log: What is logged, and how.
        ledger: URL of a shared ledger, with its password; ``None`` for ``locations.ledger``.
    """

    locations: Locations
    host: str
    zone_name: str
    repositories: dict[str, RepositorySettings] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    web: WebSettings = field(default_factory=WebSettings)
    log: LogSettings = field(default_factory=LogSettings)
    ledger: str | None = field(default=None, repr=False)

    def repository(self, name: str) -> RepositorySettings:
        """Return the repository of this name.

        Raises:
            ConfigurationError: There is none.
        """
        found = self.repositories.get(name)
        if found is None:
            known = ", ".join(self.repositories) or "none"
            raise ConfigurationError(
                f"no repository {name!r} in {self.locations.settings} (there: {known})",
                hint="Run drkeeper init STORE, or add the repository to the file.",
            )
        return found

    def policy(self, name: str) -> Policy:
        """Return the policy of this name.

        Raises:
            InvalidFilesError: There is none, and some policy files could not be read.
            ConfigurationError: There is none.
        """
        found = self.policies.get(name)
        if found is not None:
            return found
        if self.problems:
            raise InvalidFilesError(self.problems)
        guess = did_you_mean(name, list(self.policies))
        raise ConfigurationError(
            f"no policy {name!r} in {self.locations.policies}{guess}",
            hint=f"Run drkeeper policy new {name} to begin one, or drkeeper config show to list them.",
        )

    def definitions(self) -> dict[str, str]:
        """Return a digest of what each policy means, hex, by name.

        It changes when the meaning does, not with comments or spelling; and it is the same on every
        host that shares a ledger.
        """
        return {
            name: hashlib.blake2b(
                repr(replace(policy, offset=timedelta())).encode(), digest_size=16
            ).hexdigest()
            for name, policy in self.policies.items()
        }


def load_configuration(
    locations: Locations,
    *,
    variables: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> Configuration:
    """Read all files of an installation; absent ones count as empty.

    With ``locations.accepted``, the daemon's copy of them is read instead: its runs do what it has
    found to be right, and not what somebody is just writing.

    Args:
        locations: Where they are.
        variables: The environment; default: this process's.
        clock: Tells how far away the ends of pauses are.

    Raises:
        InvalidFilesError: ``drkeeper.yaml`` is wrong. Wrong policies are in ``problems`` instead.
        ConfigurationError: A file or folder exists and cannot be read, or a variable is wrong.
    """
    accepted = locations.accepted
    return configuration_of(
        read_files(locations) if accepted is None else read_accepted(accepted),
        locations,
        variables=environment() if variables is None else variables,
        now=(clock or SystemClock()).now(),
    )


def configuration_of(
    files: Files, locations: Locations, *, variables: Mapping[str, str], now: datetime
) -> Configuration:
    """Return what the content of files means.

    Raises:
        InvalidFilesError: ``drkeeper.yaml`` is wrong. Wrong policies are in ``problems`` instead.
        ConfigurationError: A variable is wrong.
    """
    meaning = recall(files, locations, variables)
    problems: list[Problem] = []
    if meaning is None:
        from drkeeper.app.config.parsing import meaning_of  # noqa: PLC0415 - it takes 0.2 s

        meaning, problems = meaning_of(files, locations, variables=variables, now=now)
        if not problems:
            keep(meaning, files, locations, variables)
    return Configuration(
        locations=locations.with_folders(state=meaning.state, cache=meaning.cache),
        host=meaning.host,
        zone_name=meaning.zone_name,
        repositories=meaning.repositories,
        policies=meaning.policies,
        problems=tuple(problems),
        channels=Channels(meaning.channels, files.settings, variables),
        daemon=meaning.daemon,
        web=dataclasses.replace(meaning.web, token=find_secret("WEB_TOKEN", variables, take=False)),
        log=meaning.log,
        ledger=_ledger(meaning.ledger, variables),
    )


def load_policy_file(
    path: Path, zone_name: str = "UTC", *, host: str | None = None, clock: Clock | None = None
) -> Policy:
    """Read one policy file by its path, without asking for its repository and channels.

    Raises:
        InvalidFilesError: It is wrong.
        ConfigurationError: It cannot be read.
    """
    from drkeeper.app.config.parsing import policy_in  # noqa: PLC0415 - it takes 0.2 s
    from drkeeper.app.config.policies import Surroundings  # noqa: PLC0415 - as above

    around = Surroundings(
        host=host or machine_name(), zone_name=zone_name, now=(clock or SystemClock()).now()
    )
    return policy_in(read_file(path), around)


def _ledger(url: str | None, variables: Mapping[str, str]) -> str | None:
    """Return the ledger's URL with its password, when one is given; libpq knows other ways.

    Raises:
        ConfigurationError: There is no user whose password it could be.
    """
    if url is None:
        return None
    password = find_secret("LEDGER_PASSWORD", variables, take=False)
    if password is None:
        return url
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    if not at:
        raise ConfigurationError(
            "there is a password of the ledger, and no user in its URL",
            hint="Write ledger: postgresql://user@host/database.",
        )
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}").geturl()
