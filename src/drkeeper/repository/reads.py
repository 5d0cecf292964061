"""What to read of which pack: chunks wanted together, grouped into runs of segments."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from drkeeper.crypto.sealing import Kind

SEGMENT_BYTES = Kind.PACK.segment_bytes

_GAP_SEGMENTS = 2
"""Reading 2 MiB too much costs less than another request to a distant store."""


class ChunkRef(NamedTuple):
    """Where one chunk is, and what it must be.

    Attributes:
        session: Session whose key seals the pack.
        pack: Id of the pack.
        offset: Of the stored chunk in the pack's plaintext.
        stored: Stored length.
        plain: Decoded length.
        codec: A ``Codec``, as a number.
        id: BLAKE3 of the chunk under the chunk key.
    """

    session: bytes
    pack: bytes
    offset: int
    stored: int
    plain: int
    codec: int
    id: bytes


@dataclass(frozen=True, slots=True)
class PackRead:
    """What is wanted of one pack.

    Attributes:
        session: Session whose key seals it.
        pack: Its id.
        chunks: What is wanted, in order of offset.
    """

    session: bytes
    pack: bytes
    chunks: tuple[ChunkRef, ...]

    def runs(self, held: Container[int] = (), *, whole: bool = True) -> tuple[range, ...]:
        """Return runs of segments that have every chunk, ascending; each is one request.

        Args:
            held: Numbers of segments that need not be read.
            whole: Of a pack that is wanted for the most part, read everything up to the last
                wanted segment.
        """
        runs: list[range] = []
        for ref in self.chunks:
            for segment in segments_of(ref):
                if segment in held:
                    continue
                if runs and segment - runs[-1].stop <= _GAP_SEGMENTS:
                    runs[-1] = range(runs[-1].start, max(segment + 1, runs[-1].stop))
                else:
                    runs.append(range(segment, segment + 1))
        if whole and runs and sum(map(len, runs)) * 2 > runs[-1].stop:
            runs = [range(runs[-1].stop)]
        return tuple(runs)

    @property
    def requests(self) -> int:
        """Requests to the store: the length, the runs, and the preamble when no run has it."""
        runs = self.runs()
        return 1 + len(runs) + (runs[0].start > 0)


def plan_reads(chunks: Iterable[ChunkRef]) -> list[PackRead]:
    """Group chunks by pack, in the order in which the packs are first wanted."""
    packs: dict[tuple[bytes, bytes], dict[bytes, ChunkRef]] = {}
    for ref in chunks:
        packs.setdefault((ref.session, ref.pack), {})[ref.id] = ref
    return [
        PackRead(session, pack, _ordered(wanted.values()))
        for (session, pack), wanted in packs.items()
    ]


def segments_of(ref: ChunkRef) -> range:
    """Return the segments that a chunk lies in."""
    return range(ref.offset // SEGMENT_BYTES, (ref.offset + ref.stored - 1) // SEGMENT_BYTES + 1)


def _ordered(refs: Iterable[ChunkRef]) -> tuple[ChunkRef, ...]:
    return tuple(sorted(refs, key=_by_offset))


def _by_offset(ref: ChunkRef) -> tuple[int, int]:
    return ref.offset, ref.stored


def covered(runs: Iterable[Sequence[int]]) -> set[int]:
    """Return every segment of some runs."""
    return {segment for run in runs for segment in run}
