"""Read ``drkeeper.yaml`` and the policies, and answer by name."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from drkeeper.app.config.accepted import read_accepted
from drkeeper.app.config.channels import Channels, same_variables
from drkeeper.app.config.checking import check, problem_at
from drkeeper.app.config.document import Document, read_document
from drkeeper.app.config.environment import environment, machine_name
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.policies import Surroundings, contradictions, has_commands, policy_of
from drkeeper.app.config.problems import InvalidFilesError, Problem, did_you_mean
from drkeeper.app.config.reading import File, Files, policy_files, read_file, read_files
from drkeeper.app.config.schema import PolicyFile
from drkeeper.app.config.secrets import find_secret
from drkeeper.app.config.settings import (
    DaemonSettings,
    LogSettings,
    RepositorySettings,
    WebSettings,
)
from drkeeper.app.config.settings_schema import RepositorySection, SettingsFile
from drkeeper.app.config.variables import overlaid
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
    settings = overlaid(_settings(files.settings), variables)
    around = Surroundings(
        host=settings.host or machine_name(),
        zone_name=settings.time_zone,
        now=now,
        repositories=settings.repositories,
        channels=settings.notify,
        settings=locations.settings,
    )
    policies, problems = _policies(files, around)
    return Configuration(
        locations=locations.with_folders(state=settings.state, cache=settings.cache),
        host=around.host,
        zone_name=settings.time_zone,
        repositories={
            name: _repository(name, section, locations)
            for name, section in settings.repositories.items()
        },
        policies=policies,
        problems=tuple(problems),
        channels=Channels(settings.notify, variables),
        daemon=DaemonSettings(**dict(settings.daemon)),
        web=WebSettings(
            listen=settings.web.listen,
            token=find_secret("WEB_TOKEN", variables, take=False),
            textfile=Path(settings.web.textfile) if settings.web.textfile else None,
        ),
        log=LogSettings(**dict(settings.log)),
        ledger=_ledger(settings.ledger, variables),
    )


def load_policy_file(
    path: Path, zone_name: str = "UTC", *, host: str | None = None, clock: Clock | None = None
) -> Policy:
    """Read one policy file by its path, without asking for its repository and channels.

    Raises:
        InvalidFilesError: It is wrong.
        ConfigurationError: It cannot be read.
    """
    around = Surroundings(
        host=host or machine_name(), zone_name=zone_name, now=(clock or SystemClock()).now()
    )
    document = _document(read_file(path))
    checked, problems = check(document, PolicyFile)
    if checked is not None:
        problems += contradictions(checked, document, around)
    if checked is None or problems:
        raise InvalidFilesError(problems)
    return policy_of(checked, around)


def _document(file: File) -> Document:
    return read_document(str(file.path), file.content)


def _settings(file: File | None) -> SettingsFile:
    if file is None:
        return SettingsFile()
    document = _document(file)
    settings, problems = check(document, SettingsFile)
    if settings is not None:
        problems += [
            problem_at(
                document,
                ("notify", name),
                f"the secrets of channels {other!r} and {name!r} would have the same variables",
            )
            for other, name in same_variables(settings.notify)
        ]
    if settings is None or problems:
        raise InvalidFilesError(problems)
    return settings


def _repository(name: str, section: RepositorySection, locations: Locations) -> RepositorySettings:
    folder = locations.settings.parent
    keys = folder / section.keys if section.keys else locations.keys / name
    return RepositorySettings(
        name=name,
        store=section.store,
        keys=keys,
        endpoint=section.endpoint,
        region=section.region,
        path_style=section.path_style,
        profile=section.profile,
        ca=section.ca,
        upload_rate=section.limits.upload,
        download_rate=section.limits.download,
        check_within=section.check_within,
    )


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


def _policies(files: Files, around: Surroundings) -> tuple[dict[str, Policy], list[Problem]]:
    policies: dict[str, Policy] = {}
    places: dict[str, Path] = {}
    problems = list(files.problems)
    for file in files.policies:
        document = _document(file)
        checked, found = check(document, PolicyFile)
        if checked is not None and checked.policy in places:
            message = f"policy {checked.policy!r} is in {places[checked.policy]} already"
            found.append(problem_at(document, ("policy",), message))
        elif checked is not None:
            places[checked.policy] = file.path
            found += contradictions(checked, document, around)
            if file.risk and has_commands(checked):
                message = f"{file.risk}, and these commands run with the rights of drkeeper"
                found.append(problem_at(document, ("hooks",), message))
        problems += found
        if checked is not None and not found:
            policies[checked.policy] = policy_of(checked, around)
    return policies, problems
