"""Small files: written, completed and read back in groups, by a few threads.

Restoring a hundred thousand of them is system calls and nothing else. They leave the interpreter
to other threads, so two threads that each make a whole group keep two processors busy.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from drkeeper.operations.restore import nodes
from drkeeper.operations.restore.means import Means
from drkeeper.operations.restore.target import Directory
from drkeeper.operations.restore.work import Unit

_GROUP = 64
"""Files handed to a thread at once: enough to forget the handing over."""

THREADS = 2
"""More than two only wait for each other: for the interpreter, and for the directory's lock."""


class Ready(NamedTuple):
    """A small file whose content is at hand."""

    name: bytes
    unit: Unit
    content: Sequence[memoryview]


@dataclass(frozen=True, slots=True)
class Place:
    """Where small files go.

    Attributes:
        held: Their directory.
        plain: What is created in it inherits nothing.
        private: Nobody else can enter it while it is filled, and nothing is inherited.
    """

    held: Directory
    plain: bool
    private: bool


@dataclass(slots=True)
class Group:
    """Small files of one directory.

    Attributes:
        place: Where they go.
        files: What they are.
    """

    place: Place
    files: list[Ready] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether it should be handed over."""
        return len(self.files) >= _GROUP


class Written(NamedTuple):
    """What became of a group: how many files and bytes there are now."""

    files: int
    plain_bytes: int


class Writers:
    """Threads that write groups; ends them when closed."""

    def __init__(self, means: Means) -> None:
        """Write with ``means``."""
        self._means = means
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="drkeeper-write")

    def close(self) -> None:
        """Drop what was not begun, wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, group: Group) -> Future[Written]:
        """Begin to write a group.

        The answer raises ``NoSpaceError`` when the target is full, and ``TargetError`` when it
        broke; everything else is told.
        """
        return self._pool.submit(self._write, group)

    def write(self, place: Place, file: Ready) -> os.stat_result | None:
        """Write one file now; return what it is, or ``None`` when it could not be written.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        status = self._make(place, file)
        if status is not None and self._means.manner.verifies:
            self._verify(place.held.fd, file)
        return status

    def _write(self, group: Group) -> Written:
        place = group.place
        made = [file for file in group.files if self._make(place, file) is not None]
        if self._means.manner.verifies:
            for file in made:
                self._verify(place.held.fd, file)
        return Written(len(made), sum(file.unit.entry.size for file in made))

    def _verify(self, directory: int, file: Ready) -> None:
        self._means.verifier.check(directory, (file.name, file.unit.entry, file.unit.owner))

    def _make(self, place: Place, file: Ready) -> os.stat_result | None:
        """Make one file; tell what goes wrong and return ``None``.

        Raises:
            NoSpaceError: The target is full.
            TargetError: The target broke.
        """
        means = self._means
        entry = file.unit.entry
        try:
            mode = means.rights.creation_mode(entry.mode) if place.private else None
            made = nodes.write_small(
                place.held,
                file.name,
                file.content,
                names=means.target.names,
                mode=mode or nodes.PRIVATE,
            )
            try:
                means.metadata.apply(
                    made.fd, entry, file.unit.owner, fresh=place.plain, has_mode=mode is not None
                )
                status = os.fstat(made.fd)
            except BaseException:
                made.discard()
                raise
            made.finish()
        except OSError as error:
            means.failed(entry.path, error)
        except (OverflowError, ValueError) as error:
            means.impossible(entry.path, error)
        else:
            return status
        return None
