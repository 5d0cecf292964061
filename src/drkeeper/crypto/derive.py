"""What follows from the secret of a domain: names of chunks, their cuts, lineages.

Source: docs/format.md section 7.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from drkeeper.crypto.digests import derive_key, keyed

SECRET_BYTES: Final = 32
"""Source: docs/format.md section 7."""
LINEAGE_BYTES: Final = 16
"""Source: docs/format.md section 7."""

_SEED_BYTES: Final = 8
_CONTEXT: Final = "drkeeper v1 2026-11 "


@dataclass(frozen=True, slots=True)
class Domain:
    """Hosts (by default one) that share chunks.

    Each key is derived once, when the domain is made.

    Attributes:
        secret: 32 random bytes; kept by the host and in every snapshot root.
        chunk_key: Keys the digests that name chunks.
        piece_key: Keys the digests of pieces of manifests.
        chunker_seed: Decides where chunks end; 64 bits, never 0.
    """

    secret: bytes = field(repr=False)
    chunk_key: bytes = field(init=False, repr=False, compare=False)
    piece_key: bytes = field(init=False, repr=False, compare=False)
    chunker_seed: int = field(init=False, repr=False, compare=False)
    _lineage_key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ValueError("a domain secret has 32 bytes")
        # Only a frozen instance's own __init__ may complete it.
        complete = partial(object.__setattr__, self)
        complete("chunk_key", self._derived("chunk id"))
        complete("piece_key", self._derived("piece digest"))
        seed = int.from_bytes(self._derived("chunker seed")[:_SEED_BYTES], "big")
        # A chunker takes 0 as "no seed": everyone's cuts.
        complete("chunker_seed", seed or 1)
        complete("_lineage_key", self._derived("lineage"))

    def lineage_id(self, policy: str, source_kind: str) -> bytes:
        """Return the id, 16 bytes, of the line of snapshots of one source of one policy.

        Storage sees it; the name it stands for does not follow from it.
        """
        name = policy.encode() + b"\0" + source_kind.encode()
        return keyed(self._lineage_key, name)[:LINEAGE_BYTES]

    def _derived(self, purpose: str) -> bytes:
        return derive_key(_CONTEXT + purpose, self.secret)
