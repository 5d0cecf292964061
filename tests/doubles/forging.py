"""A ledger as somebody makes it who knows the code and the file, and no key."""

import json
import shutil

from doubles.ledgers import behind_its_back, ledger_at
from drkeeper.ledger.events import link


def recomputed(path, at, target, *, change=None):
    """Copy a ledger, change event ``at``, and compute the chain anew from there, tables and all.

    Args:
        path: The ledger.
        at: Number of the event.
        target: Where the copy is made.
        change: From the text of the body to another; default: it says something more.
    """
    target.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(path, target)
    with ledger_at(target) as ledger:
        chain = ledger.events(limit=10**6)
        prev, statements = chain[at - 2].hash, []
        for event in chain[at - 1 :]:
            body = event.body
            if event.seq == at:
                body = (change or _more)(body)
            forged = link(event.seq, prev, event.at, kind=event.kind, body=body)
            quoted = body.replace("'", "''")
            statements.append(
                f"UPDATE event SET body = '{quoted}', prev = x'{prev.hex()}',"
                f" hash = x'{forged.hash.hex()}' WHERE seq = {event.seq}"
            )
            prev = forged.hash
        behind_its_back(target, *statements, f"UPDATE head SET hash = x'{prev.hex()}'")
        ledger.rebuild_projections()


def _more(body):
    return json.dumps({**json.loads(body), "more": 1}, sort_keys=True, separators=(",", ":"))
