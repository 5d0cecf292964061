"""Passphrases and key files: where they come from, and whom they must not be shown to."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from drkeeper.app.config.environment import child_environment, take_secret_variable
from drkeeper.errors import ConfigurationError
from drkeeper.repository.private_file import read_private

LARGEST_SECRET = 1024 * 1024
"""Bytes of the largest key or passphrase file that is read."""
COMMAND_TIMEOUT_S = 60
"""A passphrase command may ask a person or a remote vault, but not for ever."""
_CREDENTIAL_PREFIX = "drkeeper."


def read_private_file(path: Path) -> bytes:
    """Return the content of a file, or a pipe, that holds a secret.

    Raises:
        ConfigurationError: It is missing, too large, no regular file, or not this user's alone.
    """
    return read_private(str(path), most_bytes=LARGEST_SECRET, pipe=True)


def find_secret(name: str, environment: Mapping[str, str], *, take: bool = True) -> str | None:
    """Return the secret ``name`` (``PASSPHRASE``) from the one place that holds it, or ``None``.

    In turn: ``DRKEEPER_<name>_FILE``, ``DRKEEPER_<name>_COMMAND`` (split like a shell would, run
    without one, its standard output taken), ``DRKEEPER_<name>``, and the systemd credential
    ``drkeeper.<name in lower case>``. The first line ends the secret.

    Args:
        name: Which.
        environment: The process's.
        take: Whether a variable that holds the secret itself is removed. What is asked for again
            at each reload stays; children get ``child_environment`` in any case.

    Raises:
        ConfigurationError: Two of the variables are set, or the one that is cannot be used.
    """
    variables = [f"DRKEEPER_{name}{suffix}" for suffix in ("_FILE", "_COMMAND", "")]
    given = [variable for variable in variables if environment.get(variable)]
    if len(given) > 1:
        raise ConfigurationError(
            f"both {given[0]} and {given[1]} are set", hint="Unset all but one of them."
        )
    if not given:
        return _from_credentials(name, environment)
    if given[0].endswith("_FILE"):
        return _first_line(read_private_file(Path(environment[given[0]])), given[0])
    if given[0].endswith("_COMMAND"):
        return _first_line(_output_of(environment[given[0]], given[0]), given[0])
    value = environment[given[0]]
    if take:
        take_secret_variable(given[0])
    return value


def credential_file(name: str, environment: Mapping[str, str]) -> Path | None:
    """Return the file of the systemd credential ``drkeeper.<name>``, or ``None``."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / f"{_CREDENTIAL_PREFIX}{name}"
    return path if os.path.isfile(path) else None


def _from_credentials(name: str, environment: Mapping[str, str]) -> str | None:
    path = credential_file(name.lower(), environment)
    return None if path is None else _first_line(read_private_file(path), path.name)


def _output_of(command: str, variable: str) -> bytes:
    import subprocess  # noqa: PLC0415 - few secrets come from a command

    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(
            f"{variable} cannot be split into words: {error}", hint="Close the quotes."
        ) from error
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, no shell
            argv,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=child_environment(),
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it took too long"
        raise ConfigurationError(
            f"the command of {variable} failed: {reason}", hint="Run it by hand to see why."
        ) from error
    if done.returncode != 0:
        raise ConfigurationError(
            f"the command of {variable} ended with status {done.returncode}",
            hint="Run it by hand to see why.",
        )
    return done.stdout


def _first_line(content: bytes, origin: str) -> str:
    try:
        line = content.decode().split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{origin} does not give text", hint="Give the secret as UTF-8 text."
        ) from error
    if not line:
        raise ConfigurationError(
            f"{origin} gives nothing", hint="Put the secret on its first line."
        )
    return line
