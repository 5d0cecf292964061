"""The content of an installation's files, before anybody has looked at what it says."""

import os
import stat
from pathlib import Path

import msgspec
from msgspec.structs import replace

from drkeeper.app.config.files import is_there
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.problems import Problem
from drkeeper.errors import ConfigurationError
from drkeeper.faults import point

LARGEST_FILE = 1024 * 1024
"""Bytes of the largest file that is read; a policy is a page, not a book."""


class File(msgspec.Struct, frozen=True):
    """One file.

    Attributes:
        path: Where it is, for people.
        content: Its bytes; one more than allowed when it is too large.
        risk: Why somebody else may have written it; empty when only this user and root may have.
    """

    path: Path
    content: bytes
    risk: str = ""


class Files(msgspec.Struct, frozen=True):
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
            policies.append(read_file(path))
        except ConfigurationError as error:
            problems.append(Problem(str(path), None, str(error)))
    if policies:
        try:
            risk = _risk_of(os.stat(locations.policies), locations.policies)
        except OSError as error:
            message = f"cannot look at {locations.policies}: {error.strerror}"
            problems += [Problem(str(file.path), None, message) for file in policies]
            policies = []
        else:
            if risk:
                policies = [replace(file, risk=file.risk or risk) for file in policies]
    settings = locations.settings
    return Files(
        read_file(settings) if is_there(settings) else None,
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


def read_file(path: Path) -> File:
    """Return a file, or so much of it that it is known to be too large.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        point("app.config.reading.read")
        descriptor = os.open(path, os.O_RDONLY)
        try:
            status = os.fstat(descriptor)
            return File(path, _content(descriptor, status.st_size), _risk_of(status, path))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", hint="Name a file that this user may read."
        ) from error


def _content(descriptor: int, size: int) -> bytes:
    """Read a file that is believed to be so large; room for the largest is not made for each."""
    content = os.read(descriptor, min(size, LARGEST_FILE) + 1)
    if len(content) == size:
        return content  # its end was seen
    while more := os.read(descriptor, LARGEST_FILE + 1 - len(content)):
        content += more
    return content


def _risk_of(status: os.stat_result, path: Path) -> str:
    if status.st_uid not in {0, os.geteuid()}:
        return f"{path} belongs to another user"
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not sticky:
        return f"everybody can write {path}"
    return ""
