"""Reading files back: out of memory, past it, and where neither can be."""

import mmap
import os
from pathlib import Path

import pytest

from drkeeper.operations.restore.readback import WINDOW_BYTES, Reader

_CONTENT = bytes(range(256)) * (3 * WINDOW_BYTES // 256) + b"a tail that fills no block"


def _whole(fd: int) -> bytes:
    """Return everything a reader finds."""
    reader = Reader(fd)
    buffer = memoryview(mmap.mmap(-1, WINDOW_BYTES))
    found = bytearray()
    try:
        while count := reader.read(buffer, len(found)):
            found += buffer[:count]
    finally:
        reader.close()
    return bytes(found)


@pytest.mark.parametrize("folder", ["here", "/dev/shm"])
@pytest.mark.parametrize("dropped", [(), (0, 0), (WINDOW_BYTES, WINDOW_BYTES)])
def test_every_byte_is_read_wherever_it_is(
    tmp_path: Path, folder: str, dropped: tuple[int, ...]
) -> None:
    """Held in memory, dropped from it, or half and half, a file reads as what it holds."""
    path = (tmp_path if folder == "here" else Path(folder)) / f"drkeeper-readback-{os.getpid()}"
    path.write_bytes(_CONTENT)
    try:
        with path.open("rb") as file:
            if dropped:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), *dropped, os.POSIX_FADV_DONTNEED)
            assert _whole(file.fileno()) == _CONTENT
    finally:
        path.unlink()


def test_a_reader_sees_what_was_written_a_moment_ago(tmp_path: Path) -> None:
    """What the disk does not have yet is read as it is in memory, never as it was before."""
    path = tmp_path / "file"
    path.write_bytes(_CONTENT)
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.pwrite(file.fileno(), b"changed", WINDOW_BYTES + 5)
        found = _whole(file.fileno())
    assert found[WINDOW_BYTES + 5 :].startswith(b"changed")
    assert len(found) == len(_CONTENT)


def test_a_read_that_fails_is_told(tmp_path: Path) -> None:
    """A descriptor that cannot be read is an error, not an empty file."""
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            Reader(fd).read(memoryview(bytearray(WINDOW_BYTES)), 0)
    finally:
        os.close(fd)
