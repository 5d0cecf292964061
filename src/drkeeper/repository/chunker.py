"""Where chunks end: by content, so that an insertion moves only the cuts around it.

The cuts are no part of the repository format; a reader never needs this module.
"""

from typing import Final

from pyfastcdc import FastCDC, NormalizedChunking

CHUNK_MIN_BYTES: Final = 256 * 1024
CHUNK_AVERAGE_BYTES: Final = 1024 * 1024
CHUNK_MAX_BYTES: Final = 4 * 1024 * 1024
"""Limits of chunks. Source: docs/format.md, 5."""

_NORMALIZATION: Final[NormalizedChunking] = 2
"""How strongly lengths are drawn to the average. Source: FastCDC (ATC 2016), section 3.4."""

_SEED_MASK: Final = 2**63 - 1
"""pyfastcdc doubles the seed in 64 bits; the top bit of a gear hash hardly matters."""


class Chunker:
    """Cuts streams for one domain; holds no state between calls."""

    __slots__ = ("_cdc",)

    def __init__(self, seed: int) -> None:
        """Cut by ``seed``, the domain's: without it the cuts say nothing about the content."""
        self._cdc = FastCDC(
            CHUNK_AVERAGE_BYTES,
            min_size=CHUNK_MIN_BYTES,
            max_size=CHUNK_MAX_BYTES,
            normalized_chunking=_NORMALIZATION,
            seed=(seed & _SEED_MASK) or 1,
        )

    def cuts(self, data: memoryview, *, final: bool) -> list[int]:
        """Return where chunks of ``data`` end, ascending.

        Args:
            data: What follows the last cut of the stream.
            final: Whether the stream ends with ``data``; then so does the last chunk. Otherwise
                bytes behind the last cut come again at the start of the next call.
        """
        ends: list[int] = []
        length = len(data)
        for chunk in self._cdc.cut_buf(data):
            end = chunk.offset + chunk.length
            # A chunk that ends with the buffer may go on behind it, unless it cannot be longer.
            if end == length and not final and chunk.length < CHUNK_MAX_BYTES:
                break
            ends.append(end)
        return ends
