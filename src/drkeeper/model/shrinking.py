"""When a source that holds less than before is suspected: one rule for backups and for their status."""

from typing import Final

_SHRUNK_TO: Final = 10
_LEAST_FILES: Final = 10
_LEAST_BYTES: Final = 1024 * 1024
"""A source that has lost nine tenths of so many files or bytes is suspected. Source: ours."""


def has_shrunk(files: int, plain_bytes: int, *, before_files: int, before_bytes: int) -> bool:
    """Whether so little is left that somebody should look."""
    lost_files = before_files >= _LEAST_FILES and files * _SHRUNK_TO <= before_files
    lost_bytes = before_bytes >= _LEAST_BYTES and plain_bytes * _SHRUNK_TO <= before_bytes
    return lost_files or lost_bytes
