"""Quarters of the calendar, in UTC as everything in the ledger."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_FORM: Final = re.compile(r"(\d{4})-?[Qq]([1-4])", re.ASCII)
_MONTHS: Final = 3
_A_YEAR: Final = 4


@dataclass(frozen=True, slots=True, order=True)
class Quarter:
    """A quarter of a year.

    Attributes:
        year: Of the calendar.
        number: 1 to 4.
    """

    year: int
    number: int

    def __str__(self) -> str:
        """Write it as ``2026Q4``."""
        return f"{self.year:04d}Q{self.number}"

    @property
    def begin(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, _MONTHS * (self.number - 1) + 1, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first instant after it."""
        return self.before(-1).begin

    def before(self, quarters: int) -> "Quarter":
        """Return the quarter that lies so many before this one."""
        place = self.year * _A_YEAR + self.number - 1 - quarters
        return Quarter(place // _A_YEAR, place % _A_YEAR + 1)


def quarter_from_text(text: str) -> Quarter:
    """Return the quarter that ``text`` names: ``2026Q4``.

    Raises:
        ValueError: It names none.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None or not 1970 <= int(found[1]) <= 9000:  # noqa: PLR2004 - what a calendar holds
        raise ValueError(f"{text!r} is not a quarter such as 2026Q4")
    return Quarter(int(found[1]), int(found[2]))


def quarter_of(instant: datetime) -> Quarter:
    """Return the quarter that an instant lies in."""
    utc = instant.astimezone(UTC)
    return Quarter(utc.year, (utc.month - 1) // _MONTHS + 1)
