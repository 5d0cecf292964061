"""The live commits of a journal: kept as they were read, and fetched when they were not.

A reader that began at a checkpoint knows of a live commit only its number and digest. Its entry is read
when somebody asks for it, many at a time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from drkeeper.crypto.digests import digest
from drkeeper.errors import IntegrityError
from drkeeper.repository.commit import Commit
from drkeeper.repository.journal_body import CommitBody, ExpireBody
from drkeeper.repository.journal_entry import JournalEntry, VoidError, read_entry
from drkeeper.repository.journal_objects import JournalObjects
from drkeeper.repository.state import JournalState


class LiveCommits:
    """Bodies of live commits, by number; the caller keeps threads apart.

    Args:
        objects: Where entries are read.
        bodies: What is known already, from a trusted place.
    """

    def __init__(self, objects: JournalObjects, bodies: Mapping[int, CommitBody]) -> None:
        self._objects = objects
        self._bodies = dict(bodies)

    @property
    def bodies(self) -> Mapping[int, CommitBody]:
        """What is known."""
        return dict(self._bodies)

    def see(self, entry: JournalEntry) -> None:
        """Take in a valid entry."""
        match entry.body:
            case CommitBody() as body:
                self._bodies[entry.n] = body
            case ExpireBody() as body:
                for n in body.commits:
                    self._bodies.pop(n, None)
            case _:
                pass

    def get(self, n: int, state: JournalState, keys: Sequence[str]) -> Commit:
        """Return a live commit, verified.

        Raises:
            IntegrityError: It is not live, or its entry is not what the state says.
            StorageError: The store refused or did not answer.
        """
        for damage in self.fetch([n], state, keys):
            raise damage
        return self._commit(n, state)

    def of(self, lineage: bytes | None, state: JournalState) -> list[Commit]:
        """Return those that are known, of one lineage or all, in journal order."""
        wanted = None if lineage is None else lineage.hex()
        return [
            self._commit(n, state)
            for n in sorted(state.commits.keys() & self._bodies.keys())
            if wanted is None or self._bodies[n].lineage == wanted
        ]

    def fetch(
        self, numbers: Iterable[int], state: JournalState, keys: Sequence[str]
    ) -> list[IntegrityError]:
        """Read the entries of those that are not known; return what is wrong with any.

        Args:
            numbers: Which ones.
            state: Says which are live, and their digests.
            keys: Who may have signed them.

        Raises:
            StorageError: The store refused or did not answer.
        """
        missing = [n for n in numbers if n not in self._bodies]
        if not missing:
            return []
        damage: list[IntegrityError] = []

        def take(n: int, data: bytes | None) -> None:
            try:
                self._bodies[n] = _verified(n, data, state, keys)
            except IntegrityError as error:
                damage.append(error)

        found = self._objects.find_all(missing)
        for n, item in zip(missing, found, strict=True):
            if item is None:
                take(n, None)
        for item, data in self._objects.read_all([item for item in found if item is not None]):
            take(item.n, data)
        return damage

    def _commit(self, n: int, state: JournalState) -> Commit:
        return Commit.from_body(n, bytes.fromhex(state.commits[n].digest), self._bodies[n])


def _verified(n: int, data: bytes | None, state: JournalState, keys: Collection[str]) -> CommitBody:
    live = state.commits.get(n)
    if live is None:
        raise IntegrityError(f"journal entry {n} is no live commit", n=n)
    if data is None or digest(data).hex() != live.digest:
        raise IntegrityError(
            f"journal entry {n} is missing or not the one a checkpoint names",
            hint="Restore the object from a copy of the store.",
            n=n,
        )
    try:
        entry = read_entry(data, repository=state.repository, n=n, keys=keys)
    except VoidError as void:
        raise IntegrityError(f"journal entry {n} is no commit: {void}", n=n) from void
    if not isinstance(entry.body, CommitBody):
        raise IntegrityError(f"journal entry {n} is no commit", n=n)
    return entry.body
