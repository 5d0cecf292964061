"""A report as CSV: one line a fact, that spreadsheets read and never compute.

Columns are the section, the list within it, the number of the row there, the member, its value, and the
events that say so. Values that a spreadsheet could take for a formula are led by an apostrophe.

Source:
    OWASP, "CSV Injection"; RFC 4180.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

from drkeeper.markup import visible
from drkeeper.reports.form import SECTIONS

_FORMULA: Final = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "|",
    "%",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)
"""What may begin a formula, also in full width. Source: OWASP, "CSV Injection"."""

_HEADS: Final = ("section", "list", "row", "member", "value", "events")


def csv_bytes(report: dict[str, Any]) -> bytes:
    """Return a report as CSV, from its JSON alone."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(_HEADS)
    writer.writerow(["report", "", "", "form", report["form"], ""])
    for name in SECTIONS:
        for place, row, member, value, events in _facts(report[name]):
            cells = (name, place, row, member, value, " ".join(map(str, events)))
            writer.writerow([inert(cell) for cell in cells])
    return written.getvalue().encode()


def inert(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula, and that shows all it holds."""
    shown = visible(cell)
    return f"'{shown}" if shown.lstrip(" \u00a0").startswith(_FORMULA) else shown


_Fact = tuple[str, str, str, str, list[int]]


def _facts(value: Any, place: str = "", row: str = "", events: Any = ()) -> Iterator[_Fact]:  # noqa: ANN401 - what JSON can say
    """Yield what is said: the way there, the row, the member, the value, and the events."""
    if isinstance(value, dict):
        events = value.get("events", events)
        for name, said in sorted(value.items()):
            if name == "events":
                continue
            if isinstance(said, dict | list):
                yield from _facts(said, f"{place}.{name}".strip("."), row, events)
            else:
                yield place, row, name, _text(said), list(events)
    elif isinstance(value, list):
        for number, each in enumerate(value, 1):
            below = f"{row}.{number}".strip(".")
            if isinstance(each, dict | list):
                yield from _facts(each, place, below, events)
            else:
                yield place, below, "", _text(each), list(events)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
