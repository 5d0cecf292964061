"""What a restore is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from os import cpu_count

from drkeeper.clock import Clock
from drkeeper.repository.reader import SnapshotReader

_MEBI = 1024 * 1024


class Overwrite(StrEnum):
    """What to do with files that are there already."""

    NEVER = "never"  # leave them alone
    IF_CHANGED = "if-changed"  # read them, fetch only what differs
    ALWAYS = "always"  # replace them without reading them


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """One restore of one snapshot, or of a part of it.

    Attributes:
        reader: The snapshot.
        target: Directory that receives the tree: an entry ``home/ann`` becomes
            ``<target>/home/ann``. Created when absent.
        clock: Dates access times and measures.
        paths: Entries to restore with all that is below them, as in ``Entry.path``; empty for
            all. The directories above them come along.
        in_place: The target is a live tree, usually ``/``: directories above what was asked for
            are left as they are.
        confirmed: Somebody agreed that files of a live tree are replaced; asked for with
            ``in_place`` and with ``delete``.
        overwrite: ``None`` refuses a target that holds anything, unless it holds an unfinished
            restore of the same snapshot, which is continued.
        delete: Remove what the snapshot does not have from the directories that are restored.
        privileged: Restore what could give rights away: set-user-id and set-group-id bits,
            capabilities, ``trusted.*`` and ``security.*`` attributes, devices, inode flags.
        numeric_ids: Owners by number, never by name.
        verify: Read everything back and compare before reporting success.
        workers: Threads that fetch and decode.
        batch_bytes: Plain bytes fetched together; a few batches are in memory at a time.
        cancelled: Asked now and then; ``True`` ends the restore in an orderly way.
    """

    reader: SnapshotReader
    target: bytes
    clock: Clock
    paths: tuple[bytes, ...] = ()
    in_place: bool = False
    confirmed: bool = False
    overwrite: Overwrite | None = None
    delete: bool = False
    privileged: bool = False
    numeric_ids: bool = False
    verify: bool = True
    workers: int = 2 + (cpu_count() or 1)
    batch_bytes: int = 4 * _MEBI
    cancelled: Callable[[], bool] = bool
