"""Read ``drkeeper.yaml`` and the policies, and answer by name."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from drkeeper.app.config.checking import check, problem_at
from drkeeper.app.config.document import LARGEST_FILE, Document, read_document
from drkeeper.app.config.environment import machine_name
from drkeeper.app.config.files import is_there
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.problems import InvalidFilesError, Problem, did_you_mean
from drkeeper.app.config.schema import PolicyFile, RepositorySection, SettingsFile
from drkeeper.errors import ConfigurationError
from drkeeper.model.policy import FilesSource, Limits, Objectives, Policy
from drkeeper.model.retention import Retention

NO_KEYS: Final = Path("/nonexistent")
"""Folder of the keys of a store that is not configured: only keys that are named open it."""


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """Where one repository is and how to reach it.

    Attributes:
        name: Its name in this configuration.
        store: ``/folder``, ``file://…`` or ``s3://bucket/prefix``.
        keys: Folder of its key files.
        endpoint: URL of the S3 server, or ``None`` for AWS.
        region: S3 region.
        path_style: Whether the bucket stands in the path; ``None`` to decide by the endpoint.
        profile: Profile of the AWS configuration files.
        ca: File of certificates to trust.
        upload_rate: Most bytes a second sent.
        download_rate: Most bytes a second fetched.
    """

    name: str
    store: str
    keys: Path
    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    profile: str | None = None
    ca: str | None = None
    upload_rate: int | None = None
    download_rate: int | None = None


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
    """

    locations: Locations
    host: str
    zone_name: str
    repositories: dict[str, RepositorySettings] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

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


def load_configuration(locations: Locations) -> Configuration:
    """Read all files of an installation; absent ones count as empty.

    Raises:
        InvalidFilesError: ``drkeeper.yaml`` is wrong. Wrong policies are in ``problems`` instead.
        ConfigurationError: A file or folder exists and cannot be read.
    """
    settings = _settings(locations)
    placed = locations.with_folders(state=settings.state, cache=settings.cache)
    repositories = {
        name: _repository(name, section, locations)
        for name, section in settings.repositories.items()
    }
    policies, problems = _policies(locations, settings, repositories)
    return Configuration(
        locations=placed,
        host=settings.host or machine_name(),
        zone_name=settings.time_zone,
        repositories=repositories,
        policies=policies,
        problems=tuple(problems),
    )


def load_policy_file(path: Path, zone_name: str = "UTC") -> Policy:
    """Read one policy file by its path, without asking for its repository.

    Raises:
        InvalidFilesError: It is wrong.
        ConfigurationError: It cannot be read.
    """
    checked, _, problems = _policy_model(path)
    if checked is None:
        raise InvalidFilesError(problems)
    return _policy(checked, zone_name)


def policy_files(locations: Locations) -> list[Path]:
    """Return the policy files, sorted by name: ``*.yaml`` and ``*.yml``, no hidden ones.

    Raises:
        ConfigurationError: The folder exists and cannot be listed.
    """
    try:
        names = sorted(os.listdir(locations.policies))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(
            f"cannot list {locations.policies}: {error.strerror}",
            hint="Give this user the right to read the folder.",
        ) from error
    return [
        locations.policies / name
        for name in names
        if name.endswith((".yaml", ".yml")) and not name.startswith(".")
    ]


def _settings(locations: Locations) -> SettingsFile:
    if not is_there(locations.settings):
        return SettingsFile()
    document = _read(locations.settings)
    settings, problems = check(document, SettingsFile)
    if settings is None:
        raise InvalidFilesError(problems)
    return settings


def _read(path: Path) -> Document:
    try:
        with open(path, "rb") as file:
            # One byte more than allowed is enough to know that it is too large.
            return read_document(str(path), file.read(LARGEST_FILE + 1))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", hint="Name a file that this user may read."
        ) from error


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
    )


def _policy_model(path: Path) -> tuple[PolicyFile | None, Document, list[Problem]]:
    document = _read(path)
    checked, problems = check(document, PolicyFile)
    return checked, document, problems


def _policies(
    locations: Locations, settings: SettingsFile, repositories: Mapping[str, RepositorySettings]
) -> tuple[dict[str, Policy], list[Problem]]:
    policies: dict[str, Policy] = {}
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for path in policy_files(locations):
        try:
            checked, document, found = _policy_model(path)
        except ConfigurationError as error:
            problems.append(Problem(str(path), None, str(error)))
            continue
        problems += found
        if checked is None:
            continue
        if checked.policy in files:
            message = f"policy {checked.policy!r} is in {files[checked.policy]} already"
            problems.append(problem_at(document, ("policy",), message))
            continue
        files[checked.policy] = str(path)
        if checked.repository not in repositories:
            guess = did_you_mean(checked.repository, list(repositories))
            message = f"no repository {checked.repository!r} in {locations.settings}{guess}"
            problems.append(problem_at(document, ("repository",), message))
            continue
        policies[checked.policy] = _policy(checked, settings.time_zone)
    return policies, problems


def _policy(file: PolicyFile, default_zone: str) -> Policy:
    zone_name = file.time_zone or default_zone
    files = file.source.files
    kept = file.retention
    return Policy(
        name=file.policy,
        source=FilesSource(
            paths=tuple(files.paths),
            exclude=tuple(files.exclude),
            exclude_caches=files.exclude_caches,
            one_file_system=files.one_file_system,
            exclude_larger_than=files.exclude_larger_than,
        ),
        repository=file.repository,
        zone_name=zone_name,
        zone=ZoneInfo(zone_name),
        schedule=file.schedule,
        retention=Retention(
            last=kept.last,
            within=kept.within or timedelta(),
            hourly=kept.hourly,
            daily=kept.daily,
            weekly=kept.weekly,
            monthly=kept.monthly,
            yearly=kept.yearly,
        ),
        objectives=Objectives(rpo=file.objectives.rpo, rto=file.objectives.rto),
        tags=dict(file.tags),
        limits=Limits(
            memory_bytes=file.limits.memory,
            workers=file.limits.workers,
            compression_level=file.limits.compression,
        ),
    )
