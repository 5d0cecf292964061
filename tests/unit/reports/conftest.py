"""A ledger of two years, and what is computed from it."""

from datetime import UTC, datetime

import pytest

from doubles.quarters import quick_folder, scope_of, two_years
from drkeeper.crypto.signing import SigningKey
from drkeeper.reports.quarters import Quarter
from drkeeper.reports.report import compute

LATER = datetime(2027, 1, 3, tzinfo=UTC)


@pytest.fixture(scope="package")
def key():
    """The key of the machine that signs."""
    return SigningKey(bytes(range(32)))


@pytest.fixture(scope="package")
def world(key):
    """Two years of weekly backups and drills, in which much goes wrong, signed to the end."""
    with quick_folder() as folder, two_years(folder / "state" / "ledger.sqlite", key=key) as ledger:
        ledger.open_action("Look at the new year", "ops")
        ledger.sign(key)
        yield ledger


@pytest.fixture(scope="package")
def scope():
    """What is configured: one policy more than ever ran."""
    return scope_of("files", "shop", "never-ran")


@pytest.fixture(scope="package")
def report(world, scope):
    """The report of the last quarter of it."""
    return compute(world, scope, Quarter(2026, 4), LATER)
