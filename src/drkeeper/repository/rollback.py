"""Noticing that a journal has gone back behind what this machine has seen of it."""

from drkeeper.crypto.digests import digest
from drkeeper.repository.journal_damage import Damage
from drkeeper.repository.journal_objects import JournalObjects
from drkeeper.repository.pin import HighWater


class RollbackGuard:
    """Compares a journal with the newest entry that was ever seen here.

    Wherever a reader begins, one of these meets the entry: it is before the beginning, or absorbed, or
    beyond the end. Each is an ``IntegrityError`` unless damage is to be salvaged.

    Args:
        mark: The newest entry seen; ``None`` when this machine has seen none.
        damage: Where it is noted.
    """

    def __init__(self, mark: HighWater | None, damage: Damage) -> None:
        self._mark = mark
        self._damage = damage

    def begun(self, read_to: int, objects: JournalObjects) -> None:
        """Make sure that the entry is there still, when reading begins after it."""
        mark = self._mark
        if mark is None or read_to < mark.n:
            return
        item = objects.find(mark.n)
        data = None if item is None else objects.read(item)
        if data is None:
            self._damage.rolled_back(mark.n, f"entry {mark.n} was seen before and is missing")
        else:
            self._compare(mark, digest(data))

    def absorbed(self, n: int, newest: bytes) -> None:
        """Compare entry ``n``; ``newest`` is the digest of the newest valid entry up to it."""
        if self._mark is not None and n == self._mark.n:
            self._compare(self._mark, newest)

    def ended(self, read_to: int) -> None:
        """Make sure that the journal does not end before the entry."""
        mark = self._mark
        if mark is not None and read_to < mark.n:
            self._damage.rolled_back(
                mark.n, f"it ends at entry {read_to}, but entry {mark.n} was seen before"
            )

    def _compare(self, mark: HighWater, found: bytes) -> None:
        if found != mark.digest:
            self._damage.rolled_back(mark.n, f"entry {mark.n} is not the one that was seen before")
