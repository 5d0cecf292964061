"""Counts of a walk."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """What the walk has met so far.

    Attributes:
        files: Everything that is not a directory.
        directories: Directories, those above the named paths not counted.
        plain_bytes: Sizes of the regular files.
        excluded: Paths left out on purpose; what is inside of them is not counted.
    """

    files: int = 0
    directories: int = 0
    plain_bytes: int = 0
    excluded: int = 0
