"""Laws of remembering: what is asked for bit by bit is what is asked for all at once."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from doubles.ledgers import ledger_at, live_through
from drkeeper.app.wiring.remembering import Remembering, remember
from drkeeper.errors import LedgerBusyError

NOBODY = "None"
"""Under this name are runs of no policy; nobody looks at them."""

steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 10**6), st.booleans()), min_size=1, max_size=4
)


class Faltering:
    """A ledger that is busy when it is asked for the n-th time."""

    def __init__(self, ledger, n):
        self._ledger = ledger
        self._left = n

    def __getattr__(self, name):
        self._left -= 1
        if self._left == 0:
            raise LedgerBusyError("ledger is in use by another process")
        return getattr(self._ledger, name)


def known(memory):
    """Return everything in a memory, in a form to compare."""
    runs = {name: found for name, found in memory.runs.items() if name != NOBODY}
    return (memory.seen, runs, memory.points, memory.leases, memory.checks, memory.alarms)


@given(steps=steps)
@settings(max_examples=15, deadline=None)
def test_what_is_remembered_is_what_the_ledger_says(steps):
    """After any history, in any portions, and whatever asking for news fails on the way."""
    with tempfile.TemporaryDirectory() as folder, ledger_at(Path(folder) / "ledger") as ledger:
        remembering, first = Remembering(), 1
        for runs, seed, falters in steps:
            live_through(ledger, seed, runs=runs, first=first)
            first += runs
            if falters:
                with pytest.raises(LedgerBusyError):
                    remembering.refresh(Faltering(ledger, 1 + seed % 3))
            assert known(remembering.refresh(ledger)) == known(remember(ledger))
