"""What this process has open."""

import os
from contextlib import suppress


def opened() -> set[tuple[str, str]]:
    """Return each descriptor, and what it stands for.

    For ``opened() <= before``: what others have left open may be closed meanwhile.
    """
    found = set[tuple[str, str]]()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor of the listing itself
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found
