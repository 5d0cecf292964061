"""Faults, planted into a restored tree to see whether the probes see them.

Where they go follows from the drill's sample seed: nobody picks a place that is easy to see. The tree
is thrown away afterwards, so it is damaged itself instead of a copy, which a large database would
need as much room again for; each fault is undone before the next.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from drkeeper.crypto.sampling import draw
from drkeeper.faults import point
from drkeeper.model.entry import Entry, EntryFlag, FileType
from drkeeper.operations.restore.layout import Layout, has_content
from drkeeper.operations.restore.printable import printable

FLIPPED_BYTE: Final = "flipped-byte"
TRUNCATED_FILE: Final = "truncated-file"
MISSING_PATH: Final = "missing-path"

FAULT_DOMAIN: Final = b"drkeeper/v1/drill fault\0"
"""Begins the hashed bytes. Source: docs/drills.md, "Negative controls"."""

_NEEDS_DATA: Final = frozenset({FLIPPED_BYTE, TRUNCATED_FILE})
_FAULTS: Final = (FLIPPED_BYTE, TRUNCATED_FILE, MISSING_PATH)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a fault goes.

    Attributes:
        fault: Which.
        entry: The path.
        seed: Decides what else is to be decided.
    """

    fault: str
    entry: Entry
    seed: bytes

    @property
    def shown(self) -> str:
        """The path for people."""
        return printable(b"/" + self.entry.path)


def targets(seed: bytes, entries: Iterable[Entry]) -> list[Target]:
    """Choose where each fault goes: the path whose keyed hash is the smallest.

    Whoever has the manifest and the seed comes to the same paths.

    Args:
        seed: Of the drill's sample.
        entries: What was restored, each path once.
    """
    seeds = {fault: blake3(FAULT_DOMAIN + seed + fault.encode()).digest() for fault in _FAULTS}
    best: dict[str, tuple[bytes, Entry]] = {}
    for entry in entries:
        has_data = entry.type == FileType.FILE and has_content(entry) and _data_bytes(entry) > 0
        for fault in _FAULTS:
            if fault in _NEEDS_DATA and not has_data:
                continue
            rank = blake3(entry.path, key=seeds[fault]).digest()
            if fault not in best or rank < best[fault][0]:
                best[fault] = rank, entry
    return [Target(fault, best[fault][1], seeds[fault]) for fault in _FAULTS if fault in best]


def is_target(entry: Entry) -> bool:
    """Whether a fault may go to a path: it was restored, and belongs to the source itself."""
    if entry.extra.flags & EntryFlag.PARENT:
        return False
    if entry.type == FileType.FILE:
        return has_content(entry)
    return entry.type in {FileType.DIRECTORY, FileType.SYMLINK, FileType.FIFO}


def _data_bytes(entry: Entry) -> int:
    return entry.size if entry.extra.segments is None else Layout(entry).data_bytes


@contextmanager
def planted(target: Target, root: Path, aside: Path) -> Iterator[str]:
    """Plant a fault until the context ends; gives what was done, in words.

    Args:
        target: Which, and where.
        root: The restored tree.
        aside: A path on the same file system where nothing is.

    Raises:
        OSError: It could not be planted.
    """
    point("operations.drills.plant")
    place = os.path.join(os.fsencode(root), target.entry.path)
    if target.fault == MISSING_PATH:
        with _moved(place, aside):
            yield f"{target.shown} was taken away"
        return
    with _writable(place) as descriptor:
        if target.fault == FLIPPED_BYTE:
            at, bit = _spot(target)
            byte = os.pread(descriptor, 1, at)
            os.pwrite(descriptor, bytes([byte[0] ^ 1 << bit]), at)
            _date_back(descriptor, target.entry)
            try:
                yield f"bit {bit} of byte {at} of {target.shown} was flipped"
            finally:
                os.pwrite(descriptor, byte, at)
        else:
            last = target.entry.size - 1
            byte = os.pread(descriptor, 1, last)
            os.ftruncate(descriptor, last)
            _date_back(descriptor, target.entry)
            try:
                yield f"the last byte of {target.shown} was cut off"
            finally:
                os.pwrite(descriptor, byte, last)


def _spot(target: Target) -> tuple[int, int]:
    """Return a byte that holds data, and a bit of it."""
    layout = Layout(target.entry)
    (drawn,) = draw(target.seed, layout.data_bytes * 8)
    ((at, _),) = layout.spans(drawn // 8, 1)
    return at, drawn % 8


@contextmanager
def _moved(place: bytes, aside: Path) -> Iterator[None]:
    folder = os.path.dirname(place)
    before = os.stat(folder)
    os.chmod(folder, stat.S_IMODE(before.st_mode) | stat.S_IRWXU)
    os.rename(place, aside)
    try:
        yield
    finally:
        os.rename(aside, place)
        os.chmod(folder, stat.S_IMODE(before.st_mode))
        os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextmanager
def _writable(place: bytes) -> Iterator[int]:
    """Open a file to damage it; its times and mode are as before when the context ends."""
    before = os.lstat(place)
    os.chmod(place, stat.S_IMODE(before.st_mode) | stat.S_IRUSR | stat.S_IWUSR)
    try:
        descriptor = os.open(place, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    finally:
        os.chmod(place, stat.S_IMODE(before.st_mode))  # what is open stays open
    try:
        yield descriptor
    finally:
        os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.close(descriptor)


def _date_back(descriptor: int, entry: Entry) -> None:
    """Hide the damage from whoever believes times."""
    os.fsync(descriptor)
    os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
