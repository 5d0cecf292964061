"""Read the files again while the daemon works, and never let go of what was right.

A policy file that is wrong, or half written, leaves its last good version in force; one that is
removed takes its policy with it. A ``drkeeper.yaml`` that is wrong, or that takes from a policy what
it needs, leaves the last good one in force. Everything that is wrong is said all the same.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from drkeeper.app.config.accepted import NAME, read_accepted, write_accepted
from drkeeper.app.config.configuration import Configuration, configuration_of
from drkeeper.app.config.environment import environment
from drkeeper.app.config.files import is_there
from drkeeper.app.config.locations import Locations
from drkeeper.app.config.problems import InvalidFilesError, Problem
from drkeeper.app.config.reading import Files, read_files
from drkeeper.clock import Clock
from drkeeper.errors import ConfigurationError, DrkeeperError

_NOTHING: Final = Files(None)


class _Settled(msgspec.Struct, frozen=True):
    """What is in force.

    Attributes:
        configuration: What it means.
        files: What it says; all of it right.
        problems: What is wrong with the files as they are.
    """

    configuration: Configuration
    files: Files
    problems: tuple[Problem, ...]


class Reloader:
    """Remembers the last files that were right; for one thread.

    Args:
        locations: Where the files are.
        clock: Tells how far away the ends of pauses are.
        variables: The environment; default: this process's.
        keeps: Whether a copy is written of what is right; only one process at a time may.
    """

    def __init__(
        self,
        locations: Locations,
        *,
        clock: Clock,
        variables: Mapping[str, str] | None = None,
        keeps: bool = True,
    ) -> None:
        self._keeps = keeps
        self._locations = replace(locations, accepted=None)
        self._variables = environment() if variables is None else variables
        self._clock = clock
        # A clock that is set back must not make the end of a pause look too far away.
        self._now = clock.now()
        self._good = _NOTHING
        self._kept: Files | None = None
        self._configuration: Configuration | None = None

    def reload(self) -> tuple[Configuration, tuple[Problem, ...]]:
        """Read all files, and return what is in force from now on and what is wrong with them.

        The problems are those of the files as they are, also when an older version of a file is in
        force; they are in the configuration, too.

        Raises:
            ConfigurationError: ``drkeeper.yaml`` is wrong, or cannot be read, and no good version
                of it is known, of this process or of an earlier one.
        """
        is_first, usual = self._configuration is None, self._locations.state / NAME
        good = _Past(lambda: self._remembered(usual) if is_first else self._good)
        self._now = max(self._now, self._clock.now())
        try:
            fresh = read_files(self._locations)
            settled = self._settled(fresh, good)
            if is_first and good.was_asked and (place := _place(settled.configuration)) != usual:
                # drkeeper.yaml names another folder.
                settled = self._settled(fresh, _Past(lambda: self._remembered(place)))
        except ConfigurationError as error:
            if self._configuration is None:
                raise
            found = _problems_of(error, self._locations)
            self._configuration = dataclasses.replace(self._configuration, problems=found)
            return self._configuration, found
        self._good = settled.files
        place = _place(settled.configuration)
        problems = (*settled.problems, *self._keep(settled.files, place))
        locations = replace(
            settled.configuration.locations, accepted=place if self._kept == self._good else None
        )
        self._configuration = dataclasses.replace(
            settled.configuration, problems=problems, locations=locations
        )
        return self._configuration, problems

    def _remembered(self, place: Path) -> Files:
        """Return what an earlier process found right; nothing, when there is no such thing."""
        try:
            files = read_accepted(place) if is_there(place) else _NOTHING
        except ConfigurationError:
            return _NOTHING  # it is written again at once
        # Another configuration may have used the same folder.
        same = files.settings is not None and files.settings.path == self._locations.settings
        return files if same else _NOTHING

    def _keep(self, files: Files, place: Path) -> tuple[Problem, ...]:
        if files == self._kept or not self._keeps:
            return ()
        try:
            write_accepted(place, files)
        except DrkeeperError as error:
            return (Problem(str(place), None, f"{error}; runs read the files themselves"),)
        self._kept = files
        return ()

    def _completed(self, fresh: Files, good: "_Past") -> Files:
        """Replace what is there and cannot be read by its last good version."""
        folder = self._locations.policies
        if not fresh.policies and not is_there(folder) and good.files.policies:
            gone = Problem(str(folder), None, "the folder is gone; its policies stay in force")
            return replace(fresh, policies=good.files.policies, problems=(gone,))
        if not fresh.problems:
            return fresh
        unread = {problem.file for problem in fresh.problems}
        old = tuple(file for file in good.files.policies if str(file.path) in unread)
        return replace(fresh, policies=(*fresh.policies, *old))

    def _settled(self, read: Files, good: "_Past") -> _Settled:
        fresh = self._completed(read, good)
        try:
            settled = self._with_policies(fresh, good)
        except ConfigurationError as error:
            if good.files.settings is None:
                raise
            problems = _problems_of(error, self._locations)
        else:
            if not settled.problems or good.files.settings is None:
                return settled
            if not _is_one_lost(fresh, settled.files, good.files):
                return settled
            problems = settled.problems
        settled = self._with_policies(replace(fresh, settings=good.files.settings), good)
        more = tuple(each for each in settled.problems if each not in problems)
        return replace(settled, problems=(*problems, *more))

    def _with_policies(self, fresh: Files, good: "_Past") -> _Settled:
        """Replace wrong policies by their last good versions, and leave out those without one.

        Raises:
            ConfigurationError: ``drkeeper.yaml`` is wrong.
        """
        configuration = self._meaning(fresh)
        first = (*fresh.problems, *configuration.problems)
        if not configuration.problems:
            return _Settled(configuration, Files(fresh.settings, fresh.policies), first)
        old = {file.path: file for file in good.files.policies}
        # A second file of the same name does not push out the one that was there.
        policies = tuple(sorted(fresh.policies, key=lambda file: file.path not in old))
        if policies != fresh.policies:
            configuration = self._meaning(replace(fresh, policies=policies))
            first = (*fresh.problems, *configuration.problems)
        while True:
            wrong = {problem.file for problem in configuration.problems}
            replaced = tuple(
                old.get(file.path, file) if str(file.path) in wrong else file for file in policies
            )
            if replaced == policies:
                right = tuple(file for file in policies if str(file.path) not in wrong)
                return _Settled(configuration, Files(fresh.settings, right), first)
            policies = replaced
            configuration = self._meaning(replace(fresh, policies=policies))

    def _meaning(self, files: Files) -> Configuration:
        whole = Files(files.settings, files.policies)
        return configuration_of(whole, self._locations, variables=self._variables, now=self._now)


class _Past:
    """What was right when it was last looked at; looked for only when something is wrong now.

    Args:
        ask: Looks for it.
    """

    def __init__(self, ask: Callable[[], Files]) -> None:
        self._ask = ask
        self.was_asked = False

    @cached_property
    def files(self) -> Files:
        """The files."""
        self.was_asked = True
        return self._ask()


def refuse_nothing(configuration: Configuration) -> None:
    """Keep nobody in the belief that something is kept or looked at; no policy yet is another matter.

    Raises:
        ConfigurationError: There is neither a ``drkeeper.yaml`` nor a copy of a good one.
    """
    settings = configuration.locations.settings
    if not (configuration.policies or is_there(settings)):
        raise ConfigurationError(
            f"there is no {settings}", hint="Run drkeeper init, or say where it is with --config."
        )


def _is_one_lost(fresh: Files, settled: Files, good: Files) -> bool:
    """Return whether a policy that was in force, and whose file is there, would not be any more."""
    there = {file.path for file in fresh.policies}
    right = {file.path for file in settled.policies}
    return any(file.path in there - right for file in good.policies)


def _place(configuration: Configuration) -> Path:
    return configuration.locations.state / NAME


def _problems_of(error: ConfigurationError, locations: Locations) -> tuple[Problem, ...]:
    if isinstance(error, InvalidFilesError):
        return error.problems
    return (Problem(str(locations.settings), None, str(error)),)


def in_force(locations: Locations, *, clock: Clock, keeps: bool = False) -> Configuration:
    """Return what a daemon has in force, with what is wrong with the files.

    Args:
        locations: Where the files are.
        clock: Tells how far away the ends of pauses are.
        keeps: Whether a copy is written of what is right, as a daemon does; only one process at a
            time may. Otherwise nothing is changed.

    Raises:
        ConfigurationError: ``drkeeper.yaml`` is wrong, and no good version of it is known.
    """
    return Reloader(locations, clock=clock, keeps=keeps).reload()[0]
