"""The memory that the C library keeps for later."""

import ctypes
from contextlib import suppress
from typing import Final

_KEEP_NOTHING: Final = 0
_M_ARENA_MAX: Final = -8
"""Source: malloc.h of glibc."""


def share_one_heap() -> None:
    """Have threads that begin from now on share one heap of the C library, where it can.

    Otherwise each thread keeps what it freed for itself: in a restore, decoded chunks of a megabyte,
    fetched by one and freed by another, cost 13 to 28 MB more and five times the page faults; in an
    idle daemon, its ten threads cost 6 MB.

    Source:
        mallopt(3), M_ARENA_MAX.
    """
    with suppress(AttributeError):  # a C library with one heap anyway
        ctypes.CDLL(None).mallopt(ctypes.c_int(_M_ARENA_MAX), ctypes.c_int(1))


def return_free_memory() -> None:
    """Give the system back what the C library keeps for later, where it can.

    After the first look at a thousand policies that are 6 MB, which nobody would need again.

    Source:
        malloc_trim(3).
    """
    with suppress(AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(_KEEP_NOTHING))
