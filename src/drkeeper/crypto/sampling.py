"""Samples that nobody picks: drawn from what was signed before the plan was made.

Whoever knows the seed draws the same sample, and the seed follows from two public values, one of
which was fixed before anybody knew the other.
"""

from typing import Final

from blake3 import blake3

from drkeeper.crypto.merkle import HASH_BYTES

SEED_DOMAIN: Final = b"drkeeper/v1/drill seed\0"
"""Begins the hashed bytes. Source: docs/ledger.md, "Drills"."""

_WORD_BYTES: Final = 8
_WORDS: Final = 1 << 8 * _WORD_BYTES


def sample_seed(previous_checkpoint: bytes, drill_id: int) -> bytes:
    """Return the seed of a drill's sample, 32 bytes.

    Args:
        previous_checkpoint: Root of the newest checkpoint when the drill was planned; of the empty
            tree when there was none.
        drill_id: The number of the event that planned the drill, which nobody chooses.

    Raises:
        ValueError: The root is no hash; a defect of the caller.

    Source:
        docs/ledger.md, "Drills".
    """
    if len(previous_checkpoint) != HASH_BYTES:
        raise ValueError("a root has 32 bytes")
    return blake3(SEED_DOMAIN + previous_checkpoint + drill_id.to_bytes(8, "big")).digest()


def draw(seed: bytes, choices: int, count: int = 1) -> list[int]:
    """Draw ``count`` different numbers below ``choices``, each equally likely, in order drawn.

    Words of 64 bits are taken from BLAKE3's endless output over the seed; those at or above the largest
    multiple of ``choices`` are left out, so that no number is favoured.

    Raises:
        ValueError: There are not so many numbers; a defect of the caller.

    Source:
        docs/ledger.md, "Drills".
    """
    if not 0 <= count <= choices < _WORDS:
        raise ValueError("cannot draw more than there is")
    stream = blake3(seed)
    limit = _WORDS - _WORDS % choices if choices else 0
    drawn: dict[int, None] = {}
    place = 0
    while len(drawn) < count:
        word = int.from_bytes(stream.digest(length=_WORD_BYTES, seek=place), "big")
        place += _WORD_BYTES
        if word < limit:
            drawn.setdefault(word % choices)
    return list(drawn)
