"""Packs, as plaintext: chunks, then a directory, then zeros, then a trailer.

Format: docs/format.md, 5. A builder writes a pack from its beginning to its end, so that what takes
it may lay it out as it likes.
"""

import struct
from collections.abc import Callable
from typing import Final

import msgspec

from drkeeper.errors import IntegrityError
from drkeeper.repository.pieces import MAX_CHUNK_BYTES, MAX_PACK_BYTES

PACK_BYTES: Final = 16 * 1024 * 1024
"""What a pack is filled to: one PUT, and 16 segments. Source: docs/format.md, 5."""

PACK_ALIGNMENT: Final = 64 * 1024
"""Lengths of packs are multiples of this, so that they say little. Source: docs/format.md, 5."""

TRAILER_BYTES: Final = 16
_TRAILER: Final = struct.Struct(">QI4s")
_MAGIC: Final = b"pack"
_ROW_BYTES: Final = 1 + (2 + 32) + 5 + 5 + 5 + 1
"""Longest encoding of a directory row: array header, bin 32, three u32, one small number."""

_HEAD_BYTES: Final = 5
"""Longest header of the directory's array."""


class DirectoryRow(
    msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True
):
    """One chunk of a pack, as its directory names it.

    Attributes:
        id: BLAKE3 of the plain chunk under the chunk key.
        offset: Of the stored chunk in the pack's plaintext.
        stored: Stored length.
        plain: Length of the chunk, decoded.
        codec: 0 as it is, 1 one zstd frame.
    """

    id: bytes
    offset: int
    stored: int
    plain: int
    codec: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[DirectoryRow])


def padded(length: int, alignment: int) -> int:
    """Return ``length`` rounded up to a multiple of ``alignment``."""
    return -(-length // alignment) * alignment


class PackBuilder:
    """Joins chunks to a pack until it is full. Not for use by two threads at once."""

    def __init__(self, write: Callable[[bytes | memoryview], object], capacity: int) -> None:
        """Give the plaintext to ``write``, piece by piece: at most ``capacity`` bytes in all.

        Args:
            write: Keeps a copy, behind what it was given before.
            capacity: A multiple of ``PACK_ALIGNMENT``.
        """
        self._write = write
        self._capacity = capacity
        self._rows: list[DirectoryRow] = []
        self._end = 0

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return len(self._rows)

    @property
    def data_bytes(self) -> int:
        """How many bytes the stored chunks take."""
        return self._end

    def fits(self, stored: int) -> bool:
        """Whether a chunk of this stored length still fits, with all that must follow it."""
        rows = (len(self._rows) + 1) * _ROW_BYTES + _HEAD_BYTES + TRAILER_BYTES
        return self._end + stored + rows <= self._capacity

    def append(
        self, chunk_id: bytes, data: bytes | memoryview, *, plain: int, codec: int
    ) -> DirectoryRow:
        """Write a stored chunk, which must fit, behind the others and return its row."""
        row = DirectoryRow(chunk_id, self._end, len(data), plain, codec)
        self._write(data)
        self._end += len(data)
        self._rows.append(row)
        return row

    def finish(self) -> None:
        """Write directory, zeros and trailer."""
        directory = _encoder.encode(self._rows)
        end = self._end + len(directory) + TRAILER_BYTES
        zeros = bytes(padded(end, PACK_ALIGNMENT) - end)
        self._write(directory + zeros + _TRAILER.pack(self._end, len(directory), _MAGIC))


def directory_span(trailer: bytes | memoryview, total: int) -> tuple[int, int]:
    """Return offset and length of the directory of a pack of ``total`` plaintext bytes.

    Args:
        trailer: The last 16 bytes of the plaintext.
        total: Length of the whole plaintext.

    Raises:
        IntegrityError: It is no pack.
    """
    if len(trailer) != TRAILER_BYTES or not TRAILER_BYTES <= total <= MAX_PACK_BYTES:
        raise IntegrityError("pack has no trailer, or is too long")
    offset, length, magic = _TRAILER.unpack(trailer)
    if magic != _MAGIC or total % PACK_ALIGNMENT or offset + length > total - TRAILER_BYTES:
        raise IntegrityError("pack has a malformed trailer")
    return offset, length


def decode_directory(data: bytes | memoryview, data_bytes: int) -> list[DirectoryRow]:
    """Decode and check a directory.

    Args:
        data: The directory alone.
        data_bytes: Where the directory begins, and so where the chunks end.

    Raises:
        IntegrityError: It is malformed or names bytes outside the chunks.
    """
    try:
        rows = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise IntegrityError(f"directory of a pack is malformed: {error}") from None
    end = 0
    for row in rows:
        if not (
            len(row.id) == 32  # noqa: PLR2004 - BLAKE3
            and row.offset == end
            and 1 <= row.stored <= data_bytes - end
            and 1 <= row.plain <= MAX_CHUNK_BYTES
            and (row.codec == 1 or (row.codec == 0 and row.stored == row.plain))
        ):
            raise IntegrityError("directory of a pack does not describe its chunks")
        end += row.stored
    if end != data_bytes:
        raise IntegrityError("directory of a pack does not describe its chunks")
    return rows


def read_directory(plaintext: bytes | memoryview) -> list[DirectoryRow]:
    """Return the directory of a whole pack.

    Raises:
        IntegrityError: It is no pack.
    """
    view = memoryview(plaintext)
    offset, length = directory_span(view[-TRAILER_BYTES:], len(view))
    return decode_directory(view[offset : offset + length], offset)
