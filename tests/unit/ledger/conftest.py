"""Ledgers of each kind: what holds for one holds for the other."""

import pytest

from doubles.ledgers import ledger_at
from services.postgresql import postgresql, postgresql_url  # noqa: F401 - fixtures

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)]


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    """Where there is no ledger yet: a path, and the URL of an empty schema."""
    if request.param == "sqlite":
        return tmp_path / "state" / "ledger.sqlite"
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
def ledger(place):
    """A ledger of each kind."""
    with ledger_at(place) as opened:
        yield opened
