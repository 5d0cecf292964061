"""Write configuration files and folders: whole, durable, never over another."""

import errno
import os
from pathlib import Path

from drkeeper.errors import ConfigurationError, NoSpaceError
from drkeeper.faults import point
from drkeeper.repository.private_file import create_private, make_private_directory


def write_new(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a new file, making its folder first; durable when this returns.

    Raises:
        ConfigurationError: The file exists already, or cannot be written.
        NoSpaceError: The file system is full.
    """
    try:
        point("app.config.files.write")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpaceError(f"no space to write {path}", hint="Free some space.") from error
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}",
            hint="Give this user the right to write there.",
        ) from error
    create_private(str(path), content, mode=mode)


def is_there(path: Path) -> bool:
    """Return whether there is anything at ``path``.

    Raises:
        ConfigurationError: This user may not know.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigurationError(
            f"cannot look at {path}: {error.strerror}",
            hint="Run this as a user who may, or name another place.",
        ) from error
    return True


def make_private(folder: Path) -> None:
    """Make a folder, and those above it, for this user only; what exists stays as it is.

    Raises:
        ConfigurationError: It cannot be made.
        NoSpaceError: The file system is full.
    """
    make_private_directory(str(folder))
