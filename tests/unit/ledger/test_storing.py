"""A chain in parts, and a ledger made of them, in a file and on a server."""

from itertools import pairwise

import pytest

from doubles.clock import FakeClock
from doubles.ledgers import ledger_at, live_through, what_a_reader_sees
from drkeeper.crypto.signing import SigningKey
from drkeeper.errors import IntegrityError, LedgerError
from drkeeper.ledger.entries import Known
from drkeeper.ledger.storing import make_ledger
from services.postgresql import fresh_schema

KEY = SigningKey(b"k" * 32)


def test_parts_follow_each_other(ledger):
    """What is known is not told again; the rest follows it, and then there is no more."""
    live_through(ledger, 3, runs=3)
    part = ledger.part(Known(), "keeper")
    assert (part.first, part.last, part.origin) == (1, ledger.last_event().seq, ledger.origin())
    known = Known(part.last, part.head)
    assert ledger.part(known, "keeper") is None
    live_through(ledger, 4, runs=1, first=4)
    more = ledger.part(known, "keeper")
    assert (more.first, more.prev) == (part.last + 1, part.head)


@pytest.mark.parametrize(
    "known", [Known(2, b"x" * 32), Known(10**6, b"x" * 32)], ids=["other", "more"]
)
def test_what_is_no_beginning_of_the_chain_is_refused(ledger, known):
    """Another history, or more of it than there is."""
    live_through(ledger, 3, runs=3)
    with pytest.raises(IntegrityError, match="are not those that were stored"):
        ledger.part(known, "keeper")


@pytest.mark.integration
def test_a_ledger_moves_from_a_file_to_a_server_and_back(postgresql, tmp_path):
    """Chain, tables and checkpoints are the same in both, and nothing is made over another."""
    places = [
        tmp_path / "a" / "ledger.sqlite",
        fresh_schema(postgresql),
        tmp_path / "b" / "ledger.sqlite",
    ]
    with ledger_at(places[0], clock=FakeClock()) as ledger:
        live_through(ledger, 5, runs=6)
        ledger.sign(KEY)
        seen = what_a_reader_sees(ledger)
    for source, target in pairwise(places):
        with ledger_at(source, clock=FakeClock()) as ledger:
            chain, notes = ledger.events(limit=10**6), ledger.checkpoints()
        make_ledger(target, chain, notes)
        with ledger_at(target, clock=FakeClock()) as made:
            assert made.verify().ok
            assert what_a_reader_sees(made) == seen
            assert made.checkpoints() == notes
            made.sign(KEY)  # what is kept of the tree goes on
        with pytest.raises(LedgerError, match="there is a ledger already"):
            make_ledger(target, chain, notes)
