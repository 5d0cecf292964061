"""Remove a directory that somebody hostile may have filled.

However deep it is, and whatever its rights: a directory with something in it is not entered but
emptied into the one at the top, so that neither paths nor the stack grow. No link is followed.
"""

import os
import stat
from contextlib import suppress
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PREFIX: Final = ".removing-"


def remove_tree(path: str | bytes | os.PathLike[str]) -> None:
    """Remove a directory and all below it; what is gone already is no error.

    Nobody else may be at work below it any more.

    Raises:
        OSError: Something cannot be removed.
    """
    try:
        top = _open(path)
    except FileNotFoundError:
        return
    try:
        count = 0
        while names := os.listdir(top):
            for name in names:
                count = _remove(top, name, count)
    finally:
        os.close(top)
    os.rmdir(path)


def _remove(top: int, name: str, count: int) -> int:
    """Remove one entry of the top; directories in it become entries of the top."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=top)
        return count
    inner = _open(name, top)
    try:
        for below in os.listdir(inner):
            if stat.S_ISDIR(os.stat(below, dir_fd=inner, follow_symlinks=False).st_mode):
                # To move a directory is to write in it: its parent becomes another one.
                _open_up(below, inner)
                count = _free_name(top, count)
                os.rename(below, f"{_PREFIX}{count}", src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(below, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)
    return count


def _free_name(top: int, count: int) -> int:
    """Return the next number that no entry of the top has; a program may have thought of them."""
    while True:
        count += 1
        try:
            os.stat(f"{_PREFIX}{count}", dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            return count


def _open(path: str | bytes | os.PathLike[str], parent: int | None = None) -> int:
    _open_up(path, parent)
    return os.open(path, _FLAGS, dir_fd=parent)


def _open_up(path: str | bytes | os.PathLike[str], parent: int | None) -> None:
    """Give its owner all rights in a directory; whoever is not the owner may need none."""
    status = os.stat(path, dir_fd=parent, follow_symlinks=False)
    if status.st_mode & stat.S_IRWXU != stat.S_IRWXU and stat.S_ISDIR(status.st_mode):
        with suppress(PermissionError):
            os.chmod(path, stat.S_IRWXU, dir_fd=parent)
