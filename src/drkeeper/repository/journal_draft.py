"""Entries that somebody wants in the journal, tried out before they are sent.

What the repository would not accept is never written: an entry is signed, read back and applied to a copy of
the state exactly as every reader will do it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import ConfigurationError
from drkeeper.repository.journal_entry import JournalEntry, VoidError, read_entry, write_entry
from drkeeper.repository.state import CHECKPOINT_EVERY, JournalState
from drkeeper.repository.steps import step


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry that somebody wants in the journal.

    Attributes:
        op: The operation.
        body: Its body, as JSON values.
    """

    op: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tried:
    """An entry that every reader of the state before it will accept.

    Attributes:
        data: Its bytes.
        entry: What they say.
        after: The state after it.
    """

    data: bytes
    entry: JournalEntry
    after: JournalState


def checkpoint_due(state: JournalState, n: int, draft: Draft) -> Draft | None:
    """Return the checkpoint that has to come before ``draft`` as entry ``n``, if one has to.

    Source:
        docs/format.md 3.4.
    """
    if n % CHECKPOINT_EVERY or draft.op == "checkpoint":
        return None
    return Draft("checkpoint", {"state": state.to_checkpoint()})


def tried(
    draft: Draft,
    *,
    state: JournalState,
    n: int,
    at: datetime,
    signer: SigningKey,
    keys: Collection[str],
) -> Tried:
    """Write ``draft`` as entry ``n`` after ``state``, and apply it.

    Args:
        draft: What to say.
        state: The newest state; not changed.
        n: Number of the entry.
        at: Its date.
        signer: Who says it.
        keys: Public keys in force, hex.

    Raises:
        ConfigurationError: This key may not say this, or it is illegal now.
    """
    data = write_entry(
        repository=state.repository,
        n=n,
        prev=state.digest,
        at=at,
        op=draft.op,
        body=draft.body,
        signer=signer,
    )
    after = state.copy()
    try:
        own = [key for key in keys if key == signer.verify_key.hex]
        entry = read_entry(data, repository=state.repository, n=n, keys=own)
        step(after, entry)
    except VoidError as void:
        raise ConfigurationError(
            f"the repository would not accept this {draft.op} entry: {void}",
            hint="Check that this machine's key file belongs to this repository "
            "and is in its keyring.",
        ) from void
    return Tried(data, entry, after)
