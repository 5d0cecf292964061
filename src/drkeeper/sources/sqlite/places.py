"""Where a database lies: the way to it, held by descriptors that cannot read.

The descriptors are made with ``O_PATH``: closing one drops no lock that this process may hold on
the same file, such as those of drkeeper's own ledger.

Source: open(2), O_PATH; fcntl(2), "record locks are automatically released".
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from drkeeper.errors import SourceError
from drkeeper.sources.files.extras import Extras, read_pinned
from drkeeper.sources.files.reach import refuse
from drkeeper.sources.files.spec import Roots, printable

_PIN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory on the way, as it was when it was looked at.

    Attributes:
        path: As in ``Entry.path``.
        status: From ``fstat``.
        extras: What ``stat`` does not tell.
    """

    path: bytes
    status: os.stat_result
    extras: Extras


@dataclass(frozen=True, slots=True)
class Found:
    """A database and the directory it is in, open until the context ends.

    Attributes:
        place: The database.
        folder: Descriptor of its directory.
        above: The directories that lead to it, from the top.
    """

    place: Place
    folder: int
    above: tuple[Place, ...]


@contextmanager
def found(path: bytes) -> Iterator[Found]:
    """Find a database without following any link.

    Raises:
        SourceError: It is not there, is reached through a link, or is no regular file.
    """
    *steps, name = path.split(b"/")
    descriptors = [os.open("/", _PIN | os.O_DIRECTORY)]
    above: list[Place] = []
    try:
        try:
            for step in steps:
                descriptors.append(os.open(step, _PIN | os.O_DIRECTORY, dir_fd=descriptors[-1]))
                above.append(_place(b"/".join(steps[: len(above) + 1]), descriptors[-1]))
            descriptors.append(os.open(name, _PIN, dir_fd=descriptors[-1]))
        except OSError as error:
            refuse(path, error)
        place = _place(path, descriptors[-1])
        _require_regular(place)
        yield Found(place, descriptors[-2], tuple(above))
    finally:
        for descriptor in reversed(descriptors):
            os.close(descriptor)


def check_places(roots: Roots) -> None:
    """Check that every database is there, as a regular file, and not behind a link.

    Raises:
        SourceError: One is not.
    """
    for path in sorted(roots.named):
        with found(path):
            pass


def _place(path: bytes, descriptor: int) -> Place:
    return Place(path, os.fstat(descriptor), read_pinned(descriptor))


def _require_regular(place: Place) -> None:
    mode = place.status.st_mode
    shown = printable(b"/" + place.path)
    if stat.S_ISLNK(mode):
        real = printable(os.path.realpath(b"/" + place.path))
        raise SourceError(
            f"database {shown} is a symbolic link",
            hint=f"Name the database itself ({real}) in the policy.",
        )
    if not stat.S_ISREG(mode):
        raise SourceError(
            f"database {shown} is not a regular file",
            hint="Name the file that SQLite opens in the policy.",
        )
