"""Whether a ledger is what was written: chain, head, projections, shape, file.

SQLite's own ``integrity_check`` sees a broken tree, not a changed value; the chain sees every
changed value of an event, and computing the projections again sees every changed value of theirs.
What neither can see is the removal of the last events together with a head set back to match, or a
chain that was computed anew: checkpoints that were signed before show both.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from drkeeper.crypto.merkle import EMPTY, Tree, leaf_hash
from drkeeper.crypto.notes import Checkpoint
from drkeeper.errors import LedgerError
from drkeeper.ledger.chain import DAMAGED_HINT, HEAD_ID, PARTS, events, is_sound
from drkeeper.ledger.change import IllegalEventError, Row
from drkeeper.ledger.checkpoints import check_checkpoints
from drkeeper.ledger.events import GENESIS, hashed_bytes
from drkeeper.ledger.fold import Fold
from drkeeper.ledger.projections import KEYS
from drkeeper.ledger.shape import check_file, check_shape
from drkeeper.ledger.tables import PROJECTIONS, head as head_table

MOST_FINDINGS = 100
"""How many findings are told. Source: ours; one is enough to distrust the file."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was looked at and what was found wrong.

    Attributes:
        events: Length of the chain, as far as it is sound.
        head: Hash of the last sound event, in hexadecimal.
        findings: What is wrong, in words; empty when nothing is.
    """

    events: int
    head: str
    findings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing wrong was found."""
        return not self.findings


def verify(connection: Connection, signed: Sequence[Checkpoint] = ()) -> VerifyReport:
    """Look at everything within the caller's read transaction; never changes anything.

    Args:
        connection: Over the ledger.
        signed: Checkpoints of it that are believed, from where nobody could change them.

    Raises:
        LedgerError: There is no room to compute the projections.
    """
    with Fold() as fold:
        return _verify(connection, _Chain(fold, {each.size for each in signed}), signed)


def _verify(connection: Connection, chain: "_Chain", signed: Sequence[Checkpoint]) -> VerifyReport:
    findings: list[str] = []
    steps: tuple[Callable[[], Iterator[str]], ...] = (
        lambda: check_file(connection),
        lambda: check_shape(connection),
        lambda: chain.check(connection),
        lambda: _check_head(connection, chain),
        lambda: check_checkpoints(chain.roots, chain.seq, signed),
        lambda: _check_projections(connection, chain.fold),
    )
    for step in steps:
        try:
            findings.extend(islice(step(), MOST_FINDINGS))
        except (SQLAlchemyError, ValueError, TypeError, OverflowError) as error:
            # Damage may also show as a value that the driver cannot hand out.
            findings.append(
                f"ledger cannot be read in full: {getattr(error, 'orig', None) or error}"
            )
    return VerifyReport(chain.seq, chain.prev.hex(), tuple(findings[:MOST_FINDINGS]))


def fold_or_refuse(connection: Connection, fold: Fold) -> None:
    """Compute the projections from a chain that must be sound.

    Raises:
        LedgerError: The chain is damaged; nothing can be concluded from it.
    """
    chain = _Chain(fold)
    findings = [*chain.check(connection), *_check_head(connection, chain)]
    if findings:
        raise LedgerError(f"chain of the ledger is damaged: {findings[0]}", hint=DAMAGED_HINT)


class _Chain:
    """The walk along the events, and what they add up to."""

    def __init__(self, fold: Fold, sizes: Collection[int] = ()) -> None:
        self.seq = 0
        self.prev = GENESIS
        self.fold = fold
        self.roots = {0: EMPTY}
        self._sizes = sizes
        self._tree = Tree()

    def check(self, connection: Connection) -> Iterator[str]:
        for event in events(connection):
            if not is_sound(event, self.seq + 1, self.prev):
                yield f"event {self.seq + 1} was changed, moved or removed"
                return  # what follows hangs in the air
            try:
                self.fold.add(event)
            except IllegalEventError as error:
                yield str(error)
            self.seq, self.prev = event.seq, event.hash
            if self._sizes:  # a hash for each event, which nobody has asked for otherwise
                self._tree.add(leaf_hash(hashed_bytes(event)))
                if self.seq in self._sizes:
                    self.roots[self.seq] = self._tree.root


def _check_head(connection: Connection, chain: _Chain) -> Iterator[str]:
    heads = connection.execute(select(head_table)).all()
    if [tuple(head) for head in heads] != [(HEAD_ID, chain.seq, chain.prev)]:
        yield f"head does not name event {chain.seq}, the last one found"


def _check_projections(connection: Connection, fold: Fold) -> Iterator[str]:
    for name, table in PROJECTIONS.items():
        with connection.execute(select(table), execution_options=PARTS) as rows:
            for found in rows.mappings():
                key = found[KEYS[name]]
                if not _same(fold.take(name, key), dict(found)):
                    yield f"{name} {key!r} is not what its events say"
        for key in fold.keys(name):
            yield f"{name} {key!r} is missing"


def _same(due: Row | None, found: Row) -> bool:
    """Compare values and types: 1, 1.0 and True are equal, but not the same."""
    if due is None or due.keys() != found.keys():
        return False
    return all(due[k] == found[k] and type(due[k]) is type(found[k]) for k in due)
