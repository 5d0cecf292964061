"""Listing a folder in the order of its keys, one directory of each level in memory."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from drkeeper.storage import posix
from drkeeper.storage.base import ObjectInfo
from drkeeper.storage.keys import MAX_KEY_CHARACTERS, is_key


@dataclass(frozen=True, slots=True)
class Level:
    """One directory of a listing.

    Attributes:
        descriptor: The open directory.
        prefix: How the keys below it begin; empty, or ending in a slash.
    """

    descriptor: int
    prefix: str


def walk(level: Level, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
    """Yield the objects below ``level`` that belong to a listing, in key order."""
    with os.scandir(level.descriptor) as found:
        # A directory sorts as its name and a slash: that is how its keys go on.
        names = sorted(
            f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
            for entry in found
            if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
        )
    for name in names:
        key = level.prefix + name
        if name.endswith("/"):
            if _may_hold(key, prefix, start_after):
                yield from _below(level, name, prefix, start_after)
        elif key.startswith(prefix) and key > start_after and is_key(key):
            with suppress(FileNotFoundError):  # deleted since the directory was read
                status = os.stat(name, dir_fd=level.descriptor, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield info_from(key, status)


def _below(level: Level, name: str, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
    try:
        descriptor = posix.open_directory(name.rstrip("/"), at=level.descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return  # removed or replaced since the directory was read
    try:
        yield from walk(Level(descriptor, level.prefix + name), prefix, start_after)
    finally:
        os.close(descriptor)


def _may_hold(directory: str, prefix: str, start_after: str) -> bool:
    """Tell whether a key below ``directory`` (with its slash) can belong to a listing."""
    if len(directory) >= MAX_KEY_CHARACTERS or not is_key(directory[:-1]):
        return False
    wanted = directory.startswith(prefix) or prefix.startswith(directory)
    return wanted and (directory > start_after or start_after.startswith(directory))


def modified_at(status: os.stat_result) -> datetime:
    """Return when a file was written.

    A hostile folder has times that no calendar can hold; the epoch is as good as any.
    """
    try:
        return datetime.fromtimestamp(status.st_mtime, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def info_from(key: str, status: os.stat_result) -> ObjectInfo:
    """Describe the object ``key`` by its file's status."""
    return ObjectInfo(key=key, stored_bytes=status.st_size, modified_at=modified_at(status))
