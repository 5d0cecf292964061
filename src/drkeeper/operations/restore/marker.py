"""The note that a restore leaves in its target while it is not finished.

A second run of the same restore finds it, continues, and knows which temporary names belong to
dead runs. It is written before the first file and removed after the last.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass

from drkeeper.errors import TargetError
from drkeeper.faults import point
from drkeeper.operations.restore.target import TEMPORARY, Target, lookup

NAME = b".drkeeper-restore"
_MAX_BYTES = 1024 * 1024
_RUN_DIGITS = 8
_MAX_RUNS = 10_000


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a dead run left.

    Attributes:
        snapshot: Digest of its commit.
        runs: Numbers of all runs that used this target and did not finish.
    """

    snapshot: bytes
    runs: tuple[bytes, ...]


def find(target: Target) -> Unfinished | None:
    """Read the note, if there is one that can be read."""
    try:
        fd = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=target.root)
    except OSError:
        return None
    try:
        note = json.loads(os.read(fd, _MAX_BYTES))
        snapshot = bytes.fromhex(note["snapshot"])
        runs = tuple(str(run).encode() for run in note["runs"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    finally:
        os.close(fd)
    return Unfinished(snapshot, tuple(run for run in runs if len(run) == _RUN_DIGITS))


class Marker:
    """The note of this run."""

    def __init__(self, target: Target, before: Unfinished | None) -> None:
        """Take over what an earlier run left; nothing is written yet."""
        self._target = target
        self._before = before.runs if before else ()
        self._inode: int | None = None

    def write(self, snapshot: bytes, *, needed: bool) -> None:
        """Leave the note.

        Args:
            snapshot: Digest of the commit that is restored.
            needed: Without it the restore could not be continued; in a live tree it is only
                good for tidying up, and the root of the tree may belong to somebody else.

        Raises:
            TargetError: It cannot be written.
        """
        runs = (*self._before, self._target.names.run)[-_MAX_RUNS:]
        note = {"snapshot": snapshot.hex(), "runs": [run.decode() for run in runs]}
        temporary = self._target.names.next()
        root = self._target.root
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            point("operations.restore.marker.write")
            fd = os.open(temporary, flags, 0o600, dir_fd=root)
            try:
                os.write(fd, json.dumps(note).encode())
                os.fsync(fd)
                self._inode = os.fstat(fd).st_ino
            finally:
                os.close(fd)
            os.rename(temporary, NAME, src_dir_fd=root, dst_dir_fd=root)
            os.fsync(root)
            point("operations.restore.marker.written")
        except OSError as error:
            self._inode = None
            if needed:
                raise TargetError(f"target cannot be written to: {error.strerror}") from error

    def remove(self) -> None:
        """Take the note away, unless the snapshot put a file of its own there."""
        root = self._target.root
        found = lookup(root, NAME)
        if found is not None and found.st_ino == self._inode:
            # Everything is restored and durable; a note that stays only says otherwise to the next.
            with suppress(OSError):
                point("operations.restore.marker.remove")
                os.unlink(NAME, dir_fd=root)
                os.fsync(root)

    def dead(self, name: bytes) -> bool:
        """Whether a name was a temporary one of a run that is over."""
        return name.startswith(TEMPORARY) and name[len(TEMPORARY) :][:_RUN_DIGITS] in self._before
