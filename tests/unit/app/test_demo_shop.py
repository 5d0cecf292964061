"""What the demo's shop compares with, so that it cannot praise what did not come back."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from drkeeper.app.cli.demo_shop import Shop, lost, newest
from drkeeper.clock import SystemClock
from drkeeper.errors import DrkeeperError, VerificationError


@pytest.fixture
def shop(tmp_path):
    """Return a shop with its first orders."""
    made = Shop(tmp_path / "shop.db", SystemClock())
    made.found()
    return made


def test_only_the_newest_orders_may_be_missing(shop):
    """They are counted; anything else that is missing or differs is no rescue."""
    before = shop.read()
    assert lost(before, before) == 0
    assert lost(before, replace(before, orders=before.orders[:-3])) == 3
    changed = [*before.orders[:5], (6, 1, 1, "2026-01-01T00:00:00Z"), *before.orders[6:]]
    for wrong in (
        replace(before, orders=before.orders[1:]),
        replace(before, orders=before.orders[:10] + before.orders[11:]),
        replace(before, orders=changed),
        replace(before, orders=[]),
        replace(before, customers=before.customers[:-1]),
        replace(before, schema=before.schema[:-1]),
    ):
        with pytest.raises(VerificationError):
            lost(before, wrong)


def test_it_sells_while_it_is_open(shop, tmp_path):
    """Each order is a later one, and a copy has all of them."""
    before = shop.read()
    with shop.open():
        SystemClock().sleep(1.5)
    after = shop.read()
    assert len(after.orders) > len(before.orders)
    assert newest(after) > newest(before)
    shop.copy(tmp_path / "copy.db")
    assert Shop(tmp_path / "copy.db", SystemClock()).read() == after


def test_a_shop_that_cannot_sell_says_so(shop, tmp_path):
    """A demo whose database was unusable all the time would prove nothing."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as bank:
        bank.execute("DROP TABLE orders")
    with pytest.raises(DrkeeperError, match="could not sell"), shop.open():
        SystemClock().sleep(1.5)
