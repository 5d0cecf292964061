"""Write configuration files: whole, durable, never over another."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from drkeeper.errors import ConfigurationError, NoSpaceError
from drkeeper.faults import point


def write_new(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a new file, making its folder first; durable when this returns.

    Raises:
        ConfigurationError: The file exists already, or cannot be written.
        NoSpaceError: The file system is full.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        point("app.config.files.write")
        try:
            _write(temporary, content, mode)
            os.link(temporary, path)  # unlike a rename, a link never replaces
            point("app.config.files.written")
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} exists already", hint="Move it away, or choose another name."
        ) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpaceError(f"no space to write {path}", hint="Free some space.") from error
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}",
            hint="Give this user the right to write there.",
        ) from error


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
    missing = [place for place in (folder, *folder.parents) if not is_there(place)]
    try:
        for place in reversed(missing):
            point("app.config.files.folder")
            place.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpaceError(f"no space to make {folder}", hint="Free some space.") from error
        raise ConfigurationError(
            f"cannot make {folder}: {error.strerror}",
            hint="Give this user the right to write there.",
        ) from error


def _write(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
