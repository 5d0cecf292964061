"""Writing and reading large files past the page cache."""

import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from drkeeper.operations.restore.direct import WINDOW_BYTES, Reader, Staging

_SIZE = 3 * WINDOW_BYTES

_RUNS = st.lists(
    st.tuples(st.integers(0, _SIZE), st.integers(1, WINDOW_BYTES + 9000)), min_size=1, max_size=6
)


def _expected(runs: list[tuple[int, int]]) -> tuple[bytearray, list[tuple[int, bytes]]]:
    """Return what a file should hold, and ascending writes that do not overlap."""
    whole = bytearray(_SIZE + 2 * WINDOW_BYTES)
    writes = []
    end = 0
    for number, (offset, length) in enumerate(sorted(runs), 1):
        start = max(offset, end)
        data = bytes([number]) * length
        data = data[: len(whole) - start]
        whole[start : start + len(data)] = data
        writes.append((start, data))
        end = start + len(data)
    return whole, writes


@settings(max_examples=15, deadline=None)
@given(runs=_RUNS)
@pytest.mark.parametrize("folder", ["here", "/dev/shm"])
def test_every_run_lands_where_it_belongs(
    tmp_path_factory: pytest.TempPathFactory, folder: str, runs: list[tuple[int, int]]
) -> None:
    """Whatever is aligned or not, on disk or in memory, the file holds exactly what was written."""
    base = tmp_path_factory.getbasetemp() if folder == "here" else Path(folder)
    fd = os.open(base, os.O_RDWR | os.O_TMPFILE, 0o600)
    try:
        whole, writes = _expected(runs)
        os.ftruncate(fd, len(whole))
        with ThreadPoolExecutor(2) as pool:
            staging = Staging(fd, pool)
            for offset, data in writes:
                staging.write(offset, memoryview(data))
            staging.close(keep=True)
        reader = Reader(fd)
        buffer = memoryview(mmap.mmap(-1, WINDOW_BYTES))
        found = bytearray()
        while count := reader.read(buffer, len(found)):
            found += buffer[:count]
        reader.close()
        assert found == whole
    finally:
        os.close(fd)


def test_a_write_that_fails_is_told(tmp_path: Path) -> None:
    """What a background write met is raised by the time the file is closed, never lost."""
    path = tmp_path / "file"
    path.write_bytes(b"")
    fd = os.open(path, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(1) as pool:
            staging = Staging(fd, pool)
            direct = staging._direct
            if direct is not None:  # root may open what is read-only here for writing, too
                os.close(direct)
                staging._direct = None
            staging.write(0, memoryview(b"content"))
            with pytest.raises(OSError, match="Bad file descriptor"):
                staging.close(keep=True)
    finally:
        os.close(fd)
