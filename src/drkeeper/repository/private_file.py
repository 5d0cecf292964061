"""Local files of drkeeper's own, keys and pins first of all.

A file appears whole or not at all, with its mode from its first byte: 0600, unless it holds no secret.
"""

import errno
import os
import pwd
import secrets
import shlex
import stat
from contextlib import suppress
from typing import Final

from drkeeper import directories
from drkeeper.errors import ConfigurationError, NoSpaceError
from drkeeper.faults import point

_MODE: Final = 0o600
_OTHERS: Final = 0o077
_UNIQUE_BYTES: Final = 4
_SUFFIX: Final = ".tmp"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def create_private(path: str, data: bytes, *, mode: int = _MODE) -> None:
    """Write a new file, durable when this returns.

    Args:
        path: Where; its directory exists.
        data: All of it.
        mode: For a file without secrets, which others may read as well.

    Raises:
        ConfigurationError: There is such a file already, or it cannot be written.
        NoSpaceError: The file system is full.
    """
    _write(path, data, mode, replace=False)


def replace_private(path: str, data: bytes) -> None:
    """Write a file in the place of another, durable when this returns; one or the other is there.

    The caller keeps others from replacing the same file meanwhile.

    Raises:
        ConfigurationError: It cannot be written.
        NoSpaceError: The file system is full.
    """
    _write(path, data, _MODE, replace=True)


def remove_leftovers(path: str) -> None:
    """Remove what processes left that died while they wrote this file; none may be writing it now."""
    directory, name = os.path.split(path)
    with suppress(OSError):
        for found in os.listdir(directory or "."):
            if found.startswith(f".{name}.") and found.endswith(_SUFFIX):
                os.unlink(os.path.join(directory, found))


def read_private(path: str, *, most_bytes: int, pipe: bool = False) -> bytes:
    """Read a file after making sure that it was nobody else's to read.

    Args:
        path: Which one.
        most_bytes: Longest content.
        pipe: Take a pipe as well, such as the shell's ``<( )`` gives: as private as its process.

    Raises:
        ConfigurationError: It is absent, unreadable, too large, no regular file, open to others, or
            another user's.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}",
            hint="Correct the path, or run as the user who owns the file.",
        ) from error
    try:
        status = os.fstat(descriptor)
        if not (pipe and stat.S_ISFIFO(status.st_mode)):
            _refuse_shared(path, status)
        # A pipe has a writer that may not be ready yet.
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise ConfigurationError(
            f"{path} is larger than {most_bytes} bytes", hint="Name the file that was meant."
        )
    return data


def _refuse_shared(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{path} is not a regular file", hint="Correct the path.")
    # systemd owns that folder and mounts it for one service only; its files may be 0440.
    credential = os.path.abspath(path).startswith("/run/credentials/")
    if status.st_mode & _OTHERS and not credential:
        raise ConfigurationError(
            f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"Run chmod 600 {shlex.quote(path)}, and replace the secret if it was seen.",
        )
    if status.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(
            f"{path} belongs to another user, {_owner(status.st_uid)}", hint=_hint(status.st_uid)
        )


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _hint(uid: int) -> str:
    # Given to root, the file would be lost to the service that it belongs to.
    if os.geteuid() == 0:
        return f"Run this as {_owner(uid)}; for a restore with root's rights see docs/systemd.md."
    return f"Run this as {_owner(uid)}, or give the file to the user who runs this."


def make_private_directory(path: str) -> None:
    """Make a directory that only its owner may enter, with those above it; keep what exists.

    Raises:
        ConfigurationError: It cannot be made.
        NoSpaceError: The file system is full.
    """
    try:
        point("repository.private_file.directory")
        directories.make_private(path)
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError(
                f"no space to make {path}", hint="Free space on this file system."
            ) from error
        raise ConfigurationError(
            f"cannot make the directory {path}: {error.strerror}",
            hint="Choose a directory that this user may write.",
        ) from error


def _write(path: str, data: bytes, mode: int, *, replace: bool) -> None:
    directory = os.path.dirname(path) or "."
    # One name for each file that is replaced, so that what a dead process left does not stay.
    unique = "" if replace else f".{secrets.token_hex(_UNIQUE_BYTES)}"
    temporary = os.path.join(directory, f".{os.path.basename(path)}{unique}{_SUFFIX}")
    try:
        point("repository.private_file.write")
        if replace:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        _write_durably(temporary, data, mode)
        point("repository.private_file.written")
        if replace:
            os.replace(temporary, path)
        else:
            # Unlike rename, link never takes the place of a file that is there.
            os.link(temporary, path)
            os.unlink(temporary)
        point("repository.private_file.published")
        _sync_directory(directory)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} exists already", hint="Choose another name, or move the file away."
        ) from error
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError(
                f"no space to write {path}", hint="Free space on this file system."
            ) from error
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}",
            hint="Choose a directory that this user may write.",
        ) from error
    finally:
        with suppress(OSError):  # never hides the first error
            os.unlink(temporary)


def _write_durably(path: str, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
