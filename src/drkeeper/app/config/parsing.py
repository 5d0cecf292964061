"""From the content of files to what it means: YAML, the schema, and everything that may be wrong.

This is imported only when files have to be read by the letter: that takes pydantic and PyYAML, and those
a fifth of a second.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from drkeeper.app.config.channel_making import same_variables
from drkeeper.app.config.checking import check, problem_at
from drkeeper.app.config.document import Document, read_document
from drkeeper.app.config.environment import machine_name
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.meaning import Meaning
from drkeeper.app.config.policies import Surroundings, contradictions, has_commands, policy_of
from drkeeper.app.config.problems import InvalidFilesError, Problem
from drkeeper.app.config.reading import File, Files
from drkeeper.app.config.schema import PolicyFile
from drkeeper.app.config.settings import (
    DaemonSettings,
    LogSettings,
    RepositorySettings,
    WebSettings,
)
from drkeeper.app.config.settings_schema import ChannelSection, RepositorySection, SettingsFile
from drkeeper.app.config.variables import overlaid
from drkeeper.model.policy import Policy


def meaning_of(
    files: Files, locations: Locations, *, variables: Mapping[str, str], now: datetime
) -> tuple[Meaning, list[Problem]]:
    """Return what files mean, without the policies that are wrong, and what is wrong with those.

    Raises:
        InvalidFilesError: ``drkeeper.yaml`` is wrong.
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
    meaning = Meaning(
        host=around.host,
        zone_name=settings.time_zone,
        state=settings.state,
        cache=settings.cache,
        repositories={
            name: _repository(name, section, locations)
            for name, section in settings.repositories.items()
        },
        policies=policies,
        channels=tuple(settings.notify),
        daemon=DaemonSettings(**dict(settings.daemon)),
        web=WebSettings(
            listen=settings.web.listen,
            textfile=Path(settings.web.textfile) if settings.web.textfile else None,
        ),
        log=LogSettings(**dict(settings.log)),
        ledger=settings.ledger,
    )
    return meaning, problems


def policy_in(file: File, around: Surroundings) -> Policy:
    """Return what one policy file means.

    Raises:
        InvalidFilesError: It is wrong.
    """
    document = _document(file)
    checked, problems = check(document, PolicyFile)
    if checked is not None:
        problems += contradictions(checked, document, around)
    if checked is None or problems:
        raise InvalidFilesError(problems)
    return policy_of(checked, around)


def channel_sections(file: File | None) -> Mapping[str, ChannelSection]:
    """Return what ``drkeeper.yaml`` says of channels.

    Raises:
        InvalidFilesError: It is wrong.
    """
    return _settings(file).notify


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
