"""A ledger as somebody makes it who knows the code and the file, and no key."""

import contextlib
import json
import shutil

from msgspec.structs import replace

from doubles.ledgers import behind_its_back, ledger_at
from drkeeper.errors import LedgerError
from drkeeper.ledger.events import GENESIS, link


def _edited(chain, at):
    event = chain[at - 1]
    body = {**json.loads(event.body), "more": 1}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return [*chain[: at - 1], replace(event, body=text), *chain[at:]]


def _deleted(chain, at):
    return [*chain[: at - 1], *chain[at:]]


def _swapped(chain, at):
    return [*chain[: at - 1], *chain[at - 1 : at + 1][::-1], *chain[at + 1 :]]


HOW = {"edited": _edited, "deleted": _deleted, "swapped": _swapped}
"""What may be done to an event before everything after it is computed anew."""


def recomputed(path, at, target, how="edited"):
    """Copy a ledger, do something to event ``at``, and compute the chain anew, tables and all."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(path, target)
    with ledger_at(target) as ledger:
        before = ledger.events(limit=10**6)
        prev, statements = GENESIS, []
        wanted = HOW[how](before, at)
        for seq, event in enumerate(wanted, 1):
            forged = link(seq, prev, event.at, kind=event.kind, body=event.body)
            quoted = event.body.replace("'", "''")
            statements.append(
                f"UPDATE event SET at = '{event.at}', kind = '{event.kind}', body = '{quoted}',"
                f" prev = x'{prev.hex()}', hash = x'{forged.hash.hex()}' WHERE seq = {seq}"
            )
            prev = forged.hash
        behind_its_back(
            target,
            *statements,
            f"DELETE FROM event WHERE seq > {len(wanted)}",
            f"UPDATE head SET seq = {len(wanted)}, hash = x'{prev.hex()}'",
        )
        with contextlib.suppress(LedgerError):  # some make no history
            ledger.rebuild_projections()
