"""The terms in which events are told to change the projections."""

from collections.abc import Callable
from dataclasses import dataclass

Row = dict[str, object]
"""One row by column name, as the database holds it."""

Find = Callable[[str, object], Row | None]
"""Finds the row of (table, key) as it is before the event."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row as it is after an event.

    Attributes:
        table: Name of the projection.
        key: Value of its primary key.
        row: All columns.
        new: Whether the row was not there before.
    """

    table: str
    key: object
    row: Row
    new: bool


class IllegalEventError(Exception):
    """An event that cannot follow from those before it."""


def text(value: object) -> str:
    """Return a value of a body that must be a text.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
