"""Which objects the live snapshots need, in little memory.

A repository of 10 TB has 640,000 packs, and nearly every snapshot needs nearly all of them. So a set of
snapshots is a bit mask, and equal (session, mask) pairs are one object: most packs of one session
are needed by the same snapshots.
"""

from collections.abc import Iterator
from sys import intern

from drkeeper.crypto.derive import Domain


class Needs:
    """A table of needed objects.

    Attributes:
        domains: Session to the domain its chunks were named in.
    """

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._table: dict[str, tuple[bytes, int]] = {}
        self._pairs: dict[tuple[bytes, int], tuple[bytes, int]] = {}
        self.domains: dict[bytes, Domain] = {}

    def snapshot(self, n: int) -> int:
        """Take in a snapshot and return the bit that stands for it."""
        self._numbers.append(n)
        return 1 << len(self._numbers) - 1

    def add(self, name: str, session: bytes, mask: int) -> bool:
        """Say that the snapshots in ``mask`` need an object.

        Returns:
            Whether ``session`` is the one named before, if any was: an object has one key.
        """
        known = self._table.get(name)
        if known is None:
            self._table[intern(name)] = self._pair(session, mask)
            return True
        if known[1] | mask != known[1]:
            self._table[name] = self._pair(known[0], known[1] | mask)
        return known[0] == session

    def mask(self, name: str) -> int:
        """Return the snapshots that need an object; 0 for none."""
        known = self._table.get(name)
        return 0 if known is None else known[1]

    def session(self, name: str) -> bytes | None:
        """Return the session whose key opens an object; ``None`` when nothing needs it."""
        known = self._table.get(name)
        return None if known is None else known[0]

    def masks(self) -> dict[bytes, int]:
        """Return session to the snapshots that need an object of it."""
        masks: dict[bytes, int] = {}
        for session, mask in self._pairs:
            masks[session] = masks.get(session, 0) | mask
        return masks

    def snapshots(self, mask: int) -> tuple[int, ...]:
        """Return the entry numbers of the snapshots in a mask, ascending."""
        return tuple(sorted(number for bit, number in enumerate(self._numbers) if mask >> bit & 1))

    def of(self, name: str) -> tuple[int, ...]:
        """Return the entry numbers of the snapshots that need an object, ascending."""
        return self.snapshots(self.mask(name))

    def needing_session(self, session: bytes) -> tuple[int, ...]:
        """Return the snapshots that need an object of a session, ascending."""
        return self.snapshots(self.masks().get(session, 0))

    def names(self) -> Iterator[str]:
        """Yield the name of every needed object."""
        return iter(self._table)

    def __contains__(self, name: str) -> bool:
        return name in self._table

    def __len__(self) -> int:
        return len(self._table)

    def _pair(self, session: bytes, mask: int) -> tuple[bytes, int]:
        return self._pairs.setdefault((session, mask), (session, mask))
