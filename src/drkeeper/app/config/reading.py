"""The content of an installation's files, before anybody has looked at what it says."""

import os
from dataclasses import dataclass
from pathlib import Path

from drkeeper.app.config.document import LARGEST_FILE
from drkeeper.app.config.files import is_there
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.problems import Problem
from drkeeper.errors import ConfigurationError
from drkeeper.faults import point


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        path: Where it is, for people.
        content: Its bytes; one more than allowed when it is too large.
    """

    path: Path
    content: bytes


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one installation at about one moment.

    Attributes:
        settings: ``drkeeper.yaml``, or ``None`` when there is none.
        policies: In order of their names.
        problems: Policies that could not be read.
    """

    settings: File | None
    policies: tuple[File, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_files(locations: Locations) -> Files:
    """Read all files of an installation.

    Raises:
        ConfigurationError: ``drkeeper.yaml`` or the folder of policies is there and cannot be read.
    """
    policies: list[File] = []
    problems: list[Problem] = []
    for path in policy_files(locations):
        try:
            policies.append(File(path, read_whole(path)))
        except ConfigurationError as error:
            problems.append(Problem(str(path), None, str(error)))
    settings = locations.settings
    return Files(
        File(settings, read_whole(settings)) if is_there(settings) else None,
        tuple(policies),
        tuple(problems),
    )


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


def read_whole(path: Path) -> bytes:
    """Return the content of a file, or so much of it that it is known to be too large.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        point("app.config.reading.read")
        with open(path, "rb") as file:
            return file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", hint="Name a file that this user may read."
        ) from error
