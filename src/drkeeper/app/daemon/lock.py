"""One daemon for one ledger in a file; a second one is told who has it.

The lock is the kernel's (flock(2)): it ends with the process that holds it, however that ends, so
there is nothing to clean up. What is written into the file is for people.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from drkeeper.errors import LedgerError, RunningError
from drkeeper.faults import point

NAME: Final = "daemon.lock"
_LONGEST = 32


@contextmanager
def only_daemon(state: Path) -> Iterator[None]:
    """Be the only daemon that works with this state directory, until the context ends.

    Args:
        state: The directory; it exists.

    Raises:
        RunningError: There is another one.
        LedgerError: The lock file cannot be made.
    """
    path = state / NAME
    point("app.daemon.lock.taking")
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
        )
    except OSError as error:
        raise LedgerError(
            f"cannot make {path}: {error.strerror}",
            hint="Give this user the right to write to the state directory.",
        ) from error
    try:
        _take(descriptor, path)
        point("app.daemon.lock.taken")
        yield
    finally:
        os.close(descriptor)  # the file stays: removing it would let two hold one name


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(descriptor, _LONGEST, 0).decode("ascii", "replace").strip()
        whose = f" (process {pid})" if pid.isdecimal() else ""
        raise RunningError(
            f"another daemon{whose} works with {path.parent}",
            hint="Stop the other daemon first, or use it.",
        ) from error
    except OSError as error:
        raise LedgerError(
            f"cannot lock {path}: {error.strerror}",
            hint="Put the state directory on a local disk.",
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # a full disk: the lock holds all the same, only without its holder's name
