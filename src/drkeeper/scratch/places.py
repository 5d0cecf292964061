"""Directories for drills: one each, locked by whoever uses it, found again when that one is dead.

``drill-X/``       nobody but drkeeper can enter it
``drill-X/root``   the restored tree
``drill-X/tmp-Y``  what one program may write beside it
``drill-X.lock``   is there before the directory and after it, and locked all the while

The kernel drops the lock when drkeeper dies, however it dies. A directory whose lock can be had, or
is not there, belongs to nobody.
"""

import fcntl
import os
import secrets
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drkeeper.errors import ScratchError
from drkeeper.faults import point
from drkeeper.scratch import usage
from drkeeper.scratch.removing import remove_tree

MARK: Final = "DRKEEPER_SCRATCH"
"""The variable by which processes are found that a killed drkeeper has left."""
_PREFIX: Final = "drill-"
_LOCK: Final = ".lock"
_FIRST_USER: Final = 0x70000000
_USERS: Final = 0x10000000
"""Source: systemd.io/UIDS-AND-GIDS: from 1879048192 to 2147483647 nobody gives out numbers."""
_FIRST_SMALL_USER: Final = 61184
_SMALL_USERS: Final = 4336
"""Source: the same, "dynamic service users": for containers that have 65536 numbers and no more."""
_LOOK_EVERY_S: Final = 0.05
_MOST_LOOKS: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A directory for one drill.

    Attributes:
        folder: The directory.
        root: The one in it that takes the restored tree.
        user: Who programs are to be; ``None`` when drkeeper is not root and may not choose.
    """

    folder: Path
    root: Path
    user: int | None

    @property
    def mark(self) -> dict[str, str]:
        """What marks its processes."""
        return {MARK: self.folder.name}

    @contextmanager
    def tmp(self) -> Iterator[Path]:
        """Make a directory for what one program writes, and remove it with all that is in it.

        Raises:
            ScratchError: It cannot be made or removed.
        """
        path = self.folder / f"tmp-{secrets.token_hex(4)}"
        try:
            path.mkdir(0o700)
            if self.user is not None:
                os.chown(path, self.user, self.user)
            yield path
        finally:
            _remove(path)


@contextmanager
def make_place(where: Path) -> Iterator[Place]:
    """Make a place below ``where``, and remove it at the end with all that runs in it.

    Raises:
        ScratchError: It cannot be made, or not be removed; an error of the caller's comes first.
    """
    where = _checked(where)
    name = _PREFIX + secrets.token_hex(8)
    folder, lock_path = where / name, where / (name + _LOCK)
    try:
        lock = _lock(lock_path)
    except OSError as error:
        raise ScratchError(f"{where} cannot be used: {error.strerror}", hint=_HINT) from error
    place = Place(folder, folder / "root", _user_of(lock) if os.geteuid() == 0 else None)
    try:
        point("scratch.places.locked")
        try:
            folder.mkdir(0o700)
            place.root.mkdir(0o700)
        except OSError as error:
            raise ScratchError(f"{folder} cannot be made: {error.strerror}", hint=_HINT) from error
        point("scratch.places.made")
        yield place
    except BaseException as error:
        try:
            _give_up(place, lock_path)
        except ScratchError as another:
            error.add_note(f"besides, {another}")
        raise
    else:
        _give_up(place, lock_path)
    finally:
        os.close(lock)


_HINT: Final = "Give drkeeper a directory of its own for drills, on a disk with room."


def sweep_places(where: Path) -> list[Path]:
    """Remove the places whose drkeeper is dead, and end what runs in them.

    Returns:
        What was removed. Places that living ones use are left alone.

    Raises:
        ScratchError: One of them cannot be removed; the others are.
    """
    try:
        names = sorted(name for name in os.listdir(where) if name.startswith(_PREFIX))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ScratchError(f"{where} cannot be read: {error.strerror}", hint=_HINT) from error
    removed, troubles = [], []
    for name in dict.fromkeys(each.removesuffix(_LOCK) for each in names):
        try:
            if _sweep(where / name):
                removed.append(where / name)
        except ScratchError as error:
            troubles.append(error)
    if troubles:
        raise troubles[0]
    return removed


def _sweep(folder: Path) -> bool:
    lock_path = folder.parent / (folder.name + _LOCK)
    try:
        lock = _lock(lock_path)
    except BlockingIOError:
        return False  # somebody lives there
    except OSError as error:
        raise ScratchError(f"{lock_path} cannot be locked: {error.strerror}") from error
    try:
        there = folder.exists()
        user = _user_of(lock) if os.geteuid() == 0 else None
        _give_up(Place(folder, folder / "root", user), lock_path)
    finally:
        os.close(lock)
    return there


def _checked(where: Path) -> Path:
    """Return the directory without links in its path, made if need be.

    Raises:
        ScratchError: It cannot be made, or others can change what is in it.
    """
    try:
        where.mkdir(0o700, parents=True, exist_ok=True)
        where = where.resolve(strict=True)
        mode = where.stat().st_mode
    except OSError as error:
        raise ScratchError(f"{where} cannot be made: {error.strerror}", hint=_HINT) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ScratchError(f"others can write in {where}", hint=f"Run chmod go-w {where}.")
    return where


def _lock(path: Path) -> int:
    """Make and lock a file, unless somebody has it.

    Raises:
        BlockingIOError: Somebody has it.
        OSError: It cannot be made.
    """
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(lock).st_ino:
                    return lock
        except BaseException:
            os.close(lock)
            raise
        # Somebody removed it between the two calls: what is locked is no file of this name.
        os.close(lock)


def _user_of(lock: int) -> int:
    """Return a user that nobody else is: no two files that are there have the same number."""
    number = os.fstat(lock).st_ino
    large = _FIRST_USER + number % _USERS
    with open("/proc/self/uid_map", encoding="ascii") as file:
        ranges = [[int(each) for each in line.split()] for line in file]
    if any(first <= large < first + count for first, _, count in ranges):
        return large
    return _FIRST_SMALL_USER + number % _SMALL_USERS


def _give_up(place: Place, lock_path: Path) -> None:
    """End what runs there, and remove it; the lock file last, so that nothing is ever without."""
    point("scratch.places.give-up")
    _end_processes(place)
    _remove(place.folder)
    point("scratch.places.removed")
    with suppress(FileNotFoundError):
        os.unlink(lock_path)


def _end_processes(place: Place) -> None:
    mark = f"{MARK}={place.folder.name}".encode()
    left: list[int] = []
    for _ in range(_MOST_LOOKS):
        left = usage.processes_with(mark)
        # A small number might be somebody else's by now.
        if place.user is not None and place.user >= _FIRST_USER:
            left += usage.processes_of_user(place.user)
        if not left:
            return
        for process in left:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        # Not the clock's sleep: whoever is being stopped cleans up all the same.
        threading.Event().wait(_LOOK_EVERY_S)
    raise ScratchError(f"processes of {place.folder} do not end", processes=left)


def _remove(path: Path) -> None:
    try:
        remove_tree(path)
    except OSError as error:
        raise ScratchError(
            f"{path} cannot be removed: {error.strerror}", hint="Remove it by hand."
        ) from error
