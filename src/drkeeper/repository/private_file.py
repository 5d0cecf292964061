"""Local files that nobody else may read: keys and pins.

A file appears whole or not at all, with mode 0600 from its first byte.
"""

import errno
import os
import secrets
import stat
from contextlib import suppress
from typing import Final

from drkeeper.errors import ConfigurationError, NoSpaceError
from drkeeper.faults import point

_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_OTHERS: Final = 0o077
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def create_private(path: str, data: bytes) -> None:
    """Write a new file, durable when this returns.

    Raises:
        ConfigurationError: There is such a file already, or it cannot be written.
        NoSpaceError: The file system is full.
    """
    _write(path, data, replace=False)


def replace_private(path: str, data: bytes) -> None:
    """Write a file in the place of another, durable when this returns; one or the other is there.

    The caller keeps others from replacing the same file meanwhile.

    Raises:
        ConfigurationError: It cannot be written.
        NoSpaceError: The file system is full.
    """
    _write(path, data, replace=True)


def read_private(path: str, *, most_bytes: int) -> bytes:
    """Read a file after making sure that it was nobody else's to read.

    Raises:
        ConfigurationError: It is absent, unreadable, too large, no regular file, or open to
            others.
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
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{path} is not a regular file", hint="Correct the path.")
        if status.st_mode & _OTHERS:
            raise ConfigurationError(
                f"{path} is open to other users",
                hint=f"Run chmod 600 {path} and consider its secrets known to them.",
            )
        if status.st_uid not in {0, os.geteuid()}:
            raise ConfigurationError(
                f"{path} belongs to another user", hint="Give the file to the user who runs this."
            )
        with os.fdopen(os.dup(descriptor), "rb") as file:
            data = file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise ConfigurationError(f"{path} is too large to be what it should be")
    return data


def make_private_directory(path: str) -> None:
    """Make a directory that only its owner may enter, with those above it; keep what exists.

    Raises:
        ConfigurationError: It cannot be made.
    """
    try:
        os.makedirs(path, mode=_DIRECTORY_MODE, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the directory {path}: {error.strerror}",
            hint="Choose a directory that this user may write.",
        ) from error


def _write(path: str, data: bytes, *, replace: bool) -> None:
    directory = os.path.dirname(path) or "."
    # One name for each file that is replaced, so that what a dead process left does not stay.
    stem = f".{os.path.basename(path)}" if replace else f".{secrets.token_hex(8)}"
    temporary = os.path.join(directory, f"{stem}.tmp")
    try:
        point("repository.private_file.write")
        if replace:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        _write_durably(temporary, data)
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


def _write_durably(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, _MODE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
