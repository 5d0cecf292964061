"""What the disk gives by itself, and what of a folder the page cache holds."""

import ctypes
import mmap
import os
import time
from pathlib import Path

from benchmarks.data import MIB, files

BLOCK = 4 * MIB
_libc = ctypes.CDLL(None, use_errno=True)


def speeds(folder: Path, total: int) -> dict[str, float] | None:
    """Return GB/s of writing and reading ``total`` bytes in ``folder`` past the page cache.

    ``None`` where the file system refuses O_DIRECT.
    """
    path = folder / "speed"
    memory = mmap.mmap(-1, BLOCK)  # O_DIRECT wants memory that begins on a page
    memory.write(os.urandom(BLOCK))
    blocks = max(1, total // BLOCK)
    try:
        target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_DIRECT, 0o600)
    except OSError:
        return None
    try:
        began = time.perf_counter()
        for _ in range(blocks):
            os.write(target, memory)
        os.fsync(target)
        written = time.perf_counter()
        for i in range(blocks):
            os.preadv(target, [memory], i * BLOCK)
        ended = time.perf_counter()
    finally:
        os.close(target)
        path.unlink()
        memory.close()
    gigabytes = blocks * BLOCK / 1e9
    return {
        "direct_write_gb_s": round(gigabytes / (written - began), 2),
        "direct_read_gb_s": round(gigabytes / (ended - written), 2),
    }


def drop_from_cache(root: Path) -> int:
    """Ask the kernel to forget the content of every file below ``root``.

    Only clean pages can be forgotten, hence the fsync.

    Returns:
        Bytes that the page cache holds all the same; 0 when dropping worked.
    """
    for path in files(root):
        source = os.open(path, os.O_RDONLY)
        try:
            os.fsync(source)
            os.posix_fadvise(source, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(source)
    return sum(cached_bytes(path) for path in files(root))


def cached_bytes(path: str) -> int:
    """Return how much of a file lies in the page cache, in whole pages.

    Source:
        mincore(2); the least bit of each byte of the vector says whether the page is there.
    """
    if os.path.getsize(path) == 0:
        return 0
    # A private mapping: ctypes takes the address only of memory that may be written.
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as memory:
        pages = (ctypes.c_ubyte * -(-len(memory) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(memory)
        failed = _libc.mincore(
            ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(memory)), pages
        )
        del first  # or the mapping could not be closed
    if failed:
        raise OSError(ctypes.get_errno(), "mincore", path)
    return sum(page & 1 for page in pages) * mmap.PAGESIZE
