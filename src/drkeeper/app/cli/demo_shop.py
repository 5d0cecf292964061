"""The shop of ``drkeeper demo``: a SQLite database that is written to all the time."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from drkeeper.clock import Clock
from drkeeper.errors import DrkeeperError, VerificationError
from drkeeper.model.instants import rfc3339

EVERY_S: Final = 1.0
"""How often something is sold. Source: ours."""
_BUSY_S: Final = 30.0
_PATIENCE_S: Final = 60.0
_SCHEMA: Final = """\
PRAGMA journal_mode = wal;
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE orders(
  id INTEGER PRIMARY KEY,
  customer INTEGER NOT NULL REFERENCES customers(id),
  cents INTEGER NOT NULL CHECK (cents > 0),
  sold_at TEXT NOT NULL
);
CREATE INDEX orders_by_time ON orders(sold_at);
"""
_CUSTOMERS: Final = ("Ada", "Grace", "Edsger", "Barbara", "Niklaus", "Zoë")
_FIRST_ORDERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Books:
    """What is in the database of a shop.

    Attributes:
        schema: Every table and index, as SQL.
        customers: All rows.
        orders: All rows, by number: number, customer, cents, when.
    """

    schema: list[tuple[str, str]]
    customers: list[tuple[int, str]]
    orders: list[tuple[int, int, int, str]]


class Shop:
    """A shop that sells something every second while it is open.

    Args:
        database: Its database.
        clock: Dates the orders.
    """

    def __init__(self, database: Path, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._trouble: list[sqlite3.Error] = []

    def found(self) -> None:
        """Make the database, with some orders."""
        with closing(self._connect()) as bank:
            bank.executescript(_SCHEMA)
            names = enumerate(_CUSTOMERS, 1)
            bank.executemany("INSERT INTO customers(id, name) VALUES(?, ?)", names)
            for number in range(_FIRST_ORDERS):
                self._sell(bank, number)
            bank.commit()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Sell something every second, in a thread of its own, until the context ends.

        Raises:
            DrkeeperError: Something could not be sold: whoever made a backup stood in the way.
        """
        closed = threading.Event()
        seller = threading.Thread(target=self._go_on, args=(closed,), name="demo shop")
        seller.start()
        try:
            yield
        finally:
            closed.set()
            seller.join(_PATIENCE_S)
        if self._trouble:
            raise DrkeeperError(f"the shop could not sell: {self._trouble[0]}", hint="Report this.")

    def read(self) -> Books:
        """Read everything, with nothing of drkeeper's.

        Raises:
            VerificationError: SQLite finds it damaged.
        """
        with closing(self._connect()) as bank:
            try:
                found = bank.execute("PRAGMA integrity_check").fetchone()[0]
                loose = bank.execute("PRAGMA foreign_key_check").fetchall()
                if found != "ok" or loose:
                    raise VerificationError(f"{self._database} is damaged", hint="Report this.")
                return Books(
                    bank.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall(),
                    bank.execute("SELECT id, name FROM customers ORDER BY id").fetchall(),
                    bank.execute("SELECT id, customer, cents, sold_at FROM orders").fetchall(),
                )
            except sqlite3.Error as error:
                raise VerificationError(
                    f"{self._database} cannot be read: {error}", hint="Report this."
                ) from error

    def copy(self, to: Path) -> None:
        """Copy the database, with nothing of drkeeper's."""
        with closing(self._connect()) as bank, closing(sqlite3.connect(to)) as other:
            bank.backup(other)

    def _go_on(self, closed: threading.Event) -> None:
        try:
            with closing(self._connect()) as bank:
                number = 0
                while not closed.wait(EVERY_S):
                    self._sell(bank, number)
                    bank.commit()
                    number += 1
        except sqlite3.Error as error:
            self._trouble.append(error)

    def _sell(self, bank: sqlite3.Connection, number: int) -> None:
        order = (number % len(_CUSTOMERS) + 1, 100 + number * 37 % 9900, rfc3339(self._clock.now()))
        bank.execute("INSERT INTO orders(customer, cents, sold_at) VALUES(?, ?, ?)", order)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._database, timeout=_BUSY_S)


def lost(before: Books, after: Books) -> int:
    """Return how many of the newest orders are not there any more; nothing else may be missing.

    Raises:
        VerificationError: Something else differs.
    """
    kept = len(after.orders)
    if (
        before.schema != after.schema
        or before.customers != after.customers
        or not kept
        or before.orders[:kept] != after.orders
    ):
        raise VerificationError(
            "the rescued database differs from what it was", hint="Report this."
        )
    return len(before.orders) - kept


def newest(books: Books) -> datetime:
    """Return when the newest order was made."""
    return datetime.fromisoformat(books.orders[-1][3])
