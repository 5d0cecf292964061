"""A look at every named path before the walk, so that a mistake shows at once."""

import errno
import os
import stat
from typing import NoReturn

from drkeeper.errors import SourceError
from drkeeper.sources.files.directories import LIST, READ, open_quietly
from drkeeper.sources.files.spec import Roots, printable

_REACH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_reach(roots: Roots) -> None:
    """Check that every named path is there, readable, and not behind a link.

    Raises:
        SourceError: It is not.
    """
    for path in sorted(roots.named):
        above, _, name = path.rpartition(b"/")
        fd = os.open("/", _REACH)
        try:
            for step in above.split(b"/") if above else ():
                inner = os.open(step, _REACH, dir_fd=fd)
                os.close(fd)
                fd = inner
            check_readable(name or b".", fd)
        except OSError as error:
            refuse(path, error)
        finally:
            os.close(fd)


def check_readable(name: bytes, dir_fd: int) -> None:
    """Check that a file or directory can be opened for reading; anything else passes.

    Raises:
        OSError: It cannot.
    """
    mode = os.lstat(name, dir_fd=dir_fd).st_mode
    if stat.S_ISDIR(mode):
        os.close(open_quietly(name, LIST, dir_fd))
    elif stat.S_ISREG(mode):
        os.close(open_quietly(name, READ, dir_fd))


def refuse(path: bytes, error: OSError) -> NoReturn:
    """Give up over a named path, or one above it, that cannot be used.

    Raises:
        SourceError: Always; the message says what is wrong with the path.
    """
    shown = printable(b"/" + path)
    match error.errno:
        case errno.ENOENT:
            raise SourceError(
                f"source path {shown} does not exist",
                hint="Correct the path in the policy, or mount what belongs there.",
            ) from error
        case errno.ENOTDIR | errno.ELOOP:
            real = printable(os.path.realpath(b"/" + path))
            raise SourceError(
                f"source path {shown} leads through something that is not a directory",
                hint=f"Name the path without links ({real}) in the policy.",
            ) from error
        case _:
            raise SourceError(
                f"source path {shown} cannot be read ({error.strerror})",
                hint="Run as a user that may read it.",
            ) from error
