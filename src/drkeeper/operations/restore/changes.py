"""What is there already: which files need not be fetched, and which parts of others.

A file counts as unchanged when its content has the digest that the manifest names; times and
sizes alone prove nothing, since they can be set. Of a file that differs, the chunks that are still
in their place are recognised by their ids.
"""

import os
from contextlib import suppress

from drkeeper.crypto.digests import equal, keyed
from drkeeper.errors import TargetError
from drkeeper.model.entry import FileType
from drkeeper.operations.restore.layout import (
    READ_BYTES,
    Layout,
    content_digest,
    expected_digest,
    has_content,
)
from drkeeper.operations.restore.printable import printable
from drkeeper.operations.restore.target import Target
from drkeeper.operations.restore.work import Kind, Unit
from drkeeper.repository.pieces import MAX_CHUNK_BYTES


class LeavesAlone:
    """Restores only what is not there."""

    def __init__(self, target: Target) -> None:
        """Look in ``target``."""
        self._target = target

    def decide(self, unit: Unit) -> None:
        """Skip every path that exists and is no directory."""
        if unit.entry.type == FileType.DIRECTORY:
            return
        try:
            os.close(self._target.open_path(unit.entry.path, os.O_PATH))
        except OSError:
            return
        unit.kind = Kind.SKIP

    def compare(self, unit: Unit) -> None:
        """Leave the part as it is: it is of a file that is not there."""

    def close(self) -> None:
        """Hold nothing."""


class Compares:
    """Keeps what is there and equal."""

    def __init__(self, target: Target, chunk_key: bytes) -> None:
        """Look in ``target``; ``chunk_key`` names chunks."""
        self._target = target
        self._chunk_key = chunk_key
        self._buffer = memoryview(bytearray(max(READ_BYTES, MAX_CHUNK_BYTES)))
        self._missing = b""
        self._path = b""
        self._fd: int | None = None

    def decide(self, unit: Unit) -> None:
        """Keep a file whose content is what it should be; remember the others for ``compare``."""
        entry = unit.entry
        self.close()
        if entry.type != FileType.FILE or not has_content(entry):
            return
        fd = self._open(entry.path)
        if fd is None:
            return
        self._path, self._fd = entry.path, fd
        if os.fstat(fd).st_size != entry.size:
            return
        if content_digest(fd, entry, self._buffer[:READ_BYTES]) == expected_digest(entry):
            unit.kind = Kind.KEPT
            self.close()

    def compare(self, unit: Unit) -> None:
        """Find the extents of a part whose bytes are already in their place."""
        if self._fd is None or self._path != unit.entry.path:
            return
        layout = Layout(unit.entry)
        position = unit.position
        equal_ones = set()
        for at in range(0, len(unit.extents), 3):
            number, offset, length = unit.extents[at : at + 3]
            ref = unit.refs[number]
            # Only a whole chunk can be recognised by its id.
            if offset == 0 and length == ref.plain and position + length <= layout.data_bytes:
                data = self._read(layout.spans(position, length))
                if len(data) == length and equal(keyed(self._chunk_key, data), ref.id):
                    equal_ones.add(at // 3)
            position += length
        unit.local = frozenset(equal_ones)

    def close(self) -> None:
        """Forget the file that was compared last."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def _open(self, path: bytes) -> int | None:
        above = path.rpartition(b"/")[0]
        if above and above == self._missing:
            return None
        try:
            fd = self._target.open_file(path)
        except PermissionError:
            return None  # cannot be read, so it is replaced
        except OSError as error:
            raise TargetError(f"cannot read {printable(path)}: {error.strerror}") from error
        if fd is None and above:
            try:
                os.close(self._target.open_path(above, os.O_PATH | os.O_DIRECTORY))
            except OSError:
                self._missing = above
        return fd

    def _read(self, spans: list[tuple[int, int]]) -> memoryview:
        fd, done = self._fd, 0
        if fd is None:
            return self._buffer[:0]
        with suppress(OSError):  # what cannot be read is fetched
            for offset, length in spans:
                done += os.preadv(fd, [self._buffer[done : done + length]], offset)
        return self._buffer[:done]
