"""Codecs of chunks and parts: as it is, or one zstd frame (docs/format.md, 5).

Compressors are made once per thread by their owner: zstd contexts are large, and using one from
two threads at once is not safe.
"""

import sys
from typing import Final

from drkeeper.errors import IntegrityError
from drkeeper.repository.places import Codec

if sys.version_info >= (3, 14):
    from compression import zstd  # pragma: no cover - the same module under its later name
else:
    from backports import zstd

DEFAULT_LEVEL: Final = 2
"""Source: docs/adr/0095-zstd-level-2.md has speed and size of the others."""

WORTHWHILE: Final = 0.97
"""Stored as it is when zstd saves less than this. Source: docs/format.md, 5."""

_PROBE_FROM: Final = 64 * 1024
_SAMPLES: Final = 4
_SAMPLE_BYTES: Final = 4096


class Compressor:
    """Compresses what is worth it. For one thread."""

    __slots__ = ("_probe", "_zstd")

    def __init__(self, level: int = DEFAULT_LEVEL) -> None:
        """Compress at zstd ``level``."""
        self._zstd = zstd.ZstdCompressor(level=level)
        self._probe = zstd.ZstdCompressor(level=1)

    def encode(self, data: bytes | memoryview) -> tuple[Codec, bytes | memoryview]:
        """Return the shorter form of ``data`` and its codec.

        Data of which 16 KiB, taken from four places, do not compress is not tried in full: that
        is an eightieth of the work. Whether the guess was right changes the size, never the
        content.
        """
        length = len(data)
        if length >= _PROBE_FROM and not self._seems_worthwhile(data):
            return Codec.RAW, data
        packed = self._zstd.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)
        if len(packed) > length * WORTHWHILE:
            return Codec.RAW, data
        return Codec.ZSTD, packed

    def _seems_worthwhile(self, data: bytes | memoryview) -> bool:
        step = len(data) // _SAMPLES
        sample = b"".join([data[at : at + _SAMPLE_BYTES] for at in range(0, step * _SAMPLES, step)])
        packed = self._probe.compress(sample, zstd.ZstdCompressor.FLUSH_FRAME)
        return len(packed) <= len(sample) * WORTHWHILE


def decode(codec: int, stored: bytes | memoryview, plain_bytes: int) -> bytes | memoryview:
    """Return the plain bytes of a stored chunk or part.

    No more than ``plain_bytes`` (and one) are ever produced, whatever the frame claims; the caller
    has bounded ``plain_bytes``. For codec 0 the answer is ``stored`` itself.

    Raises:
        IntegrityError: The codec is unknown, the frame is malformed, or the length is another.
    """
    if codec == Codec.RAW:
        if len(stored) != plain_bytes:
            raise IntegrityError("stored bytes are not as long as declared")
        return stored
    if codec != Codec.ZSTD:
        raise IntegrityError(f"unknown codec {codec}")
    try:
        decompressor = zstd.ZstdDecompressor()
        # One more than expected, so that a longer frame shows itself.
        plain = decompressor.decompress(stored, plain_bytes + 1)
    except zstd.ZstdError as error:
        raise IntegrityError(f"compressed bytes are malformed: {error}") from None
    if len(plain) != plain_bytes or not decompressor.eof or decompressor.unused_data:
        raise IntegrityError("decompressed bytes are not as long as declared")
    return plain
