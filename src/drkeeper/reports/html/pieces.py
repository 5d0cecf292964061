"""What the sections are built of: headings, tables, pairs, tiles."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from drkeeper.markup import Child, Markup, tag
from drkeeper.reports.form import SECTIONS
from drkeeper.reports.html import words

TONES: Final = {
    "proven": "ok", "passed": "ok", "succeeded": "ok", "yes": "ok", "given": "ok",
    "will-be-met": "ok", "caught": "ok", "missed": "bad", "not tried": "warn", "inside": "ok", "closed": "ok",
    "too-old": "bad", "too-slow": "bad", "unsound": "bad", "failed": "bad", "no": "bad",
    "cannot-be-met": "bad", "invalid": "bad", "open": "bad", "none": "bad",
    "interrupted": "warn", "skipped": "warn", "warnings": "warn", "inconclusive": "warn",
    "not kept": "bad", "look": "warn", "unknown": "warn", "not asked": "warn", "never": "bad", "broken": "warn", "at-risk": "warn", "slower": "warn", "overdue": "warn",
}  # fmt: skip
"""Colour of a word; all others are quiet."""


def chip(word: str) -> Markup:
    """Return a word that is seen from afar."""
    return tag("span", word.replace("-", " "), class_=f"chip {TONES.get(word, 'quiet')}")


def refs(numbers: Sequence[int]) -> Markup:
    """Return the events that a row follows from."""
    return tag("span", words.events(numbers), class_="refs")


def counted(row: dict[str, Any], one: str) -> list[Child]:
    """Return how many events a figure is of, and which."""
    numbers = row["events"]
    few = words.events(numbers)
    which = few if few.startswith("#") else few.partition(" events ")[2]
    return [words.count_of(row["count"], one), " ", tag("span", which, class_="refs")]


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Child]], *, empty: str, right: Sequence[int] = ()
) -> Markup:
    """Return a table, or a sentence when there is nothing to show.

    Args:
        heads: Of the columns.
        rows: Their cells.
        empty: What is said instead of a table without rows.
        right: Which columns hold numbers.
    """
    body = [
        tag(
            "tr",
            [
                tag("td", cell, class_=_class_of(cell, numeric=place in right))
                for place, cell in enumerate(row)
            ],
        )
        for row in rows
    ]
    if not body:
        return tag("p", empty, class_="nothing")
    head = [
        tag("th", text, scope="col", class_="number" if place in right else None)
        for place, text in enumerate(heads)
    ]
    whole = tag("table", tag("thead", tag("tr", head)), tag("tbody", body))
    return tag("div", whole, class_="scroll")


_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d\xa0\d\d:\d\d", re.ASCII)


def _class_of(cell: Child, *, numeric: bool) -> str | None:
    if numeric:
        return "number"
    return "time" if isinstance(cell, str) and _INSTANT.fullmatch(cell) else None


def pairs(rows: Iterable[tuple[str, Child]]) -> Markup:
    """Return names and what they are."""
    body = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows]
    return tag("table", tag("tbody", body), class_="pairs")


def section(number: int, name: str, title: str, *children: Child) -> Markup:
    """Return one of the fifteen."""
    heading = tag("h2", tag("span", number, class_="place"), title)
    return tag("section", heading, children, id=name)


def tile(title: str, value: Child, note: Child, tone: str) -> Markup:
    """Return one figure that is seen first."""
    return tag(
        "div",
        tag("p", title, class_="name"),
        tag("p", value, class_="value"),
        tag("p", note, class_="note"),
        class_=f"tile {tone}",
    )


def listed(items: Iterable[Child], *, empty: str) -> Markup:
    """Return a list, or a sentence when it is empty."""
    found = [tag("li", item) for item in items]
    return tag("ul", found) if found else tag("p", empty, class_="nothing")


def note(*children: Child) -> Markup:
    """Return a remark below what it is about."""
    return tag("p", children, class_="remark")


def places(names: Sequence[str]) -> list[Child]:
    """Return links to sections by their numbers."""
    return [[" ", tag("a", SECTIONS.index(name) + 1, href=f"#{name}")] for name in names]


def name_of(row: dict[str, Any]) -> str:
    """Return whose a row is."""
    return row.get("policy") or "all policies"
