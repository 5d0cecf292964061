"""Directories that call themselves caches.

Source:
    The Cache Directory Tagging Specification, https://bford.info/cachedir/.
"""

import os
import stat
from bisect import bisect_left

from drkeeper.sources.files.directories import READ, open_quietly

TAG = b"CACHEDIR.TAG"
"""Name of the file that marks a directory as a cache."""

_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"


def is_tagged(fd: int, names: list[bytes]) -> bool:
    """Whether the directory ``fd`` holds a tag with the right signature.

    Args:
        fd: An open directory.
        names: What is in it, sorted.
    """
    position = bisect_left(names, TAG)
    if position == len(names) or names[position] != TAG:
        return False
    try:
        tag = open_quietly(TAG, READ, fd)
    except OSError:
        return False  # a tag that cannot be read excludes nothing
    try:
        return stat.S_ISREG(os.fstat(tag).st_mode) and os.read(tag, len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False
    finally:
        os.close(tag)
