"""What all pages share: the head, the way between them, and the line at the bottom."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Final

import drkeeper
from drkeeper.app.web.markup import Child, Markup, address, document, link, tag
from drkeeper.app.web.urgent import urgent
from drkeeper.app.web.words import moment, zone_of
from drkeeper.model.status import Overview

TYPES: Final = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
"""Files that are served as they are."""

REFRESH_S: Final = 30
"""How often the overview comes anew. Source: ours; twice for each look of the daemon is enough."""


def asset(name: str) -> bytes:
    """Return a file that belongs to the pages."""
    return resources.files("drkeeper.app.web").joinpath("static", name).read_bytes()


def _asset_address(name: str) -> str:
    """Return where a file is served; the address changes with the content."""
    return address("static", name, v=hashlib.sha256(asset(name)).hexdigest()[:12])


@dataclass(frozen=True, slots=True)
class Page:
    """A page without its frame.

    Attributes:
        title: Of the page.
        body: Everything between the bars.
        place: Which step of the way it is: ``overview``, ``runs``, ``alarms`` or none.
        status: Of the answer.
        refreshing: Whether it comes anew by itself; ``None`` for pages that never do.
    """

    title: str
    body: Child
    place: str = ""
    status: int = 200
    refreshing: bool | None = None


def framed(page: Page, overview: Overview | None) -> bytes:
    """Return the whole page as it is sent.

    Args:
        page: What is shown.
        overview: For the number of alarms and the age of what is shown, when it is known.
    """
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="refresh", content=REFRESH_S) if page.refreshing else None,
        tag("title", f"{page.title} · drkeeper"),
        tag("link", rel="stylesheet", href=_asset_address("style.css")),
        tag("link", rel="icon", type="image/svg+xml", href=_asset_address("icon.svg")),
    ]
    body = [
        tag("a", "Skip to content", class_="skip", href="#main"),
        tag("header", _bar(page, overview), class_="top"),
        tag("main", page.body, id="main", tabindex="-1"),
        tag("footer", _bottom(page, overview)),
    ]
    return document(head, body)


def _bar(page: Page, overview: Overview | None) -> Child:
    count = len(urgent(overview)) if overview is not None else 0
    alarms = ["Alarms ", tag("span", count, class_="count")] if count else "Alarms"
    places = (("overview", "Overview", ""), ("runs", "Runs", "runs"), ("alarms", alarms, "alarms"))
    steps = [
        tag("li", tag("a", text, href=address(path), aria_current=_current(page, place)))
        for place, text, path in places
    ]
    return [
        tag("a", _mark(), tag("span", "drkeeper"), class_="brand", href="/"),
        tag("nav", tag("ul", steps), aria_label="Pages"),
        tag("span", overview.host, class_="host", title="this machine") if overview else None,
    ]


def _current(page: Page, place: str) -> str | None:
    return "page" if page.place == place else None


def _mark() -> Markup:
    shield = "M12 2l8 3v6.2c0 5-3.4 8.8-8 10.8c-4.6-2-8-5.8-8-10.8V5z"
    check = "M8.2 12l2.8 2.8l5-5.4"
    lines = [tag("path", class_="shield", d=shield), tag("path", class_="check", d=check)]
    return tag("svg", lines, class_="mark", viewBox="0 0 24 24", aria_hidden="true")


def _bottom(page: Page, overview: Overview | None) -> Child:
    told = _as_of(overview.at) if overview is not None else None
    refresh: Child = None
    if page.refreshing is True:
        words = f"Comes anew every {REFRESH_S} s. "
        refresh = tag("span", words, link("Hold still", "", refresh="off"))
    elif page.refreshing is False:
        refresh = tag("span", "Holds still. ", link(f"Refresh every {REFRESH_S} s", ""))
    return [
        tag("span", told) if told else None,
        refresh,
        tag("span", link("Report of this quarter", "report")),
        tag("span", f"drkeeper {drkeeper.__version__} · only to look at"),
    ]


def _as_of(at: datetime) -> Child:
    utc = zone_of("UTC")
    return ["As of ", moment(at, utc, f"{at.astimezone(utc):%H:%M:%S} UTC")]


def policies_line(overview: Overview) -> str:
    """Say in a sentence whether the promises hold."""
    whole = len(overview.policies)
    troubled = {
        alarm.condition.subject.name
        for alarm in urgent(overview)
        if alarm.condition.subject.kind == "policy"
    }
    wanting = sum(status.policy in troubled for status in overview.policies)
    if not whole:
        return "No policies yet"
    if wanting:
        verb = "needs" if wanting == 1 else "need"
        return f"{wanting} of {whole} {'policy' if whole == 1 else 'policies'} {verb} you"
    if not overview.daemon_alive:
        return "The policies are kept, but no daemon runs"
    if urgent(overview):
        return "The policies are kept, but something needs you"
    return "The policy is kept" if whole == 1 else f"All {whole} policies are kept"
