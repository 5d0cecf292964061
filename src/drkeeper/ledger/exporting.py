"""The chain as lines of JSON, with all that a stranger needs to verify it without drkeeper.

The form is normative in docs/ledger.md, "Exporting"; ``tools/verify_export.py`` reads it.
"""

import json
from collections.abc import Iterable, Iterator

from sqlalchemy import Connection

from drkeeper.crypto.merkle import Proofs, leaf_hash
from drkeeper.errors import LedgerError
from drkeeper.ledger.chain import DAMAGED_HINT, events, is_sound
from drkeeper.ledger.checkpoints import SignedCheckpoint, kept_checkpoints, origin_in
from drkeeper.ledger.engine import reading
from drkeeper.ledger.events import GENESIS, Event, hashed_bytes
from drkeeper.ledger.records import Records

FORM = "drkeeper/ledger-export/1"
"""Names this form. Source: docs/ledger.md, "Exporting"."""


class Exports(Records):
    """The chain for others to verify."""

    def export(self, *, first: int = 1, last: int | None = None) -> Iterator[str]:
        """Yield the events from ``first`` to ``last`` as lines, with checkpoints and proofs.

        The whole chain is read and must be sound; a part of it carries a proof for each event that it
        is in the tree of the newest checkpoint at or after ``last``, or of the whole chain.

        Args:
            first: Number of the first event.
            last: Number of the last one; the newest when ``None``.

        Raises:
            LedgerError: The chain is damaged, or has no such events; or as for the ledger.
        """
        with reading(self._engine) as connection:
            chain = _sound_chain(connection)
            end = len(chain) if last is None else last
            if not 1 <= first <= end <= len(chain):
                raise LedgerError(
                    f"there are no events {first} to {end} in the ledger",
                    hint=f"Choose from events 1 to {len(chain)}.",
                )
            notes = kept_checkpoints(connection)
            origin = origin_in(connection)
        yield from _lines(origin, chain, (first, end), notes)


def _sound_chain(connection: Connection) -> list[Event]:
    """Read the whole chain.

    Raises:
        LedgerError: It is damaged.
    """
    chain: list[Event] = []
    prev = GENESIS
    for event in events(connection):
        if not is_sound(event, len(chain) + 1, prev):
            raise LedgerError(
                f"event {len(chain) + 1} was changed, moved or removed", hint=DAMAGED_HINT
            )
        chain.append(event)
        prev = event.hash
    return chain


def _lines(
    origin: str, chain: list[Event], span: tuple[int, int], notes: Iterable[SignedCheckpoint]
) -> Iterator[str]:
    first, last = span
    proofs = Proofs([leaf_hash(hashed_bytes(event)) for event in chain])
    signed = [note for note in notes if note.size <= len(chain)]
    whole = first == 1
    size = last if whole else min((n.size for n in signed if n.size >= last), default=len(chain))
    yield _line(
        type="export", form=FORM, origin=origin, first=first, last=last, size=size,
        root=proofs.root(size).hex(),
    )  # fmt: skip
    for event in chain[first - 1 : last]:
        proof = None if whole else [each.hex() for each in proofs.inclusion(event.seq - 1, size)]
        yield _line(
            type="event", seq=event.seq, at=event.at, kind=event.kind, body=event.body,
            prev=event.prev.hex(), hash=event.hash.hex(), proof=proof,
        )  # fmt: skip
    for each in signed:
        low, high = sorted((each.size, size))
        between = [hashed.hex() for hashed in proofs.consistency(low, high)]
        yield _line(type="checkpoint", size=each.size, note=each.note, consistency=between)


def _line(**fields: object) -> str:
    given = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(given, ensure_ascii=True, separators=(",", ":"))
