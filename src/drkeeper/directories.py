"""Directories that only their owner may enter."""

import os
from contextlib import suppress
from typing import Final

_MODE: Final = 0o700


def make_private(path: str) -> None:
    """Make a directory that only its owner may enter, with those above it; keep what exists.

    Raises:
        OSError: It cannot be made, or is no directory; for the caller to put into words.
    """
    # os.makedirs gives its mode to the last directory only.
    missing = []
    place = os.path.abspath(path)
    while not os.path.isdir(place) and place != os.path.dirname(place):
        missing.append(place)
        place = os.path.dirname(place)
    for directory in reversed(missing):
        with suppress(FileExistsError):  # another process was quicker, or it is no directory
            os.mkdir(directory, _MODE)
    os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
