"""How much of the processor a run takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_MOST_NICE: Final = 19
"""Source: nice(2)."""


@contextmanager
def niced(nice: int | None) -> Iterator[None]:
    """Take less of the processor for a while; threads that begin meanwhile do so too."""
    if not nice:
        yield
        return
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, min(_MOST_NICE, before + nice))
    try:
        yield
    finally:
        # Only the superuser may take more again; the next policy is then as modest as this one.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, before)
