"""What every part of a restore works with."""

import errno
from dataclasses import dataclass

from drkeeper.errors import IntegrityError, NoSpaceError, TargetError
from drkeeper.operations.restore.marker import Marker
from drkeeper.operations.restore.metadata import Metadata
from drkeeper.operations.restore.printable import printable
from drkeeper.operations.restore.report import Severity, Tally
from drkeeper.operations.restore.rights import Rights
from drkeeper.operations.restore.target import Target
from drkeeper.operations.restore.verify import Verifier

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BROKEN = frozenset({errno.EIO, errno.EROFS, errno.ENODEV, errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True, slots=True)
class Manner:
    """How to treat what is there.

    Attributes:
        replaces: Files and links that are there may be replaced.
        deletes: Remove what the snapshot does not have.
        keeps_parents: Directories above what was asked for stay as they are.
        verifies: Read everything back.
    """

    replaces: bool
    deletes: bool
    keeps_parents: bool
    verifies: bool


@dataclass(frozen=True, slots=True)
class Means:
    """The collaborators of a restore.

    Attributes:
        target: What is written into.
        manner: How to treat what is there.
        rights: What this process may do.
        metadata: Applies metadata.
        verifier: Reads back.
        marker: The note of this run.
        tally: Counts, and is told what goes wrong.
    """

    target: Target
    manner: Manner
    rights: Rights
    metadata: Metadata
    verifier: Verifier
    marker: Marker
    tally: Tally

    def damaged(self, path: bytes, error: IntegrityError) -> None:
        """Tell that the repository lacks what a path needs."""
        self.tally.add(Severity.DAMAGED, "damaged", path, str(error))

    def failed(self, path: bytes, error: OSError) -> None:
        """Tell what concerns one path, end what concerns all.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        if error.errno in _FULL:
            raise NoSpaceError(
                f"target is full: {printable(self.target.path)}",
                hint="Make room and run the same command again; it continues.",
            ) from error
        if error.errno in _BROKEN:
            raise TargetError(
                f"target failed at {printable(path)}: {error.strerror}",
                hint="Check the disk and the kernel's log.",
            ) from error
        self.tally.add(Severity.FAILED, "failed", path, error.strerror or str(error))

    def impossible(self, path: bytes, error: Exception) -> None:
        """Tell of something that the manifest says and no system call can take."""
        self.tally.add(Severity.FAILED, "impossible", path, str(error))
