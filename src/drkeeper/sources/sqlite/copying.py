"""Copies of databases: a process that makes one, a nameless file that holds it."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

from drkeeper import directories, faults
from drkeeper.clock import Clock
from drkeeper.errors import ConfigurationError, NoSpaceError, SourceBusyError, SourceError
from drkeeper.sources.files.spec import printable
from drkeeper.sources.sqlite import child
from drkeeper.sources.sqlite.places import Found

ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of an answer that are read; 100,000 tables take less than a tenth."""
PROGRAM: Final = (sys.executable, "-I", "-X", "utf8", child.__file__)
"""How the program of ``child.py`` is started."""

_PREFIX: Final = "copy-"
_NOTHING: Final[Mapping[str, str]] = {"LANG": "C.UTF-8"}

_SAID: Final = {
    "not-a-database": (
        "is not a SQLite database, or is encrypted",
        "Correct the policy; an encrypted database is protected as a file while nobody uses it.",
    ),
    "hot-journal": (
        "was left in the middle of a transaction by a program that died (its -journal is hot)",
        "Open it once with the program it belongs to, which takes the transaction back.",
    ),
    "damaged": (
        "is damaged",
        "Repair it, or restore it from an earlier snapshot.",
    ),
    "differs": (
        "did not give a copy that holds what was counted under its lock",
        "Run drkeeper backup again; when it stays so, look for programs that write past SQLite.",
    ),
    "replaced": (
        "was replaced by another file while it was opened",
        "Run drkeeper backup again.",
    ),
    "unopenable": (
        "cannot be opened by SQLite",
        "Run as the owner of the database, who may also write its -wal and -shm.",
    ),
    "unreadable": ("cannot be read", "Run as a user that may read it."),
}
_UNKNOWN: Final = ("cannot be copied", "Look at the database with sqlite3.")


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy of one database.

    Attributes:
        descriptor: The copy, open for reading; it has no name any more.
        locked_at: Before the read lock was taken: whatever was committed by then is in the copy.
        answer: What the program of ``child.py`` said.
    """

    descriptor: int
    locked_at: datetime
    answer: Mapping[str, Any]


class Copier:
    """Makes copies in one directory.

    Args:
        spool: The directory; made when missing, private.
        busy_timeout: How long to wait for another program's lock.
        clock: Says when.
    """

    def __init__(self, spool: bytes, *, busy_timeout: timedelta, clock: Clock) -> None:
        self._spool = os.fsdecode(spool)
        self._busy_s = busy_timeout.total_seconds()
        self._clock = clock

    def prepare(self) -> None:
        """Make the directory and remove what a killed process left in it.

        Raises:
            ConfigurationError: The directory cannot be used.
        """
        try:
            directories.make_private(self._spool)
            for name in os.listdir(self._spool):
                if name.startswith(_PREFIX):
                    _sweep(os.path.join(self._spool, name))
        except OSError as error:
            raise ConfigurationError(
                f"cannot use {self._spool} for copies of databases: {error.strerror}",
                hint="Give a cache directory that this user may write.",
            ) from error

    @contextmanager
    def copied(self, found: Found) -> Iterator[Copied]:
        """Copy a database; the copy is gone when the context ends.

        Raises:
            SourceBusyError: It stayed locked.
            SourceError: It is no database, is damaged, or cannot be opened.
            NoSpaceError: There is no room for the copy.
        """
        self._require_room(found)
        faults.point("sources.sqlite.copying.begin")
        descriptor, path = self._new_file()
        try:
            try:
                locked_at = self._clock.now()
                answer = self._asked(found, path)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(path)
            faults.point("sources.sqlite.copying.end")
            yield Copied(descriptor, locked_at, answer)
        finally:
            os.close(descriptor)

    def _new_file(self) -> tuple[int, str]:
        """Make a file that is locked, which says to ``_sweep`` that somebody uses it.

        Raises:
            NoSpaceError: There is no room for it.
            ConfigurationError: It cannot be made for another reason.
        """
        try:
            while True:
                descriptor, path = tempfile.mkstemp(prefix=_PREFIX, dir=self._spool)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.path.exists(path):
                    return descriptor, path
                os.close(descriptor)  # swept between the two
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                self._no_space()
            raise ConfigurationError(
                f"cannot use {self._spool} for copies of databases: {error.strerror}",
                hint="Give a cache directory that this user may write.",
            ) from error

    def _require_room(self, found: Found) -> None:
        space = os.statvfs(self._spool)
        if space.f_bavail * space.f_frsize < found.place.status.st_size:
            self._no_space()

    def _no_space(self) -> NoReturn:
        raise NoSpaceError(
            f"no space left for the copy of a database in {self._spool}",
            hint="Make room for the largest database of the policy, or move the cache directory.",
        )

    def _asked(self, found: Found, spool: str) -> Mapping[str, Any]:
        status = found.place.status
        request = {
            "folder": found.folder,
            "name": _shown(found.place.path.rpartition(b"/")[2]),
            "path": _shown(b"/" + found.place.path),
            "device": status.st_dev,
            "inode": status.st_ino,
            "busy_s": self._busy_s,
            "spool": _shown(os.fsencode(spool)),
        }
        answer = run_copy(request, found.folder)
        if "refused" in answer:
            self._refuse(found.place.path, str(answer["refused"]), str(answer["message"]))
        return answer

    def _refuse(self, path: bytes, code: str, message: str) -> NoReturn:
        shown = printable(b"/" + path)
        if code == "full":
            self._no_space()
        if code == "busy":
            raise SourceBusyError(
                f"database {shown} stayed locked for {self._busy_s:g} s",
                hint="Raise busy_timeout, or look which program holds it in an exclusive lock.",
            )
        text, hint = _SAID.get(code, _UNKNOWN)
        raise SourceError(f"database {shown} {text} ({message})", hint=hint)


def run_copy(request: Mapping[str, object], folder: int) -> Mapping[str, Any]:
    """Start the program, ask, and return what it says; it never outlives the asking."""
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*PROGRAM, "copy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(folder,),
            cwd="/",
            env=dict(_NOTHING),
        )
    except OSError as error:
        return {"refused": "failed", "message": f"no process was started: {error.strerror}"}
    with process:
        assert process.stdin is not None  # noqa: S101 - for the types
        assert process.stdout is not None  # noqa: S101 - for the types
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            said = process.stdout.read(ANSWER_BYTES)
        finally:
            process.kill()
    return answer_of(said)


def answer_of(said: bytes) -> Mapping[str, Any]:
    """Return what the program said; that it died is an answer as well."""
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        return {"refused": "failed", "message": "the process that read it died"}
    if not isinstance(answer, dict):
        return {"refused": "failed", "message": "the process that read it died"}
    return answer


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _sweep(path: str) -> None:
    """Remove a copy that nobody uses."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # gone meanwhile
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(FileNotFoundError):
            os.unlink(path)
    except BlockingIOError:
        pass  # in use
    finally:
        os.close(descriptor)
