"""End when the process that started this one does, however it ends."""

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
"""Source: prctl(2), linux/prctl.h."""


def end_with_parent(parent: int) -> None:
    """Let the kernel send this process SIGTERM when its parent has died.

    Where the kernel does not offer it, nothing happens: the run then ends by itself, and a new
    daemon sees that it lives.

    Args:
        parent: Who started this process; when it has died before this was called, the signal is
            sent at once.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        signal.raise_signal(signal.SIGTERM)
